"""What a refusal looks like."""

import json
from collections import Counter
from types import SimpleNamespace

import pytest
import structlog
from fastapi import Request
from hypothesis import given
from hypothesis import strategies as st

from api import problems
from api.buckets import Buckets
from api.problems import LONGEST_KEY, MOST_FAULTS_TOLD, TABLE, Refusal, answer, faults_of, invalid, key_told, problem
from broker.quotas import Quota
from protocol.problems import MEDIA_TYPE, FieldFault, Problem


@pytest.mark.parametrize("code", TABLE)
def test_every_code_of_the_table_makes_a_problem(code: str) -> None:
    answer = problem(code, "why", [FieldFault(field="a", message="b", code="c")])
    assert answer.status_code == TABLE[code].status
    assert answer.headers["content-type"] == MEDIA_TYPE
    told = Problem.model_validate_json(bytes(answer.body))
    assert (told.status, told.code, told.detail, told.title) == (answer.status_code, code, "why", TABLE[code].title)
    assert told.errors == [FieldFault(field="a", message="b", code="c")]


@pytest.mark.parametrize("code", [code for code, row in TABLE.items() if row.status in {429, 503}])
def test_whoever_is_to_come_again_is_told_when(code: str) -> None:
    assert int(problem(code, "").headers["retry-after"]) >= 1


def test_a_fault_is_told_by_its_path_and_never_by_its_value() -> None:
    errors = [{"loc": ("target_hosts", "web-01", 3), "msg": "no pid", "type": "int", "input": "pcs_secret"}]
    assert faults_of(errors) == [FieldFault(field="target_hosts.web-01.3", message="no pid", code="int")]


def test_a_fault_without_a_path_is_the_bodys() -> None:
    assert faults_of([{"loc": (), "msg": "m", "type": "t"}])[0].field == "body"


def test_more_faults_than_anybody_reads_are_counted() -> None:
    refused = invalid([{"loc": (number,), "msg": "m", "type": "t"} for number in range(MOST_FAULTS_TOLD + 5)])
    assert len(refused.errors) == MOST_FAULTS_TOLD
    assert refused.detail == "1005 field(s) at fault; see errors. The first 1000 are told."


def test_a_flood_of_refusals_is_answered_each_time_and_told_in_a_few_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = [1_000.0]
    monkeypatch.setattr(problems, "time", SimpleNamespace(monotonic=lambda: moment[0]))
    monkeypatch.setattr(problems, "_lines", Buckets(Quota(3, 10)))
    monkeypatch.setattr(problems, "_unsaid", Counter())
    call = Request({"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b"", "server": None})
    with structlog.testing.capture_logs() as said:
        for _ in range(50):
            assert answer(call, Refusal("unauthenticated", "no")).status_code == 401
        assert [line["event"] for line in said] == ["refused"] * 3
        moment[0] += 10.0
        answer(call, Refusal("unauthenticated", "no"))
        answer(call, Refusal("not_found", "no"))
    assert said[3] == {"event": "more were refused", "code": "unauthenticated", "count": 47, "log_level": "warning"}
    assert [line["code"] for line in said[4:]] == ["unauthenticated", "not_found"]


@given(st.text(st.characters()))
def test_any_key_can_be_told(key: str) -> None:
    told = key_told(key)
    assert len(told) <= LONGEST_KEY + 1
    answer = problem("invalid", "", [FieldFault(field=told, message="m", code="c")])
    assert json.loads(bytes(answer.body))["errors"][0]["field"] == told
