"""Asks a running daemon about one draft. First install the client, as README.md tells."""

from judged_client import Judge

with Judge() as judge:
    context = {"company": "DevCo", "headcount": 200, "opt_out_channels": ["email"]}
    verdict = judge.judge(context, "Hi, a word about your roadmap …")
    print(verdict.label, verdict.disposition, verdict.rationale)
    if verdict.may_send:
        print("send it")
