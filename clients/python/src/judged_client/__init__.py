"""A client of judged, which decides whether an AI-written sales e-mail may be sent.

Send nothing without a verdict whose `may_send` is true. An error is no verdict.
"""

from .aio import AsyncJudge
from .draft import Draft
from .errors import (
    DeadlineExceeded,
    Denied,
    FieldViolation,
    InvalidRequest,
    JudgeError,
    Unavailable,
)
from .events import Event, Failed, Judged, Reasoned
from .judge import Judge
from .verdict import Revision, Timings, Usage, Verdict

__all__ = [
    "AsyncJudge",
    "DeadlineExceeded",
    "Denied",
    "Draft",
    "Event",
    "Failed",
    "FieldViolation",
    "InvalidRequest",
    "Judge",
    "JudgeError",
    "Judged",
    "Reasoned",
    "Revision",
    "Timings",
    "Unavailable",
    "Usage",
    "Verdict",
]
