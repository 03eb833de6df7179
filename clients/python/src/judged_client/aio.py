"""The client for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
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


class AsyncJudge:
    """As `Judge`, for one event loop: make it where that runs."""

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
            self._channel = grpc.aio.secure_channel(target, credentials, options)
        else:
            self._channel = grpc.aio.insecure_channel(target, options)
        self._stub = JudgeServiceStub(self._channel)

    async def judge(
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
        answer = await self._call(self._stub.Judge, question.to_wire(), timeout)
        return verdict.from_wire(question.request_id, answer)

    async def stream(
        self, drafts: Iterable[Draft] | AsyncIterable[Draft], timeout: float | None = None
    ) -> AsyncIterator[Event]:
        """Judges drafts as they come, on one stream: of each, the label first. Without a `timeout`
        the stream lasts as long as there are drafts.

        When it breaks, which is `Unavailable`, send what has no verdict again with the same ids. What
        reading the drafts raises ends it too, and is raised here.
        """
        failed: list[Exception] = []

        async def requests() -> AsyncIterator[pb.JudgeStreamRequest]:
            # A write to a call that was refused would hide why (grpc/grpc#36066).
            await answers.initial_metadata()
            if answers.done():
                return
            try:
                async for request in _requests(drafts):
                    yield request
            except Exception as error:
                failed.append(error)
                raise

        answers = self._stub.JudgeStream(requests(), timeout=timeout, metadata=self._metadata)
        try:
            async for answer in answers:
                event = events.from_wire(answer)
                if event is not None:
                    yield event
        except (asyncio.CancelledError, grpc.RpcError) as error:
            # gRPC has cancelled the call for it.
            if failed:
                raise failed[0] from None
            if isinstance(error, grpc.RpcError):
                raise from_call(error) from error
            raise
        finally:
            answers.cancel()

    async def report(
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
        """As `Judge.report`."""
        request = report.to_wire(decision_id, kind, by, true_label, incident_tier, note, probe)
        return (await self._call(self._stub.ReportOutcome, request, timeout)).tripped

    async def close(self) -> None:
        await self._channel.close()

    async def __aenter__(self) -> AsyncJudge:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _call(self, method: Any, request: Any, timeout: float | None) -> Any:
        timeout = self._timeout if timeout is None else timeout
        try:
            return await method(request, timeout=timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise from_call(error) from error


async def _requests(drafts: Any) -> AsyncIterator[pb.JudgeStreamRequest]:
    if hasattr(drafts, "__aiter__"):
        async for draft in drafts:
            yield pb.JudgeStreamRequest(request=draft.to_wire())
    else:
        for draft in drafts:
            yield pb.JudgeStreamRequest(request=draft.to_wire())
