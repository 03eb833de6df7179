"""Labelled cases, from tenacious-bench's pairs or from plain labelled lines."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

# The label and the rule of each probe's violations, as the rubric names it.
PROBES = {
    "A07": ("SUPPRESS", "1"),
    "E03": ("SUPPRESS", "2"),
    "D05": ("SUPPRESS", "2b"),
    "G03": ("ESCALATE", "3"),
    "E01": ("BLOCK", "4"),
    "B04": ("BLOCK", "5"),
    "B03": ("BLOCK", "5b"),
    "C02": ("BLOCK", "5c"),
    "C04": ("BLOCK", "5d"),
    "E02": ("PENALISE", "6"),
}
LABELS = ("SUPPRESS", "ESCALATE", "BLOCK", "PENALISE", "PASS")
# Squashed, as src/context/words.rs knows them.
CHANNELS = {
    "email": ("email", "emails", "mail", "mails", "emailmessage"),
    "sms": ("sms", "text", "texts", "textmessage", "textmessages", "smsmessage", "smstext"),
    "linkedin": ("linkedin", "inmail", "linkedininmail", "linkedinmessage", "linkedindm"),
}


@dataclass(frozen=True)
class Case:
    id: str
    probe: str
    context: str  # compact JSON, as the daemon writes it into the prompt
    channel: str
    draft: str
    label: str
    rationale: str


def read(paths):
    """The cases of files, and of all .jsonl files of folders, in a stable order.

    `PATH:0.3` takes three in ten of the path's contexts, with all their cases, and always the same ones."""
    cases = []
    for path, share in map(_path_and_share, paths):
        before = len(cases)
        files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
        if not files:
            raise SystemExit(f"error: no .jsonl file in `{path}`")
        for file in files:
            for number, line in enumerate(file.read_text("utf-8").split("\n"), 1):
                if line.strip():
                    try:
                        cases.extend(_cases_of(_parse(line)))
                    except (AttributeError, KeyError, TypeError, ValueError) as error:
                        raise SystemExit(f"error: {file}:{number}: {error!r}") from error
        cases[before:] = [case for case in cases[before:] if _place(case) < share]
    return cases


def _path_and_share(path):
    name, _, share = str(path).rpartition(":")
    if not name or Path(path).exists():
        return Path(path), 1.0
    try:
        return Path(name), float(share)
    except ValueError:
        return Path(path), 1.0


def _place(case):
    """Where its context stands between 0 and 1."""
    return int.from_bytes(hashlib.sha256(case.context.encode()).digest()[:8]) / 2**64


@dataclass(frozen=True)
class Number:
    text: str  # as the file has it: 1.50 is not 1.5


def _parse(line):
    return json.loads(line, parse_int=Number, parse_float=Number, parse_constant=_refuse)


def _refuse(name):
    raise ValueError(f"`{name}` is no JSON")


def _compact(value):
    """What the daemon writes: numbers keep their text, but for 1e5, which becomes 1e+5."""
    match value:
        case dict():
            fields = (f"{_compact(key)}:{_compact(each)}" for key, each in value.items())
            return "{" + ",".join(fields) + "}"
        case list():
            return "[" + ",".join(map(_compact, value)) + "]"
        case Number():
            return re.sub(r"e(?=\d)", "e+", value.text.lower())
        case _:
            return json.dumps(value, ensure_ascii=False)


def _cases_of(row):
    if "pair_id" in row:
        yield from _sides_of(row)
        return
    if row["expected"] not in LABELS:
        raise ValueError(f"`{row['expected']}` is no label")
    yield _case(
        row["id"], row.get("probe", ""), row["context"], row.get("channel"),
        row["draft"], row["expected"], row["rationale"],
    )  # fmt: skip


def _sides_of(pair):
    """The sides of a pair that would have been sent."""
    context, probe = pair["context"], pair["probe_id"].removeprefix("PROBE-")
    label, rule = PROBES[probe]
    chosen, rejected = pair["chosen"], pair["rejected"]
    if chosen["action"] == "send":
        why = "No rule fires: " + _sentence(chosen["rationale"])
        yield _case(
            pair["pair_id"] + "/clean", probe, context, None, chosen["output"], "PASS", why
        )
    # Of funding that is well known the rejected text says too little, which no rule forbids.
    over_hedged = probe == "B04" and context.get("funding_confidence") in ("high", "medium")
    if rejected["action"] == "send" and not over_hedged:
        why = f"Rule {rule}: " + _sentence(rejected["rationale"])
        yield _case(
            pair["pair_id"] + "/violation", probe, context, None, rejected["output"], label, why
        )


def _case(name, probe, context, channel, draft, label, rationale):
    if not isinstance(context, dict):
        raise TypeError("`context` is no object")
    return Case(
        id=name,
        probe=probe,
        context=_compact(context),
        channel=_channel(channel, context),
        draft=draft,
        label=label,
        rationale=rationale,
    )


def _channel(asked, context):
    """The request's channel, else the context's, else e-mail: as the daemon resolves it."""
    if asked is not None:
        if not isinstance(asked, str) or asked.lower() not in CHANNELS:
            raise ValueError(f"`{asked}` is no channel")
        return asked.lower()
    top = [(_squash_name(name), value) for name, value in context.items()]
    signals = [value for word, value in top if word == "availablesignals" and isinstance(value, dict)]
    below = [(_squash_name(name), value) for fields in signals for name, value in fields.items()]
    places = ("intendedchannel", top), ("channel", top), ("intendedchannel", below)
    named = (value for place, fields in places for word, value in fields if word == place)
    first = _squash(next((name for name in named if isinstance(name, str)), "email"))
    return next((channel for channel, words in CHANNELS.items() if first in words), "email")


def _squash_name(name):
    """Salesforce marks what its customers add: `Channel__c`, `Channel__pc`."""
    return _squash(re.sub(r"__p?c\Z", "", name))


def _squash(text):
    """Letters and digits in lower case: one word for all spellings."""
    return "".join(filter(str.isalnum, text)).lower()


def _sentence(text):
    """The first sentence of a text, in the language of the bundle's grammar."""
    text = " ".join(text.replace("<", "under ").split())
    text = re.split(r"(?<=[.!?])[\"']?(?= |$)", text)[0].rstrip(" .!?\"'")
    words = re.sub(r"[.!?]+(?= |$)", "", text).split(" ")
    text = " ".join(words[:24]).rstrip(",;:—-")
    return text[:1].lower() + text[1:] + "."
