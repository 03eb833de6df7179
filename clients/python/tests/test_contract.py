"""The contract as the stubs show it, against the daemon at JUDGED_ADDR.

The daemon has a real model. Where the model decides, these tests ask only
that the answer is well formed; the hard rules' labels are asserted.
"""

import json
import os
import re
import subprocess
import sys
import uuid
from pathlib import Path

import grpc
import pytest
from google.rpc import code_pb2, error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_status import rpc_status

from judge.v1 import control_pb2, control_pb2_grpc, judge_pb2, judge_pb2_grpc

PROSPECT = {"company": "DevCo", "headcount": 200, "recipient_role": "vp_eng"}
OFFSHORE = {**PROSPECT, "disqualifiers": ["anti_offshore"]}
LABELS = {number for number in judge_pb2.Label.values() if number != judge_pb2.LABEL_UNSPECIFIED}
SECONDS = 120
EXAMPLE = Path(__file__).parents[1] / "example.py"


@pytest.fixture(scope="module")
def channel():
    with grpc.insecure_channel(os.environ["JUDGED_ADDR"]) as channel:
        yield channel


@pytest.fixture
def judge(channel):
    return judge_pb2_grpc.JudgeServiceStub(channel)


@pytest.fixture
def health(channel):
    return health_pb2_grpc.HealthStub(channel)


def request(context=PROSPECT, draft="Hi, a word about your hiring plans?", **fields):
    return judge_pb2.JudgeRequest(context_json=json.dumps(context), draft=draft, **fields)


