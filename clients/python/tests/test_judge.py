"""Judge and AsyncJudge, against daemons without a model: $JUDGED is the executable."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from daemon import Daemon

from judged_client import (
    AsyncJudge,
    DeadlineExceeded,
    Draft,
    Failed,
    InvalidRequest,
    Judge,
    Judged,
    Reasoned,
    Unavailable,
)

PROSPECT = {"company": "DevCo", "headcount": 200, "recipient_role": "vp_eng"}
OFFSHORE = {**PROSPECT, "disqualifiers": ["anti_offshore"]}
WORKER = Path(__file__).parents[1] / "worker.py"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    with Daemon(tmp_path_factory.mktemp("judged")) as daemon:
        yield daemon


@pytest.fixture
def judge(daemon):
    with Judge(daemon.addr, timeout=20) as judge:
        yield judge


def in_asyncio(addr, ask, **options):
    async def run():
        async with AsyncJudge(addr, timeout=20, **options) as judge:
            return await ask(judge)

    return asyncio.run(run())


def test_a_verdict_says_all_that_the_daemon_said(judge):
    verdict = judge.judge(OFFSHORE, "Hi, a word?")
    assert (verdict.label, verdict.disposition) == ("SUPPRESS", "DO_NOT_SEND")
    assert (verdict.decided_by, verdict.mode) == ("RULES", "RULES_ONLY")
    assert verdict.rules == ("rule_1_disqualifier",)
    assert "anti_offshore" in verdict.rationale
    assert verdict.decision_id and verdict.request_id
    assert verdict.scores == {} and verdict.model is None
    assert 0 < verdict.timings.total < 20
    assert not verdict.may_send


def test_a_pass_of_the_rules_is_not_sent(judge):
    verdict = judge.judge(PROSPECT, "Hi, a word?", channel="SMS", rationale=False)
    assert (verdict.label, verdict.disposition) == ("PASS", "HOLD_FOR_REVIEW")
    assert verdict.rationale == ""
    with pytest.raises(ValueError, match="rationale"):
        judge.judge(PROSPECT, "Hi, a word?", rationale="long")
    assert not verdict.may_send


def test_asyncio_gets_the_same_decision_for_the_same_id(daemon, judge):
    first = judge.judge(OFFSHORE, "Hi, a word?")
    again = in_asyncio(
        daemon.addr,
        lambda judge: judge.judge(OFFSHORE, "Hi, a word?", request_id=first.request_id),
    )
    assert again == first


def test_many_calls_of_asyncio_are_under_way_together(daemon):
    async def ask(judge):
        return await asyncio.gather(*(judge.judge(OFFSHORE, f"Hi {n}") for n in range(50)))

    verdicts = in_asyncio(daemon.addr, ask)
    assert len({verdict.decision_id for verdict in verdicts}) == 50


@pytest.mark.parametrize("way", ["blocking", "asyncio"])
def test_a_refusal_names_its_reason_and_the_fields(daemon, judge, way):
    with pytest.raises(InvalidRequest) as caught:
        if way == "blocking":
            judge.judge("[]", "")
        else:
            in_asyncio(daemon.addr, lambda judge: judge.judge("[]", ""))
    error = caught.value
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "MALFORMED_REQUEST")
    assert {each.field for each in error.field_violations} == {"context_json", "draft"}
    assert error.retry_delay is None
    assert "MALFORMED_REQUEST" in str(error)


def test_a_channel_that_does_not_exist_is_an_error_here(judge):
    with pytest.raises(ValueError, match="CHANNEL_FAX"):
        judge.judge(PROSPECT, "Hi", channel="FAX")


def test_a_full_daemon_says_when_to_try_again(tmp_path):
    with Daemon(tmp_path, "--max-calls", "1") as daemon, Judge(daemon.addr, attempts=1) as judge:
        with held_stream(judge), pytest.raises(Unavailable) as caught:
            judge.judge(PROSPECT, "Hi")
        error = caught.value
        assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", "TOO_MANY_CALLS")
        assert error.retry_delay > 0


def test_a_call_to_a_full_daemon_is_sent_again(tmp_path):
    with Daemon(tmp_path, "--max-calls", "1") as daemon, Judge(daemon.addr) as judge:
        with held_stream(judge) as release:
            threading.Timer(0.3, release).start()
            assert judge.judge(OFFSHORE, "Hi").label == "SUPPRESS"


@pytest.mark.parametrize("way", ["blocking", "asyncio"])
def test_a_call_outlives_a_restart(tmp_path, way):
    with Daemon(tmp_path) as daemon, Judge(daemon.addr) as judge:
        first = judge.judge(OFFSHORE, "Hi", request_id="kept")
        daemon.stop()
        restart = threading.Timer(0.3, daemon.start)
        restart.start()
        try:
            if way == "blocking":
                again = judge.judge(OFFSHORE, "Hi", request_id="kept")
            else:
                again = in_asyncio(
                    daemon.addr, lambda judge: judge.judge(OFFSHORE, "Hi", request_id="kept")
                )
        finally:
            restart.join()
        assert again.decision_id == first.decision_id


def test_without_a_daemon_it_is_unavailable(tmp_path):
    daemon = Daemon(tmp_path).start()
    daemon.stop()
    with Judge(daemon.addr, attempts=1) as judge, pytest.raises(Unavailable) as caught:
        judge.judge(PROSPECT, "Hi")
    assert (caught.value.code, caught.value.reason) == ("UNAVAILABLE", "")


@pytest.mark.parametrize("way", ["blocking", "asyncio"])
def test_to_this_machine_no_proxy_is_asked(daemon, monkeypatch, way):
    for name in ("no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    # The one that gRPC takes before all others; nobody listens there.
    monkeypatch.setenv("grpc_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    _, port = daemon.addr.split(":")
    for addr in (daemon.addr, f"http://localhost:{port}"):
        if way == "blocking":
            with Judge(addr, attempts=1, timeout=20) as judge:
                verdict = judge.judge(PROSPECT, "Hi")
        else:
            verdict = in_asyncio(addr, lambda judge: judge.judge(PROSPECT, "Hi"), attempts=1)
        assert verdict.label == "PASS"


@pytest.mark.parametrize("way", ["blocking", "asyncio"])
def test_a_deadline_holds_while_the_daemon_hangs(tmp_path, way):
    with Daemon(tmp_path) as daemon, Judge(daemon.addr) as judge:
        judge.judge(PROSPECT, "Hi")
        daemon.pause()
        with pytest.raises(DeadlineExceeded):
            if way == "blocking":
                judge.judge(PROSPECT, "Hi", timeout=0.3)
            else:
                in_asyncio(daemon.addr, lambda judge: judge.judge(PROSPECT, "Hi", timeout=0.3))
        daemon.resume()
        assert judge.judge(PROSPECT, "Hi").label == "PASS"


def assert_labels_come_first(events, full, short, bad):
    of = {draft.request_id: [] for draft in (full, short, bad)}
    for event in events:
        of[event.request_id].append(event)
    judged, reasoned = of[full.request_id]
    assert isinstance(judged, Judged) and isinstance(reasoned, Reasoned)
    assert judged.verdict.label == "SUPPRESS" and judged.verdict.rationale == ""
    assert reasoned.decision_id == judged.verdict.decision_id
    assert "anti_offshore" in reasoned.rationale
    assert [type(event) for event in of[short.request_id]] == [Judged]
    (failed,) = of[bad.request_id]
    assert isinstance(failed, Failed) and isinstance(failed.error, InvalidRequest)
    assert failed.error.reason == "MALFORMED_REQUEST"
    assert [each.field for each in failed.error.field_violations] == ["context_json"]


def drafts():
    return [Draft(OFFSHORE, "Hi"), Draft(OFFSHORE, "Hi", rationale=False), Draft("[]", "Hi")]


def test_a_stream_gives_the_label_first_and_survives_a_bad_draft(judge):
    sent = drafts()
    assert_labels_come_first(judge.stream(sent), *sent)


def test_so_does_one_of_asyncio(daemon):
    sent = drafts()

    async def ask(judge):
        return [event async for event in judge.stream(sent)]

    assert_labels_come_first(in_asyncio(daemon.addr, ask), *sent)


def no_such_channel():
    return [Draft({}, "a"), Draft({}, "b", "FAX")]


def no_second_draft():
    yield Draft({}, "a")
    raise ValueError("a torn line")


@pytest.mark.parametrize("drafts", [no_such_channel, no_second_draft])
@pytest.mark.parametrize("way", ["blocking", "asyncio"])
def test_what_is_wrong_with_the_drafts_of_a_stream_is_raised_as_it_is(daemon, judge, way, drafts):
    async def ask(judge):
        return [event async for event in judge.stream(drafts())]

    with pytest.raises(ValueError, match="CHANNEL_FAX|a torn line"):
        if way == "blocking":
            list(judge.stream(drafts()))
        else:
            in_asyncio(daemon.addr, ask)


def test_a_report_reaches_the_decision(daemon, judge):
    decision = judge.judge(OFFSHORE, "Hi").decision_id
    assert judge.report(decision, "FALSE_POSITIVE", "Ada Moss", probe="E01") is False
    with pytest.raises(InvalidRequest) as caught:
        in_asyncio(daemon.addr, lambda judge: judge.report("nowhere", "RIGHT", "Ada Moss"))
    assert (caught.value.code, caught.value.reason) == ("NOT_FOUND", "UNKNOWN_DECISION")
    with pytest.raises(InvalidRequest) as caught:
        judge.report(decision, "MISSED_VIOLATION", "Ada Moss")
    assert [each.field for each in caught.value.field_violations] == ["true_label"]


class held_stream:
    """Holds one call open, until the end of the `with` or until it is told."""

    def __init__(self, judge):
        self.judge, self.over = judge, threading.Event()

    def __enter__(self):
        def drafts():
            yield Draft(OFFSHORE, "Hi", rationale=False)
            self.over.wait(30)

        self.events = self.judge.stream(drafts())
        next(self.events)
        return self.over.set

    def __exit__(self, *_):
        self.over.set()
        assert list(self.events) == []


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def start_worker(daemon, folder):
    command = [sys.executable, WORKER, "--verdicts", folder / "verdicts.jsonl"]
    command += ["--outbox", folder / "outbox.jsonl", "--in-flight", "2"]
    environment = {**os.environ, "JUDGED_ADDR": daemon.addr}
    return subprocess.Popen(command, stdin=subprocess.PIPE, text=True, env=environment)


def line(name, context):
    return json.dumps({"id": name, "context": context, "draft": f"Hi, {name}"}) + "\n"


def test_the_worker_puts_into_the_outbox_only_what_may_be_sent(tmp_path):
    with Daemon(tmp_path, "--rules-pass", "DISPATCH") as daemon:
        worker = start_worker(daemon, tmp_path)
        sent = [line(f"draft-{n}", PROSPECT if n % 2 else OFFSHORE) for n in range(7)]
        worker.communicate("".join([*sent, '{"id": "no draft"}\n', line("array", [])]), timeout=30)
        assert worker.returncode == 1
    verdicts = {row.get("request_id"): row for row in rows(tmp_path / "verdicts.jsonl")}
    assert len(verdicts) == 9
    assert verdicts["draft-0"]["label"] == "SUPPRESS" and verdicts["draft-0"]["rationale"]
    assert "KeyError" in verdicts[None]["error"]
    assert "MALFORMED_REQUEST" in verdicts["array"]["error"]
    outbox = {row["id"] for row in rows(tmp_path / "outbox.jsonl")}
    assert outbox == {"draft-1", "draft-3", "draft-5"}


def test_the_worker_goes_on_after_a_restart_of_the_daemon(tmp_path):
    with Daemon(tmp_path, "--rules-pass", "DISPATCH") as daemon:
        worker = start_worker(daemon, tmp_path)
        worker.stdin.write(line("before", PROSPECT))
        worker.stdin.flush()
        while not (tmp_path / "verdicts.jsonl").exists() or not rows(tmp_path / "verdicts.jsonl"):
            assert worker.poll() is None
        daemon.stop()
        worker.stdin.write(line("while it is away", PROSPECT))
        worker.stdin.flush()
        daemon.start()
        worker.communicate(line("after", PROSPECT), timeout=30)
        assert worker.returncode == 0
    sent = [row["id"] for row in rows(tmp_path / "outbox.jsonl")]
    assert sorted(sent) == ["after", "before", "while it is away"]
