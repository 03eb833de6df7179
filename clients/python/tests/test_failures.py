"""The failure table of ARCHITECTURE.md as this client tells it, row by row, against daemons without a
model: $JUDGED is the executable. test_judge.py has the deadline and the full daemon, test_narrow.py
what takes a model."""

import os
import signal
import subprocess
import threading

import pytest
from daemon import Daemon

from judged_client import Denied, Draft, InvalidRequest, Judge, Unavailable

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
