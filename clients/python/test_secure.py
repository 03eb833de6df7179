"""TLS, client certificates and tokens as a Python caller sees them, against the daemon at
JUDGED_SECURE_ADDR, which asks for all of them and has no model. JUDGED_SECURE_DIR holds ca.pem, and
crm.pem, crm.key and crm.token of a client that may judge."""

import os
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from connection import connect

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "gen"))
from judge.v1 import judge_pb2, judge_pb2_grpc  # noqa: E402

FILES = Path(os.environ["JUDGED_SECURE_DIR"])
ENVIRONMENT = {
    "JUDGED_ADDR": os.environ["JUDGED_SECURE_ADDR"],
    "JUDGED_CLIENT_TLS_CA": str(FILES / "ca.pem"),
    "JUDGED_CLIENT_TLS_CERT": str(FILES / "crm.pem"),
    "JUDGED_CLIENT_TLS_KEY": str(FILES / "crm.key"),
    "JUDGED_TOKEN_FILE": str(FILES / "crm.token"),
}


@pytest.fixture
def ask(monkeypatch):
    """Judges with the environment of the client, without what is named."""

    def judge(without=()):
        for name, value in ENVIRONMENT.items():
            if name not in without:
                monkeypatch.setenv(name, value)
        with connect() as channel:
            stub = judge_pb2_grpc.JudgeServiceStub(channel)
            return stub.Judge(judge_pb2.JudgeRequest(context_json="{}", draft="Hi"), timeout=20)

    return judge


def test_with_certificate_and_token_it_is_answered(ask):
    assert ask().label == judge_pb2.LABEL_PASS


def test_without_a_token_it_is_refused(ask):
    with pytest.raises(grpc.RpcError) as caught:
        ask(without=["JUDGED_TOKEN_FILE"])
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_without_a_certificate_there_is_no_connection(ask):
    with pytest.raises(grpc.RpcError) as caught:
        ask(without=["JUDGED_CLIENT_TLS_CERT", "JUDGED_CLIENT_TLS_KEY"])
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


def test_a_token_does_not_go_elsewhere_in_the_clear(monkeypatch):
    monkeypatch.setenv("JUDGED_TOKEN", "secret")
    with pytest.raises(ValueError, match="in the clear"):
        connect("judge.example:50551")


def test_the_example_runs_over_tls():
    example = subprocess.run(
        [sys.executable, HERE / "example.py"],
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert example.stdout.startswith("LABEL_SUPPRESS DISPOSITION_DO_NOT_SEND"), example
