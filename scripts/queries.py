#!/usr/bin/env python3
"""Asks a Prometheus that scrapes a healthy daemon every query of a dashboard and of
its alerts. None may fail; each must give something, but for the alerts, whose
metrics must be there while none of them fires.

Usage: queries.py URL DASHBOARD.json
       queries.py URL --until-alert NAME    until that alert is pending or fires
"""

import json
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

SCRAPES = 5
PATIENCE = 60

# The rules-only daemon that is scraped asks no spot check, and speaks no TLS.
MAY_BE_EMPTY = (
    "judged_kill_switch_probe_accuracy_ratio",
    "judged_kill_switch_probe_limit_ratio",
    "judged_tls_certificate_expiry_timestamp_seconds",
)

VARIABLES = {"$__rate_interval": "30s", "$job": "judged", "$instance": ".*"}


def ask(url, path, **query):
    address = f"{url}/api/v1/{path}?{urllib.parse.urlencode(query)}"
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return json.load(answer)["data"]
    except urllib.error.HTTPError as error:
        sys.exit(f"error: {query or path}: {json.load(error).get('error', error)}")


def values(url, query):
    return ask(url, "query", query=query)["result"]


def wait(what, holds):
    end = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > end:
            sys.exit(f"error: waited {PATIENCE} s in vain until {what}")
        time.sleep(0.2)


def alerts(url):
    groups = ask(url, "rules", type="alert")["groups"]
    return [rule for group in groups for rule in group["rules"]]


def metrics(query):
    """The metrics of a query, their histograms' parts too; no label is called so."""
    return set(re.findall(r"\b(?:judged_|process_)\w+|\bup\b", query))


def check_dashboard(url, path):
    with open(path, encoding="utf-8") as file:
        panels = json.load(file)["panels"]
    queries = [(panel["title"], target["expr"]) for panel in panels for target in panel.get("targets", ())]
    wrong = []
    for title, query in queries:
        for variable, value in VARIABLES.items():
            query = query.replace(variable, value)
        if "$" in query:
            wrong.append(f"panel `{title}` has an unknown variable: {query}")
        elif not values(url, query) and not metrics(query) & set(MAY_BE_EMPTY):
            wrong.append(f"panel `{title}` shows nothing: {query}")
    return len(queries), wrong


def check_alerts(url):
    rules = alerts(url)
    wrong = []
    for rule in rules:
        if rule["health"] != "ok":
            wrong.append(f"alert {rule['name']} is {rule['health']}: {rule.get('lastError', '')}")
        if rule["state"] != "inactive":
            wrong.append(f"alert {rule['name']} is {rule['state']} though nothing is wrong")
        values(url, rule["query"])
        for metric in metrics(rule["query"]) - set(MAY_BE_EMPTY):
            if not values(url, metric):
                wrong.append(f"alert {rule['name']} waits for {metric}, which is not there")
    return len(rules), wrong


def main():
    url, what, *names = sys.argv[1:]
    if what == "--until-alert":
        is_raised = lambda: any(rule["name"] == names[0] and rule["state"] != "inactive" for rule in alerts(url))
        return wait(f"{names[0]} is raised", is_raised)
    scraped = f'count_over_time(up{{job="judged"}}[1m]) >= {SCRAPES} and up == 1'
    wait(f"there are {SCRAPES} scrapes", lambda: values(url, scraped))
    wait("the alerts have been looked at", lambda: all(rule["health"] != "unknown" for rule in alerts(url)))
    panels, wrong = check_dashboard(url, what)
    rules, of_alerts = check_alerts(url)
    if panels == 0 or rules == 0:
        wrong.append(f"there are {panels} queries of panels, and {rules} alerts")
    for problem in wrong + of_alerts:
        print(f"error: {problem}", file=sys.stderr)
    if wrong or of_alerts:
        sys.exit(1)
    print(f"{panels} queries of the dashboard and {rules} alerts: all can be asked, and nothing is missing")


main()
