"""The client that blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc

from judge.v1 import judge_pb2 as pb
from judge.v1.judge_pb2_grpc import JudgeServiceStub

from . import events, report, verdict
from .connection import Connection
from .draft import Channel, Draft, Rationale, new_id
from .errors import from_call
from .events import Event
from .verdict import Label, Verdict


class Judge:
    """One connection, which threads may share; it is made at the first call, and again when lost.

    `ca`, `cert` and `key` are paths of PEM files; what is not given is as the environment says
    (see `Connection`). A call is sent at most `attempts` times, 1 to 5. `timeout` is in seconds, and
    holds where a call names none. Failures are `JudgeError`.
    """

    def __init__(
        self,
        addr: str | None = None,
        *,
        ca: str | Path | None = None,
        cert: str | Path | None = None,
        key: str | Path | None = None,
        token: str | None = None,
        timeout: float = 60.0,
        attempts: int = 5,
    ) -> None:
        connection = Connection(addr, ca, cert, key, token, attempts)
        self._metadata = connection.metadata()
        self._timeout = timeout
        target, options = connection.target(), connection.options()
        credentials = connection.credentials()
        if credentials:
            self._channel = grpc.secure_channel(target, credentials, options)
        else:
            self._channel = grpc.insecure_channel(target, options)
        self._stub = JudgeServiceStub(self._channel)

    def judge(
        self,
        context: Mapping[str, Any] | str,
        draft: str,
        channel: Channel | None = None,
        rationale: Rationale = True,
        timeout: float | None = None,
        request_id: str | None = None,
    ) -> Verdict:
        """May this text be sent? What the arguments mean, `Draft` tells."""
        question = Draft(context, draft, channel, rationale, request_id or new_id())
        answer = self._call(self._stub.Judge, question.to_wire(), timeout)
        return verdict.from_wire(question.request_id, answer)

    def stream(self, drafts: Iterable[Draft], timeout: float | None = None) -> Iterator[Event]:
        """Judges drafts as they come, on one stream: of each, the label first. `drafts` is read on
        a thread of its own. Without a `timeout` the stream lasts as long as there are drafts.

        When it breaks, which is `Unavailable`, send what has no verdict again with the same ids. What
        reading the drafts raises ends it too, and is raised here.
        """
        failed: list[Exception] = []

        def requests() -> Iterator[pb.JudgeStreamRequest]:
            try:
                for draft in drafts:
                    yield pb.JudgeStreamRequest(request=draft.to_wire())
            except Exception as error:
                failed.append(error)
                raise

        answers = self._stub.JudgeStream(requests(), timeout=timeout, metadata=self._metadata)
        try:
            for answer in answers:
                event = events.from_wire(answer)
                if event is not None:
                    yield event
        except grpc.RpcError as error:
            # gRPC has cancelled the call for it.
            if failed:
                raise failed[0] from None
            raise from_call(error) from error
        finally:
            answers.cancel()

    def report(
        self,
        decision_id: str,
        kind: report.Kind,
        by: str,
        *,
        true_label: Label | None = None,
        incident_tier: int = 0,
        note: str = "",
        probe: str = "",
        timeout: float | None = None,
    ) -> bool:
        """Tells what a person, `by`, later found; true if that has tripped the kill switch.

        `true_label` comes with MISSED_VIOLATION, `incident_tier` (1, the worst, to 3) with INCIDENT.
        """
        request = report.to_wire(decision_id, kind, by, true_label, incident_tier, note, probe)
        return self._call(self._stub.ReportOutcome, request, timeout).tripped

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(self, method: Any, request: Any, timeout: float | None) -> Any:
        timeout = self._timeout if timeout is None else timeout
        try:
            return method(request, timeout=timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise from_call(error) from error
