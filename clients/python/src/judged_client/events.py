"""What comes of the drafts on a stream."""

from __future__ import annotations

from dataclasses import dataclass

from judge.v1 import judge_pb2 as pb

from . import verdict
from .errors import JudgeError, from_event
from .verdict import Timings, Usage, Verdict


@dataclass(frozen=True)
class Judged:
    """The label is certain; the verdict's rationale is still empty."""

    request_id: str
    verdict: Verdict


@dataclass(frozen=True)
class Reasoned:
    """Completes a verdict."""

    request_id: str
    decision_id: str
    rationale: str
    usage: Usage
    timings: Timings


@dataclass(frozen=True)
class Failed:
    """One draft has failed, and the stream goes on. After `Judged`, the label stands and the
    rationale does not come."""

    request_id: str
    error: JudgeError


Event = Judged | Reasoned | Failed


def from_wire(answer: pb.JudgeStreamResponse) -> Event | None:
    """None for a kind of a newer daemon."""
    request_id = answer.request_id
    match answer.WhichOneof("event"):
        case "verdict":
            return Judged(request_id, verdict.from_wire(request_id, answer.verdict))
        case "rationale":
            event = answer.rationale
            return Reasoned(
                request_id,
                event.decision_id,
                event.rationale,
                verdict.usage(event.usage),
                verdict.timings(event.timings),
            )
        case "error":
            return Failed(request_id, from_event(answer.error))
        case _:
            return None
