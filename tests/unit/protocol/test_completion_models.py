"""The agent's word that a command has ended, and the older habit of saying so when it begins."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from protocol.completions import Completion

ENOUGH = {"command_id": "c1", "hostname": "worker-01", "status": "completed"}


def said(**fields: Any) -> Completion:
    return Completion.model_validate({**ENOUGH, **fields})


def faults(body: dict[str, Any]) -> set[str]:
    with pytest.raises(ValidationError) as caught:
        Completion.model_validate(body)
    return {str(error["loc"][0]) for error in caught.value.errors()}


@pytest.mark.parametrize("missing", sorted(ENOUGH))
def test_id_host_and_status_are_required(missing: str) -> None:
    assert faults({name: value for name, value in ENOUGH.items() if name != missing}) == {missing}
    assert faults({**ENOUGH, missing: None}) == {missing}
    assert faults({**ENOUGH, missing: ""}) == {missing}


@pytest.mark.parametrize("field", [name for name in Completion.model_fields if name not in ENOUGH])
def test_everything_else_of_a_completion_may_be_null(field: str) -> None:
    assert said(**{field: None}) == said()


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_a_command_ends_completed_or_failed(status: str) -> None:
    assert said(status=status).status == status


@pytest.mark.parametrize("status", ["running", "stopped", "COMPLETED", True])
def test_an_agent_cannot_give_another_outcome(status: Any) -> None:
    assert faults({**ENOUGH, "status": status}) == {"status"}


@pytest.mark.parametrize("seconds", [-1, -0.001, float("nan"), float("inf"), 10**9 + 1, "soon"])
def test_an_impossible_execution_time_is_refused(seconds: Any) -> None:
    assert faults({**ENOUGH, "execution_time": seconds}) == {"execution_time"}


def test_execution_time_is_in_seconds_whole_or_not() -> None:
    assert said(execution_time=65).execution_time == 65
    assert said(execution_time=0.25).execution_time == 0.25


@pytest.mark.parametrize("samples", [-1, 1.5, 2**63])
def test_an_impossible_number_of_samples_is_refused(samples: Any) -> None:
    assert faults({**ENOUGH, "samples": samples}) == {"samples"}


@pytest.mark.parametrize("field", ["error_message", "results_path"])
def test_texts_have_an_end(field: str) -> None:
    assert said(**{field: "x" * 4_096})
    assert faults({**ENOUGH, field: "x" * 4_097}) == {field}


def test_a_moment_says_its_zone() -> None:
    assert faults({**ENOUGH, "started_at": "2025-01-08T12:00:00"}) == {"started_at"}
    assert said(started_at="2025-01-08T12:00:00+02:00").started_at == datetime(2025, 1, 8, 10, tzinfo=UTC)


def test_a_run_that_ended_before_it_began_is_taken_as_ended_at_once() -> None:
    completion = said(started_at="2025-01-08T12:00:05Z", finished_at="2025-01-08T12:00:00Z")
    assert completion.finished_at == completion.started_at == datetime(2025, 1, 8, 12, 0, 5, tzinfo=UTC)


def test_moments_in_order_are_kept() -> None:
    completion = said(started_at="2025-01-08T12:00:00Z", finished_at="2025-01-08T12:01:05Z")
    assert completion.finished_at == datetime(2025, 1, 8, 12, 1, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"results_path": None},
        {"error_message": None},
        {"started_at": "2025-01-08T12:00:00Z"},
        {"service_name": "s"},
    ],
)
def test_completed_after_no_time_at_all_only_says_that_a_profiler_started(more: dict[str, Any]) -> None:
    assert said(execution_time=0, **more).only_says_started
    assert said(execution_time=0.0, **more).only_says_started


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"execution_time": 65},
        {"execution_time": 0.001},
        {"execution_time": 0, "status": "failed"},
        {"execution_time": 0, "samples": 0},
        {"execution_time": 0, "samples": 12},
        {"execution_time": 0, "finished_at": "2025-01-08T12:00:00Z"},
    ],
)
def test_anything_else_is_the_end_of_the_command(more: dict[str, Any]) -> None:
    assert not said(**more).only_says_started
