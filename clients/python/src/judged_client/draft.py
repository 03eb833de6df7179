"""A question: may this text be sent to this prospect?"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from judge.v1 import judge_pb2 as pb

Channel = Literal["EMAIL", "SMS", "LINKEDIN"]
Rationale = bool | Literal["evidence"]

_MODES = {
    False: pb.RATIONALE_MODE_NONE,
    True: pb.RATIONALE_MODE_SENTENCE,
    "evidence": pb.RATIONALE_MODE_EVIDENCE,
}


def new_id() -> str:
    return uuid.uuid4().hex


@dataclass(frozen=True)
class Draft:
    """The same `request_id` with the same content gives the same decision again, so keep it with
    the draft where there are restarts to survive. Without one it is new, of at most 128 bytes."""

    #: What is known of the prospect, or JSON text of it.
    context: Mapping[str, Any] | str
    draft: str
    #: None: the context's `intended_channel`, else e-mail.
    channel: Channel | None = None
    #: False: the label alone, which is the fastest answer; "evidence": the rule and the words on
    #: which it rests, rather than a sentence.
    rationale: Rationale = True
    request_id: str = field(default_factory=new_id)

    def to_wire(self) -> pb.JudgeRequest:
        """ValueError for a channel or a rationale that does not exist, or a context that is not
        JSON."""
        if self.rationale not in _MODES:
            raise ValueError(f"rationale is {self.rationale!r}, not True, False or 'evidence'")
        context = self.context
        text = context if isinstance(context, str) else json.dumps(context, allow_nan=False)
        return pb.JudgeRequest(
            request_id=self.request_id,
            context_json=text,
            draft=self.draft,
            channel=f"CHANNEL_{self.channel or 'UNSPECIFIED'}",
            rationale_mode=_MODES[self.rationale],
        )
