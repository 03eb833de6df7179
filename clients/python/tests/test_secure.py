"""TLS, client certificates and tokens, against the daemon at JUDGED_SECURE_ADDR, which asks for all
of them and has no model. JUDGED_SECURE_DIR holds ca.pem, and crm.pem, crm.key and crm.token of a
client that may judge."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from judged_client import AsyncJudge, Denied, Draft, Judge, Unavailable
from judged_client.connection import Connection

EXAMPLE = Path(__file__).parents[1] / "example.py"
WORKER = Path(__file__).parents[1] / "worker.py"
ADDR = os.environ["JUDGED_SECURE_ADDR"]
FILES = Path(os.environ["JUDGED_SECURE_DIR"])
TLS = {"ca": FILES / "ca.pem", "cert": FILES / "crm.pem", "key": FILES / "crm.key"}
TOKEN = (FILES / "crm.token").read_text()
ENVIRONMENT = {
    "JUDGED_ADDR": ADDR,
    "JUDGED_CLIENT_TLS_CA": str(TLS["ca"]),
    "JUDGED_CLIENT_TLS_CERT": str(TLS["cert"]),
    "JUDGED_CLIENT_TLS_KEY": str(TLS["key"]),
    "JUDGED_TOKEN_FILE": str(FILES / "crm.token"),
}


def test_with_certificate_and_token_it_is_answered():
    for addr in (ADDR, f"https://{ADDR}"):
        with Judge(addr, **TLS, token=TOKEN) as judge:
            assert judge.judge({}, "Hi").label == "PASS"


def test_asyncio_is_answered_too():
    async def ask():
        async with AsyncJudge(ADDR, **TLS, token=TOKEN) as judge:
            return await judge.judge({}, "Hi")

    assert asyncio.run(ask()).label == "PASS"


def test_without_a_token_it_is_denied():
    with Judge(ADDR, **TLS) as judge, pytest.raises(Denied) as caught:
        judge.judge({}, "Hi")
    assert (caught.value.code, caught.value.reason) == ("UNAUTHENTICATED", "TOKEN_MISSING")


def test_a_stream_without_a_token_is_denied_whenever_it_writes():
    async def ask():
        async with AsyncJudge(ADDR, **TLS) as judge:
            for _ in range(200):
                with pytest.raises(Denied) as caught:
                    async for _ in judge.stream([Draft({}, "Hi")]):
                        pass
                assert caught.value.reason == "TOKEN_MISSING"

    asyncio.run(ask())


def test_without_a_certificate_there_is_no_connection():
    with Judge(ADDR, ca=TLS["ca"], token=TOKEN, attempts=1) as judge:
        with pytest.raises(Unavailable):
            judge.judge({}, "Hi")


def test_a_token_does_not_go_elsewhere_in_the_clear():
    for addr in ("judge.example:50551", "http://judge.example:50551", "http://127.0.0.1.example"):
        with pytest.raises(ValueError, match="in the clear"):
            Judge(addr, token="secret")
    # What `http://` asks for is no TLS, with a `ca` or without.
    with pytest.raises(ValueError, match="in the clear"):
        Judge("http://judge.example:50551", ca=TLS["ca"], token="secret")
    for addr in ("http://localhost:50551", "http://[::1]:50551", "https://judge.example:50551"):
        Judge(addr, token="secret").close()


@pytest.mark.parametrize(
    ("addr", "target", "secure"),
    [
        ("judge.example:50551", "judge.example:50551", False),
        ("http://judge.example:50551", "judge.example:50551", False),
        ("HTTPS://judge.example:50551/", "judge.example:50551", True),
        ("http://judge.example", "judge.example:80", False),
        ("https://[2001:db8::1]", "[2001:db8::1]:443", True),
    ],
)
def test_an_address_says_whether_tls_is_spoken(addr, target, secure):
    connection = Connection(addr)
    assert connection.target() == target
    assert (connection.credentials() is not None) == secure


@pytest.mark.parametrize("addr", ["ftp://judge.example", "dns:///judge.example:50551"])
def test_another_scheme_is_refused(addr):
    with pytest.raises(ValueError, match="neither http nor https"):
        Judge(addr)


def test_the_example_takes_all_from_the_environment():
    example = subprocess.run(
        [sys.executable, EXAMPLE],
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert example.stdout.startswith("SUPPRESS DO_NOT_SEND"), example


def test_the_worker_ends_where_it_is_denied(tmp_path):
    command = [sys.executable, WORKER, "--verdicts", tmp_path / "v", "--outbox", tmp_path / "o"]
    environment = {**os.environ, **ENVIRONMENT}
    del environment["JUDGED_TOKEN_FILE"]
    worker = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    # More lines may come: it does not wait for them.
    with worker:
        worker.stdin.write('{"id": "1", "context": {}, "draft": "Hi"}\n')
        worker.stdin.flush()
        assert worker.wait(timeout=20) == 1
        assert "TOKEN_MISSING" in worker.stderr.read()
    assert (tmp_path / "o").read_text() == ""
