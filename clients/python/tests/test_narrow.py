"""Rows of the failure table that take a model: the daemon at JUDGED_ADDR has one, one slot, and room
for one request that waits."""

import asyncio

import pytest

from judged_client import AsyncJudge, DeadlineExceeded, InvalidRequest, Judge, Unavailable

LONG = "We build teams of engineers for companies such as yours. " * 60


def test_a_prompt_over_the_budget_is_refused_with_its_count():
    with Judge() as judge, pytest.raises(InvalidRequest) as caught:
        judge.judge({}, LONG * 20)
    error = caught.value
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "PROMPT_TOO_LONG")
    assert [each.field for each in error.field_violations] == ["draft"]
    assert "tokens" in error.message


def test_a_full_queue_says_when_to_try_again_and_serves_what_it_took():
    async def ask():
        async with AsyncJudge(timeout=120, attempts=1) as judge:
            calls = (judge.judge({"company": f"Full{n}"}, "Hi", rationale=False) for n in range(6))
            return await asyncio.gather(*calls, return_exceptions=True)

    answers = asyncio.run(ask())
    refused = [answer for answer in answers if isinstance(answer, Unavailable)]
    # One runs, unless the rest came before it had its slot; one waits.
    assert 1 <= len(refused) <= 5
    for error in refused:
        assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", "QUEUE_FULL")
        assert error.retry_delay == 1
    judged = [answer for answer in answers if not isinstance(answer, Unavailable)]
    assert all(verdict.decided_by == "MODEL" for verdict in judged)


def test_a_deadline_out_of_reach_is_told_at_once():
    with Judge(timeout=120, attempts=1) as judge:
        # Its steps, more than two, tell the pace.
        judge.judge({"company": "Pace"}, LONG, rationale=False)
        with pytest.raises(DeadlineExceeded) as caught:
            judge.judge({"company": "Late"}, LONG, timeout=1.0)
    assert caught.value.reason == "DEADLINE_OUT_OF_REACH"
    assert caught.value.retry_delay == 1
