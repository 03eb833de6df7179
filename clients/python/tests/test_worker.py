"""What the worker does with failures that no daemon without a model has."""

import asyncio
import io
import json
import sys
from pathlib import Path

import pytest

from judge.v1 import judge_pb2 as pb
from judged_client import DeadlineExceeded, Failed, Judged, JudgeError, Reasoned, Unavailable
from judged_client.verdict import from_wire, timings, usage

sys.path.insert(0, str(Path(__file__).parents[1]))
from worker import Worker  # noqa: E402

FULL = Unavailable("RESOURCE_EXHAUSTED", "the queue is full", "QUEUE_FULL", retry_delay=0.01)
LATE = ("DEADLINE_EXCEEDED", "the deadline is out of reach", "DEADLINE_OUT_OF_REACH")
LINE = '{"id": "1", "context": {}, "draft": "Hi"}\n'


def judged(draft, disposition=pb.DISPOSITION_DISPATCH):
    answer = pb.JudgeResponse(label=pb.LABEL_PASS, disposition=disposition)
    return Judged(draft.request_id, from_wire(draft.request_id, answer))


def reasoned(draft):
    return Reasoned(draft.request_id, "", "No rule fires.", usage(pb.Usage()), timings(pb.Timings()))


def failed(draft, error=FULL):
    return Failed(draft.request_id, error)


class Scripted:
    """Answers the n-th draft on its streams with what the n-th row makes of it; an error ends the
    stream."""

    def __init__(self, *rows):
        self.rows = list(rows)

    async def stream(self, drafts):
        async for draft in drafts:
            for step in self.rows.pop(0):
                if isinstance(step, JudgeError):
                    raise step
                yield step(draft)


def work(*rows, lines=LINE):
    """The worker's failures, verdicts and outbox."""

    async def run():
        verdicts, outbox = io.StringIO(), io.StringIO()
        worker = Worker(Scripted(*rows), verdicts, outbox, in_flight=1)
        failures = await asyncio.wait_for(worker.run(io.StringIO(lines)), 10)
        read = lambda file: [json.loads(line) for line in file.getvalue().splitlines()]  # noqa: E731
        return failures, read(verdicts), read(outbox)

    return asyncio.run(run())


def test_a_draft_that_met_a_full_queue_is_sent_again():
    failures, verdicts, outbox = work([failed], [failed], [judged, reasoned])
    assert failures == 0
    assert [row["rationale"] for row in verdicts] == ["No rule fires."]
    assert [row["id"] for row in outbox] == ["1"]


def test_so_is_one_whose_deadline_was_out_of_reach():
    late = lambda draft: failed(draft, DeadlineExceeded(*LATE, retry_delay=0.01))  # noqa: E731
    failures, _, outbox = work([late], [judged, reasoned])
    assert failures == 0
    assert [row["id"] for row in outbox] == ["1"]


def test_a_deadline_that_says_no_time_to_come_back_is_a_failure():
    late = lambda draft: failed(draft, DeadlineExceeded("DEADLINE_EXCEEDED", "too late"))  # noqa: E731
    failures, verdicts, outbox = work([late])
    assert (failures, outbox) == (1, [])
    assert verdicts == [{"request_id": "1", "error": "DEADLINE_EXCEEDED: too late"}]


def test_a_label_stands_where_its_rationale_fails():
    failures, verdicts, outbox = work([judged, failed])
    assert (failures, len(verdicts), len(outbox)) == (0, 1, 1)
    assert verdicts[0]["rationale"] == ""


def test_a_label_alone_lets_nothing_out_when_the_stream_breaks():
    held = lambda draft: judged(draft, pb.DISPOSITION_HOLD_FOR_REVIEW)  # noqa: E731
    failures, verdicts, outbox = work([judged, FULL], [held, reasoned])
    assert (failures, outbox) == (0, [])
    assert [row["disposition"] for row in verdicts] == ["HOLD_FOR_REVIEW"]


def test_a_label_of_a_broken_stream_decides_nothing_on_the_next_one():
    held = lambda draft: judged(draft, pb.DISPOSITION_HOLD_FOR_REVIEW)  # noqa: E731
    failures, verdicts, outbox = work([judged, FULL], [failed], [held, reasoned])
    assert (failures, outbox) == (0, [])
    assert [row["disposition"] for row in verdicts] == ["HOLD_FOR_REVIEW"]


def test_what_waits_to_be_sent_again_is_forgotten_with_its_stream():
    sent = []

    def late(delay):
        error = DeadlineExceeded(*LATE, retry_delay=delay)
        return lambda draft: sent.append(draft.draft) or failed(draft, error)

    seen = lambda draft: sent.append(draft.draft) or judged(draft)  # noqa: E731
    # The next stream begins after 0.5 s. The second line has the first one's id again.
    rows = [late(0.6), FULL], [seen, reasoned], [late(0.2)], [seen, reasoned]
    failures, _, outbox = work(*rows, lines=LINE + LINE.replace("Hi", "Another"))
    assert sent == ["Hi", "Hi", "Another", "Another"]
    assert (failures, [row["draft"] for row in outbox]) == (0, ["Hi", "Another"])


@pytest.mark.parametrize("number", range(1, 5))
def test_only_a_dispatch_is_let_out(number):
    _, _, outbox = work([lambda draft: judged(draft, number), reasoned])
    assert bool(outbox) == (number == pb.DISPOSITION_DISPATCH)


def test_lines_that_cannot_be_read_are_counted_and_hold_up_nothing():
    lines = '[]\n{"id": 1, "context": {}, "draft": "Hi"}\nnonsense\n' + LINE
    failures, verdicts, outbox = work([judged, reasoned], lines=lines)
    assert (failures, len(verdicts), len(outbox)) == (3, 4, 1)
    assert all("error" in row for row in verdicts[:3])
