"""What goes wrong, by what a caller can do about it."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
from google.protobuf.message import DecodeError
from google.rpc import code_pb2, error_details_pb2, status_pb2

from judge.v1 import judge_pb2 as pb


@dataclass(frozen=True)
class FieldViolation:
    field: str
    description: str


class JudgeError(Exception):
    """There is no verdict: send nothing."""

    #: gRPC's name, such as `INVALID_ARGUMENT`.
    code: str
    message: str
    #: The stable name of the cause, such as `QUEUE_FULL`; empty where the daemon was not reached.
    reason: str
    field_violations: tuple[FieldViolation, ...]
    #: Seconds after which to try again; None where the daemon does not say so.
    retry_delay: float | None

    def __init__(
        self,
        code: str,
        message: str,
        reason: str = "",
        field_violations: tuple[FieldViolation, ...] = (),
        retry_delay: float | None = None,
    ) -> None:
        super().__init__(code, message, reason, field_violations, retry_delay)
        self.code = code
        self.message = message
        self.reason = reason
        self.field_violations = field_violations
        self.retry_delay = retry_delay

    def __str__(self) -> str:
        return f"{self.code}{f' ({self.reason})' if self.reason else ''}: {self.message}"


class InvalidRequest(JudgeError):
    """The request is wrong, and stays so: `field_violations` says where."""


class Denied(JudgeError):
    """The token is missing, unknown, or not for this."""


class Unavailable(JudgeError):
    """No daemon is there, or it is full or draining: try again later."""


class DeadlineExceeded(JudgeError):
    """The answer did not come in time, or could not have."""


_CLASSES = {
    "INVALID_ARGUMENT": InvalidRequest,
    "OUT_OF_RANGE": InvalidRequest,
    "ALREADY_EXISTS": InvalidRequest,
    "NOT_FOUND": InvalidRequest,
    "FAILED_PRECONDITION": InvalidRequest,
    "UNAUTHENTICATED": Denied,
    "PERMISSION_DENIED": Denied,
    "UNAVAILABLE": Unavailable,
    "RESOURCE_EXHAUSTED": Unavailable,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
}


#: What asyncio's calls say in place of the status of a stream that ended while they wrote to it
#: (grpc/grpc#36066). The next call tells why.
_WRITTEN_TOO_LATE = "Internal error from Core"


def from_call(error: grpc.RpcError) -> JudgeError:
    """Of a call that failed, be it asyncio's or not."""
    info = error_details_pb2.ErrorInfo()
    bad = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    delay = None
    for packed in _details(error):
        packed.Unpack(info)
        packed.Unpack(bad)
        if packed.Unpack(retry):
            delay = retry.retry_delay.ToTimedelta().total_seconds()
    code = error.code().name
    if (code, error.details()) == ("INTERNAL", _WRITTEN_TOO_LATE):
        code = "UNAVAILABLE"
    return _error(code, error.details(), info.reason, bad.field_violations, delay)


def from_event(event: pb.ErrorEvent) -> JudgeError:
    """Of one draft on a stream."""
    known = event.code in code_pb2.Code.values()
    code = code_pb2.Code.Name(event.code) if known else "UNKNOWN"
    delay = None
    if event.HasField("retry_delay"):
        delay = event.retry_delay.ToTimedelta().total_seconds()
    return _error(code, event.message, event.reason, event.field_violations, delay)


def _error(code, message, reason, violations, delay) -> JudgeError:
    violations = tuple(FieldViolation(each.field, each.description) for each in violations)
    return _CLASSES.get(code, JudgeError)(code, message or "", reason, violations, delay)


def _details(error: grpc.RpcError):
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            try:
                return status_pb2.Status.FromString(value).details
            except DecodeError:
                # What stands between us and the daemon may write anything.
                return ()
    return ()
