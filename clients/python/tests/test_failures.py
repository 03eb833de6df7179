"""The failure table of ARCHITECTURE.md as this client tells it, row by row, against daemons without a
model: $JUDGED is the executable. test_judge.py has the deadline and the full daemon, test_narrow.py
what takes a model."""

import asyncio
import os
import signal
import subprocess
import threading
import time

import pytest
from daemon import Daemon

from judged_client import AsyncJudge, Denied, Draft, InvalidRequest, Judge, Unavailable, connection

OFFSHORE = {"company": "DevCo", "disqualifiers": ["anti_offshore"]}


def refusal(kind, call):
    """Code and reason of a call that must fail, and the error."""
    with pytest.raises(kind) as caught:
        call()
    return (caught.value.code, caught.value.reason), caught.value


def test_a_message_over_the_limit(tmp_path):
    with Daemon(tmp_path, "--max-message-bytes", "2048") as daemon, Judge(daemon.addr) as judge:
        told, error = refusal(InvalidRequest, lambda: judge.judge({}, "a" * 3000))
        assert told == ("OUT_OF_RANGE", "")
        assert "2048" in error.message
        assert judge.judge({}, "a").label == "PASS"


def test_a_request_id_used_for_another_content(tmp_path):
    with Daemon(tmp_path) as daemon, Judge(daemon.addr) as judge:
        judge.judge({}, "Hi", request_id="kept")
        told, _ = refusal(InvalidRequest, lambda: judge.judge({}, "Ho", request_id="kept"))
        assert told == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")


def test_a_token_that_is_missing_unknown_or_not_for_this(tmp_path):
    file = tmp_path / "tokens.toml"
    new = ["token", "new", "--name", "crm", "--scope", "judge", "--tokens", file]
    made = subprocess.run([os.environ["JUDGED"], *new], capture_output=True, text=True, check=True)
    with Daemon(tmp_path, "--tokens", file) as daemon:
        for token, reason in [("", "TOKEN_MISSING"), ("judged_0", "TOKEN_UNKNOWN")]:
            with Judge(daemon.addr, token=token) as judge:
                told, _ = refusal(Denied, lambda judge=judge: judge.judge({}, "Hi"))
                assert told == ("UNAUTHENTICATED", reason)
        with Judge(daemon.addr, token=made.stdout) as judge:
            decision = judge.judge({}, "Hi").decision_id
            told, error = refusal(Denied, lambda: judge.report(decision, "RIGHT", "Ada Moss"))
            assert told == ("PERMISSION_DENIED", "SCOPE_MISSING")
            assert "feedback" in error.message


def test_a_decision_that_cannot_be_recorded(tmp_path):
    with Daemon(tmp_path) as daemon, Judge(daemon.addr, attempts=1) as judge:
        judge.judge({}, "Hi")
        (tmp_path / "state" / "decisions.db").unlink()
        told, error = refusal(Unavailable, lambda: judge.judge({}, "Ho"))
        assert told == ("UNAVAILABLE", "DECISION_NOT_RECORDED")
        assert error.retry_delay == 5


def test_a_drain_ends_an_open_stream(tmp_path):
    with Daemon(tmp_path) as daemon, Judge(daemon.addr) as judge:
        over = threading.Event()

        def drafts():
            yield Draft({}, "Hi", rationale=False)
            over.wait(30)

        events = judge.stream(drafts())
        assert next(events).verdict.label == "PASS"
        daemon.process.send_signal(signal.SIGTERM)
        told, error = refusal(Unavailable, lambda: next(events))
        over.set()
        assert told == ("UNAVAILABLE", "DRAINING")
        assert error.retry_delay == 5
        assert daemon.process.wait(timeout=30) == 0


@pytest.fixture
def hurried(monkeypatch):
    """Pings that are close together."""
    times = {"grpc.keepalive_time_ms": 200, "grpc.http2.ping_timeout_ms": 300}
    options = [(name, times.get(name, value)) for name, value in connection.KEEPALIVE]
    monkeypatch.setattr(connection, "KEEPALIVE", options)


def test_a_host_that_is_gone_without_a_word_ends_an_open_stream(tmp_path, hurried):
    with Daemon(tmp_path) as daemon, Judge(daemon.addr) as judge:
        over = threading.Event()

        def drafts():
            yield Draft({}, "Hi", rationale=False)
            over.wait(30)

        events = judge.stream(drafts())
        assert next(events).verdict.label == "PASS"
        # Many pings on which nothing else is sent.
        time.sleep(4)
        daemon.pause()
        gone = time.monotonic()
        told, _ = refusal(Unavailable, lambda: next(events))
        over.set()
        assert told == ("UNAVAILABLE", "")
        assert time.monotonic() - gone < 10


def test_so_it_does_one_of_asyncio(tmp_path, hurried):
    async def run(daemon):
        async def drafts():
            yield Draft({}, "Hi", rationale=False)
            await asyncio.sleep(30)

        async with AsyncJudge(daemon.addr) as judge:
            events = judge.stream(drafts())
            assert (await anext(events)).verdict.label == "PASS"
            daemon.pause()
            await asyncio.wait_for(anext(events), 10)

    with Daemon(tmp_path) as daemon:
        told, _ = refusal(Unavailable, lambda: asyncio.run(run(daemon)))
        assert told == ("UNAVAILABLE", "")


def test_without_a_model_the_rules_answer_and_say_why(tmp_path):
    arguments = ["--mode", "enforce", "--model-dir", tmp_path / "none"]
    with Daemon(tmp_path, *arguments) as daemon, Judge(daemon.addr) as judge:
        verdict = judge.judge({}, "Hi")
        assert (verdict.decided_by, verdict.mode) == ("RULES", "ENFORCE")
        assert (verdict.label, verdict.disposition) == ("PASS", "HOLD_FOR_REVIEW")
        assert "the model" in verdict.degraded_reason
        assert not verdict.may_send
        # No matter of the model.
        assert judge.judge(OFFSHORE, "Hi").degraded_reason == ""


def test_a_tripped_kill_switch_is_told_in_each_answer(tmp_path):
    arguments = ["--mode", "enforce", "--model-dir", tmp_path / "none"]
    with Daemon(tmp_path, *arguments) as daemon, Judge(daemon.addr) as judge:
        decision = judge.judge({}, "Hi").decision_id
        assert judge.report(decision, "INCIDENT", "Ada Moss", incident_tier=1) is True
        verdict = judge.judge({}, "Ho")
        assert (verdict.decided_by, verdict.mode) == ("RULES", "RULES_ONLY")
        assert "incident" in verdict.degraded_reason
        assert verdict.disposition == "HOLD_FOR_REVIEW"