def refusal(call):
    """The gRPC code of a call that must fail, and its details by type."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    status = rpc_status.from_call(caught.value)
    details = {}
    for packed in status.details if status else []:
        for kind in (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest):
            if packed.Is(kind.DESCRIPTOR):
                details[kind] = kind.FromString(packed.value)
    return caught.value.code(), details


def test_evidence_quotes_rather_than_explains(judge):
    answer = judge.Judge(
        request(rationale_mode=judge_pb2.RATIONALE_MODE_EVIDENCE), timeout=SECONDS
    )
    assert re.fullmatch(r"No rule fires\.|Rule \w+: '.+'\.", answer.rationale), answer


def test_a_hard_rule_decides_without_the_model(judge):
    answer = judge.Judge(request(OFFSHORE), timeout=SECONDS)
    assert answer.label == judge_pb2.LABEL_SUPPRESS
    assert answer.disposition == judge_pb2.DISPOSITION_DO_NOT_SEND
    assert answer.decided_by == judge_pb2.DECIDED_BY_RULES
    assert answer.decision_id and answer.rules and answer.rationale
    assert not answer.scores


def test_the_model_decides_with_scores_and_one_sentence(judge):
    answer = judge.Judge(request(), timeout=SECONDS)
    assert answer.decided_by == judge_pb2.DECIDED_BY_MODEL
    assert answer.degraded_reason == ""
    scores = {score.label: score.probability for score in answer.scores}
    assert set(scores) == LABELS
    assert sum(scores.values()) == pytest.approx(1)
    assert answer.label == max(scores, key=scores.get)
    assert 0 < answer.legal_mass <= 1
    assert answer.rationale and "\n" not in answer.rationale
    assert answer.model.bundle and len(answer.model.base_sha256) == 64
    assert 0 < answer.usage.cached_tokens < answer.usage.prompt_tokens
    assert answer.timings.total.ToTimedelta() >= answer.timings.prefill.ToTimedelta()


def test_a_stream_gives_labels_first_and_survives_a_bad_request(judge):
    questions = [
        request(request_id="model"),
        request(context=["not an object"], request_id="bad"),
        request(request_id="short", rationale_mode=judge_pb2.RATIONALE_MODE_NONE),
        request(OFFSHORE, request_id="rule"),
    ]
    # The daemon remembers request ids: these are new in every run.
    run = uuid.uuid4().hex
    for question in questions:
        question.request_id += run
    stream = judge.JudgeStream(
        (judge_pb2.JudgeStreamRequest(request=question) for question in questions), timeout=SECONDS
    )
    events = {}
    for response in stream:
        kind = response.WhichOneof("event")
        name = response.request_id.removesuffix(run)
        events.setdefault(name, []).append((kind, getattr(response, kind)))

    kinds = {name: [kind for kind, _ in of] for name, of in events.items()}
    assert kinds == {
        "model": ["verdict", "rationale"],
        "bad": ["error"],
        "short": ["verdict"],
        "rule": ["verdict", "rationale"],
    }
    (_, verdict), (_, rationale) = events["model"]
    assert verdict.label in LABELS and verdict.rationale == ""
    assert rationale.decision_id == verdict.decision_id and rationale.rationale
    assert events["rule"][0][1].label == judge_pb2.LABEL_SUPPRESS
    error = events["bad"][0][1]
    assert (error.code, error.reason) == (code_pb2.INVALID_ARGUMENT, "MALFORMED_REQUEST")
    assert [violation.field for violation in error.field_violations] == ["context_json"]


def test_a_refusal_names_its_reason_and_the_field(judge):
    code, details = refusal(lambda: judge.Judge(request(context=[1, 2]), timeout=SECONDS))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    info = details[error_details_pb2.ErrorInfo]
    assert (info.reason, info.domain) == ("MALFORMED_REQUEST", "judged")
    violations = details[error_details_pb2.BadRequest].field_violations
    assert [violation.field for violation in violations] == ["context_json"]


def test_a_request_id_stands_for_one_question(judge):
    request_id = uuid.uuid4().hex
    first = judge.Judge(request(OFFSHORE, request_id=request_id), timeout=SECONDS)
    again = judge.Judge(request(OFFSHORE, request_id=request_id), timeout=SECONDS)
    assert again.decision_id == first.decision_id
    other = request(OFFSHORE, draft="Another text.", request_id=request_id)
    code, details = refusal(lambda: judge.Judge(other, timeout=SECONDS))
    assert code == grpc.StatusCode.ALREADY_EXISTS
    assert details[error_details_pb2.ErrorInfo].reason == "REQUEST_ID_REUSED"


def test_a_deadline_holds(judge):
    code, _ = refusal(lambda: judge.Judge(request(), timeout=0.05))
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED


def test_health_can_be_checked_and_watched(health):
    for service in ("", "judge.v1.JudgeService"):
        question = health_pb2.HealthCheckRequest(service=service)
        serving = health_pb2.HealthCheckResponse.SERVING
        assert health.Check(question, timeout=10).status == serving
        watch = health.Watch(question, timeout=10)
        assert next(watch).status == serving
        watch.cancel()


def test_an_unknown_service_has_no_health(health):
    question = health_pb2.HealthCheckRequest(service="judge.v1.NoService")
    code, _ = refusal(lambda: health.Check(question, timeout=10))
    assert code == grpc.StatusCode.NOT_FOUND


def test_reflection_lists_the_services(channel):
    # grpcio-reflection speaks v1alpha; v1 has the same messages.
    list_services = channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    question = reflection_pb2.ServerReflectionRequest(list_services="")
    answer = next(list_services(iter([question]), timeout=10))
    names = {service.name for service in answer.list_services_response.service}
    assert {"judge.v1.JudgeService", "grpc.health.v1.Health"} <= names


def test_operators_see_the_status_on_their_own_port():
    with grpc.insecure_channel(os.environ["JUDGED_CONTROL_ADDR"]) as channel:
        control = control_pb2_grpc.ControlServiceStub(channel)
        status = control.GetStatus(control_pb2.GetStatusRequest(), timeout=10)
    assert status.engine_state == control_pb2.ENGINE_STATE_READY
    assert status.engine.threads > 0


def test_the_example_runs():
    example = subprocess.run(
        [sys.executable, EXAMPLE], capture_output=True, text=True, timeout=SECONDS
    )
    assert example.stdout.startswith("SUPPRESS DO_NOT_SEND"), example
