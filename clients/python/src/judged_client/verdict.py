"""The answer, in Python's types: names without the wire's prefixes, times in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from judge.v1 import judge_pb2 as pb

# Of a newer daemon's names, which this client does not know, comes UNSPECIFIED.
Label = Literal["SUPPRESS", "ESCALATE", "BLOCK", "PENALISE", "PASS", "UNSPECIFIED"]
Disposition = Literal[
    "DISPATCH", "HOLD_FOR_REVIEW", "ROUTE_TO_HUMAN", "DO_NOT_SEND", "UNSPECIFIED"
]
DecidedBy = Literal["MODEL", "RULES", "UNSPECIFIED"]
Mode = Literal["ENFORCE", "SHADOW", "RULES_ONLY", "UNSPECIFIED"]


@dataclass(frozen=True)
class Usage:
    """Tokens."""

    prompt_tokens: int
    cached_tokens: int
    generated_tokens: int


@dataclass(frozen=True)
class Timings:
    """Seconds in the daemon."""

    queue: float
    prefill: float
    decode: float
    total: float


@dataclass(frozen=True)
class Revision:
    """Exactly which weights and which prompt decided."""

    bundle: str
    base_sha256: str
    adapter_sha256: str
    scale: float
    template_sha256: str
    #: Written into a copy of the base's weights, not applied at each step.
    adapter_merged: bool


@dataclass(frozen=True)
class Verdict:
    request_id: str
    decision_id: str
    label: Label
    disposition: Disposition
    #: One sentence; empty if none was asked for, if it failed, or if it is still to come.
    rationale: str
    #: The five labels' probabilities; empty where no model took part.
    scores: Mapping[str, float]
    decided_by: DecidedBy
    mode: Mode
    #: Why the answer is less than the mode asks for; else empty.
    degraded_reason: str
    #: Those that fired, where known, such as `rule_2_opt_out`.
    rules: tuple[str, ...]
    #: None where no model took part.
    model: Revision | None
    usage: Usage
    timings: Timings
    #: What the five labels hold of the whole probability, 0 to 1.
    legal_mass: float

    @property
    def may_send(self) -> bool:
        return self.disposition == "DISPATCH"


def from_wire(request_id: str, answer: pb.JudgeResponse) -> Verdict:
    return Verdict(
        request_id=request_id,
        decision_id=answer.decision_id,
        label=_name(pb.Label, answer.label, "LABEL_"),
        disposition=_name(pb.Disposition, answer.disposition, "DISPOSITION_"),
        rationale=answer.rationale,
        scores={
            _name(pb.Label, score.label, "LABEL_"): score.probability for score in answer.scores
        },
        decided_by=_name(pb.DecidedBy, answer.decided_by, "DECIDED_BY_"),
        mode=_name(pb.Mode, answer.mode, "MODE_"),
        degraded_reason=answer.degraded_reason,
        rules=tuple(answer.rules),
        model=_revision(answer.model) if answer.HasField("model") else None,
        usage=usage(answer.usage),
        timings=timings(answer.timings),
        legal_mass=answer.legal_mass,
    )


def usage(wire: pb.Usage) -> Usage:
    return Usage(wire.prompt_tokens, wire.cached_tokens, wire.generated_tokens)


def timings(wire: pb.Timings) -> Timings:
    each = (wire.queue, wire.prefill, wire.decode, wire.total)
    return Timings(*(duration.ToTimedelta().total_seconds() for duration in each))


def _revision(wire: pb.ModelRevision) -> Revision:
    return Revision(
        bundle=wire.bundle,
        base_sha256=wire.base_sha256,
        adapter_sha256=wire.adapter_sha256,
        scale=wire.scale,
        template_sha256=wire.template_sha256,
        adapter_merged=wire.adapter_merged,
    )


def _name(enum: Any, number: int, prefix: str) -> Any:
    if number not in enum.values():
        return "UNSPECIFIED"
    return enum.Name(number).removeprefix(prefix)
