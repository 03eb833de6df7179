"""The cases of training/data, and those held out of it, keep the rules that they were written by."""

import json
import re
import tomllib
from collections import Counter
from pathlib import Path

import cases
import pytest
import regex

ROOT = Path(__file__).resolve().parents[2]


def rows(file):
    return [json.loads(line) for line in file.read_text("utf-8").split("\n") if line.strip()]


TRAINED = [row for file in sorted((ROOT / "training/data").glob("*.jsonl")) for row in rows(file)]
HELD_OUT = rows(ROOT / "training/held-out.jsonl")
ROWS = TRAINED + HELD_OUT
ANSWER = tomllib.loads((ROOT / "models/tenacious-judge.toml").read_text("utf-8"))["answer"]
GRAMMAR = (ROOT / "models" / ANSWER["grammar"]).read_text("utf-8")
SENTENCE = regex.compile(regex.search(r"^SENTENCE: /(.*)/$", GRAMMAR, regex.MULTILINE)[1])


def wrong(rule):
    return [row["id"] for row in ROWS if not rule(row)]


@pytest.mark.parametrize("part, least", [(TRAINED, 50), (HELD_OUT, 8)])
def test_every_probe_has_violations_by_its_label_and_clean_cases(part, least):
    found = Counter((row["probe"], row["expected"]) for row in part)
    expected = {(probe, label) for probe, (label, _) in cases.PROBES.items()}
    expected |= {(probe, "PASS") for probe in cases.PROBES}
    assert found.keys() == expected
    assert min(found.values()) >= least


def test_no_context_or_draft_that_is_held_out_stands_in_the_training_data():
    for field in ("context", "draft"):
        trained = {json.dumps(row[field]) for row in TRAINED}
        assert [row["id"] for row in HELD_OUT if json.dumps(row[field]) in trained] == []


def test_every_id_stands_once():
    assert [name for name, count in Counter(row["id"] for row in ROWS).items() if count > 1] == []


def test_every_field_is_there_and_known():
    fields = {"id", "probe", "difficulty", "context", "draft", "expected", "rationale"}
    assert wrong(lambda row: fields == row.keys() - {"channel"}) == []
    assert wrong(lambda row: isinstance(row["context"], dict) and row["draft"].strip()) == []
    assert wrong(lambda row: row["difficulty"] in ("easy", "medium", "hard")) == []
    assert wrong(lambda row: row.get("channel", "EMAIL") in ("EMAIL", "SMS", "LINKEDIN")) == []


def test_every_rationale_names_a_rule_of_its_label():
    def fits(row):
        if row["expected"] == "PASS":
            return row["rationale"].startswith("No rule fires: ")
        rule = re.match(r"Rule (\w+): ", row["rationale"])
        return rule and ANSWER["rules"].get(rule[1]) == row["expected"]

    assert wrong(fits) == []


def test_the_rules_of_probes_are_those_of_the_bundle():
    assert {rule: label for label, rule in cases.PROBES.values()} | {"7": "PASS"} == ANSWER["rules"]


def test_every_rationale_is_a_sentence_that_the_grammar_lets_the_model_write():
    assert wrong(lambda row: SENTENCE.fullmatch(row["rationale"])) == []
    assert wrong(lambda row: len(row["rationale"].encode()) <= ANSWER["max_rationale_bytes"]) == []
    assert wrong(lambda row: len(row["rationale"].split()) <= 26) == []


@pytest.mark.parametrize("text", ["Two. Sentences.", "no end", "a <tag>.", "two  spaces.", "line\nend.", ""])
def test_the_grammars_sentence_is_strict(text):
    assert not SENTENCE.fullmatch(text)


def test_a_violation_of_a_pair_has_its_clean_side():
    pairs = {}
    for row in ROWS:
        stem, _, end = row["id"].rpartition("-")
        if "-h" in stem:
            pairs.setdefault(stem, {})[end] = row
    assert len(pairs) > 400
    for stem, sides in pairs.items():
        clean = sides["c"]
        assert clean["expected"] == "PASS", stem
        if "v" in sides:
            violation = sides["v"]
            assert violation["expected"] != "PASS", stem
            assert violation["probe"] == clean["probe"], stem
            assert (violation["context"], violation["draft"]) != (clean["context"], clean["draft"]), stem


def test_the_training_reads_them_all():
    read = cases.read([ROOT / "training/data"])
    assert [case.id for case in read] == [row["id"] for row in TRAINED]
    assert len({(case.context, case.channel, case.draft) for case in read}) == len(read)
