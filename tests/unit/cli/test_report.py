from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from cli.answers import HostProgress
from cli.errors import Refused, Unreachable
from cli.profile_sample import Report, _since, _unless_busy
from protocol.lifecycle import State

NOW = datetime(2026, 1, 8, 12, tzinfo=UTC)


def report(**facts: object) -> Report:
    good = {
        "request_id": uuid4(), "command_id": uuid4(), "status": "completed", "samples": 495,
        "hot_functions": {"a": 0.6}, "flamegraph": "/x/a.html",
        "submit_to_running_ms": 250.5, "submit_to_completed_ms": 5300.0,
    }  # fmt: skip
    return Report(**{**good, **facts})  # type: ignore[arg-type]  # facts of a test's own


def test_programs_get_these_keys_and_no_others() -> None:
    assert list(report(reason="x", truth={"a": 0.6}).as_json()) == [
        "request_id", "command_id", "status", "samples", "hot_functions", "flamegraph", "submit_to_running_ms",
        "submit_to_completed_ms",
    ]  # fmt: skip


@pytest.mark.parametrize(("status", "flamegraph"), [("failed", "/x/a.html"), ("completed", None), ("timed_out", None)])
def test_only_a_completed_request_with_a_flame_graph_is_good(status: str, flamegraph: str | None) -> None:
    assert report().is_good
    assert not report(status=status, flamegraph=flamegraph).is_good


def test_times_are_from_the_post_to_the_servers_own_moments() -> None:
    host = HostProgress(hostname="h", status=State.RUNNING, timeline={"running": NOW + timedelta(milliseconds=250.46)})
    assert _since(NOW, host, State.RUNNING) == 250.5
    assert _since(NOW, host, State.COMPLETED) is None


def raising(error: Exception) -> Callable[[], str]:
    def ask() -> str:
        raise error

    return ask


@pytest.mark.parametrize("error", [Unreachable("gone"), Refused(status=503, code="broker_unavailable", detail="wait")])
def test_an_api_that_restarts_is_asked_again(error: Exception) -> None:
    assert _unless_busy(raising(error)) is None


def test_a_real_refusal_is_not_asked_again() -> None:
    with pytest.raises(Refused):
        _unless_busy(raising(Refused(status=404, code="not_found", detail="no such request")))
