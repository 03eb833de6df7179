"""Cases are read as the benchmark and the daemon understand them."""

import json

import cases
import pytest

LABELS = {
    "A07": "SUPPRESS", "E03": "SUPPRESS", "D05": "SUPPRESS", "G03": "ESCALATE", "E01": "BLOCK",
    "B04": "BLOCK", "B03": "BLOCK", "C02": "BLOCK", "C04": "BLOCK", "E02": "PENALISE",
}  # fmt: skip


def side(output, action="send"):
    return {"action": action, "output": output, "rationale": f"The {output} draft's reason. And more."}


def pair(probe, chosen="send", rejected="send", confidence="low"):
    return {
        "pair_id": f"{probe}-1", "probe_id": f"PROBE-{probe}", "difficulty": "easy", "split": "train",
        "context": {"company": "Acme", "funding_confidence": confidence},
        "chosen": side("good", chosen), "rejected": side("bad", rejected),
    }  # fmt: skip


PLAIN = {"id": "1", "context": {}, "draft": "Hi", "expected": "PASS", "rationale": "No rule fires: good."}


@pytest.mark.parametrize("probe", LABELS)
def test_a_pair_is_a_violation_by_its_probes_label_and_a_clean_case(write, probe):
    clean, violation = cases.read([write("pairs.jsonl", pair(probe))])
    assert (clean.id, clean.draft, clean.label) == (f"{probe}-1/clean", "good", "PASS")
    assert (violation.id, violation.draft, violation.label) == (f"{probe}-1/violation", "bad", LABELS[probe])
    assert {clean.probe, violation.probe} == {probe}
    assert clean.rationale == "No rule fires: the good draft's reason."
    rule = cases.PROBES[probe][1]
    assert violation.rationale == f"Rule {rule}: the bad draft's reason."


@pytest.mark.parametrize(
    "context, channel",
    [
        ({"intended_channel": "SMS"}, "sms"),
        ({"Intended-Channel": "text message"}, "sms"),
        ({"availableSignals": {"intendedChannel": "LinkedIn DM"}}, "linkedin"),
        ({"available_signals": {"intended_channel": "sms"}, "channel": "InMail"}, "linkedin"),
        ({"available_signals": {"channel": "sms"}}, "email"),
        ({"intended_channel": None, "channel": "sms"}, "sms"),
        ({"channel": "pigeon"}, "email"),
        ({"Channel__c": "sms"}, "sms"),
        ({"Channel__pc": "sms"}, "sms"),
    ],
)
def test_a_contexts_channel_is_read_in_any_spelling(write, context, channel):
    (case,) = cases.read([write("plain.jsonl", {**PLAIN, "context": context})])
    assert case.channel == channel


def test_a_side_that_was_not_sent_is_no_case(write):
    def labels(**sides):
        read = cases.read([write("pairs.jsonl", pair("G03", **sides))])
        return [case.label for case in read]

    assert labels(chosen="escalate") == ["ESCALATE"]
    assert labels(rejected="suppress") == ["PASS"]
    assert labels(chosen="escalate", rejected="suppress") == []


@pytest.mark.parametrize(
    "confidence, labels",
    [
        ("high", ["PASS"]),
        ("medium", ["PASS"]),
        ("low", ["PASS", "BLOCK"]),
        ("insufficient_signal", ["PASS", "BLOCK"]),
        (None, ["PASS", "BLOCK"]),
    ],
)
def test_over_hedging_of_well_known_funding_is_no_violation(write, confidence, labels):
    read = lambda probe: cases.read([write("pairs.jsonl", pair(probe, confidence=confidence))])
    assert [case.label for case in read("B04")] == labels
    assert [case.label for case in read("B03")] == ["PASS", "BLOCK"]


@pytest.mark.parametrize(
    "line, problem",
    [
        ("{", "JSONDecodeError"),
        ('{"id": "1", "context": {"n": NaN}}', "`NaN` is no JSON"),
        ("[]", "TypeError"),
        ({**PLAIN, "expected": "FINE"}, "`FINE` is no label"),
        ({**PLAIN, "channel": "pigeon"}, "`pigeon` is no channel"),
        ({**PLAIN, "channel": 1}, "is no channel"),
        ({**PLAIN, "context": []}, "`context` is no object"),
        ({"id": "1"}, "'expected'"),
        (pair("Z99"), "'Z99'"),
    ],
)
def test_an_error_names_file_and_line(write, line, problem):
    path = write("cases.jsonl", PLAIN)
    bad = line if isinstance(line, str) else json.dumps(line)
    path.write_text(path.read_text() + "\n" + bad + "\n")
    with pytest.raises(SystemExit, match=rf"cases\.jsonl:3: .*{problem}"):
        cases.read([path])


def test_a_folders_files_are_read_in_the_order_of_their_names(write, tmp_path):
    for name in ("b", "a"):
        write(f"{name}.jsonl", {**PLAIN, "id": name})
    (tmp_path / "notes.txt").write_text("no case")
    assert [case.id for case in cases.read([tmp_path])] == ["a", "b"]


def test_a_share_of_a_path_has_whole_contexts_and_the_same_ones_each_time(write):
    rows = [
        {**PLAIN, "id": f"{number}-{side}", "context": {"company": f"C{number}"}, "draft": side}
        for number in range(100)
        for side in ("v", "c")
    ]
    path = write("many.jsonl", *rows)
    few, more = (cases.read([f"{path}:{share}"]) for share in (0.2, 0.5))
    assert 20 <= len(few) < len(more) < 140
    assert {case.id for case in few} < {case.id for case in more}
    assert few == cases.read([f"{path}:0.2"])
    numbers = [case.id.split("-")[0] for case in few]
    assert all(numbers.count(number) == 2 for number in numbers)


def test_a_folder_without_cases_is_an_error(tmp_path):
    with pytest.raises(SystemExit, match="no .jsonl file"):
        cases.read([tmp_path])


def test_only_a_line_feed_ends_a_line(tmp_path):
    path = tmp_path / "cases.jsonl"
    row = {**PLAIN, "draft": "one\u2028two\u0085three"}
    path.write_text(json.dumps(row, ensure_ascii=False) + "\r\n", "utf-8", newline="")
    (case,) = cases.read([path])
    assert case.draft == row["draft"]


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("Two sentences. Here.", "two sentences."),
        ('It says "Buy now!" Twice.', 'it says "Buy now.'),
        ("Headcount <  2000\nis small", "headcount under 2000 is small."),
        ("$2.5M at Acme.io is fine", "$2.5M at Acme.io is fine."),
        ("word " * 40, "word " * 23 + "word."),
    ],
)
def test_a_benchmarks_reason_becomes_one_sentence(text, sentence):
    assert cases._sentence(text) == sentence
