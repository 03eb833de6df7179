"""What a person later found of a decision."""

from __future__ import annotations

from typing import Literal

from judge.v1 import judge_pb2 as pb

from .verdict import Label

Kind = Literal["RIGHT", "FALSE_POSITIVE", "MISSED_VIOLATION", "INCIDENT"]


def to_wire(
    decision_id: str,
    kind: Kind,
    by: str,
    true_label: Label | None,
    incident_tier: int,
    note: str,
    probe: str,
) -> pb.ReportOutcomeRequest:
    """ValueError for a kind or a label that does not exist."""
    return pb.ReportOutcomeRequest(
        decision_id=decision_id,
        kind=f"OUTCOME_KIND_{kind}",
        true_label=f"LABEL_{true_label or 'UNSPECIFIED'}",
        incident_tier=incident_tier,
        reported_by=by,
        note=note,
        probe=probe,
    )
