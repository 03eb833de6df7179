"""Asks a running daemon about one draft. First: pip install -r requirements.txt && ./generate"""

import json
import sys
from pathlib import Path

from connection import connect

sys.path.insert(0, str(Path(__file__).parent / "gen"))
from judge.v1 import judge_pb2 as pb, judge_pb2_grpc  # noqa: E402

with connect() as channel:
    judge = judge_pb2_grpc.JudgeServiceStub(channel)
    context = {"company": "DevCo", "headcount": 200, "opt_out_channels": ["email"]}
    request = pb.JudgeRequest(context_json=json.dumps(context), draft="Hi, a word about …")
    answer = judge.Judge(request, timeout=60)
    # Send nothing unless this says DISPOSITION_DISPATCH.
    print(pb.Label.Name(answer.label), pb.Disposition.Name(answer.disposition), answer.rationale)
