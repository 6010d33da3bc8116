"""From records to what people read."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.views import RequestStatus, host_view, request_status
from broker.host_registry import KnownHost
from broker.request_record import RequestRecord, Tally
from protocol.lifecycle import OPEN, OUTCOMES, State
from protocol.names import HostKey
from protocol.requests import ProfileRequest

NOW = 1_800_000_000.0


def a_record(*hosts: str) -> RequestRecord:
    asked = ProfileRequest.model_validate({"service_name": "web", "target_hostnames": list(hosts)})
    return RequestRecord("r", "c", "default", "t", NOW, asked, asked.targets(), len(hosts))


def seen(record: RequestRecord, statuses: dict[str, dict[str, Any]], *, limit: int = 9) -> RequestStatus:
    """The request as a reader sees it who asks for so many hosts in full."""
    counts = Counter(State(each["state"]) for each in statuses.values())
    return request_status(record, Tally(counts), sorted(record.targets)[:limit], statuses)


def at(state: State, **facts: Any) -> dict[str, Any]:
    return {"state": state.value, "at": "1800000001000", "timeline": {state.value: "1800000001000"}, **facts}


@pytest.mark.parametrize(
    ("states", "total"),
    [
        ([State.PENDING], "pending"),
        ([State.RUNNING, State.PENDING], "running"),
        ([State.RECEIVED, State.DELIVERED], "received"),
        ([State.QUEUED, State.COMPLETED], "queued"),
        ([State.COMPLETED, State.COMPLETED], "completed"),
        ([State.COMPLETED, State.FAILED], "mixed"),
        ([State.STOPPED], "stopped"),
        ([], "submitted"),
    ],
)
def test_a_request_stands_where_its_furthest_open_host_stands(states: list[State], total: str) -> None:
    hosts = [f"h{number}" for number in range(max(1, len(states)))]
    status = seen(a_record(*hosts), {host: at(state) for host, state in zip(hosts, states, strict=False)})
    assert status.status == total


@pytest.mark.parametrize("state", [*OPEN, State.QUEUED, State.SUBMITTED])
@pytest.mark.parametrize("outcome", sorted(OUTCOMES))
def test_a_request_is_open_while_any_host_is(state: State, outcome: State) -> None:
    status = seen(a_record("a", "b"), {"a": at(outcome), "b": at(state)})
    assert status.status == state


def test_what_was_asked_for_can_be_asked_for_again() -> None:
    asked = ProfileRequest.model_validate({
        "service_name": "web", "target_hosts": {"a": [7, 8], "b": None}, "duration": 30, "frequency": 11,
        "profiling_mode": "wall", "max_concurrency": "10%", "max_errors": 0, "priority": "urgent", "expires_in": 60,
        "additional_args": {"profiler_configs": {"perf": "disabled"}},
    })  # fmt: skip
    record = RequestRecord("r", "c", "default", "t", NOW, asked, asked.targets(), 2)
    told = seen(record, {"a": at(State.FAILED)})
    again = {**told.asked, "target_hosts": {host.hostname: host.pids for host in told.hosts}}
    assert ProfileRequest.model_validate(again) == asked


def test_a_host_that_was_not_heard_of_stands_as_submitted() -> None:
    status = seen(a_record("a", "b", "c"), {"b": at(State.COMPLETED)})
    assert status.counts == {"completed": 1, "submitted": 2}
    assert [(host.hostname, host.status) for host in status.hosts] == [
        ("a", "submitted"), ("b", "completed"), ("c", "submitted"),
    ]  # fmt: skip


def test_the_limit_bounds_what_is_told_and_not_what_is_counted() -> None:
    status = seen(a_record("c", "a", "b"), {}, limit=2)
    assert [host.hostname for host in status.hosts] == ["a", "b"]
    assert status.counts == {"submitted": 3}
    assert status.hosts_total == 3


def test_a_timeline_is_told_in_the_order_of_time_and_then_of_life() -> None:
    timeline = {"completed": "1800000003000", "running": "1800000002000", "pending": "1800000001000"}
    timeline |= {"received": "1800000002000", "submitted": "1800000001000", "delivered": "1800000002000"}
    status = seen(a_record("a"), {"a": at(State.COMPLETED, timeline=timeline)}, limit=1)
    steps = ["submitted", "pending", "delivered", "received", "running", "completed"]
    assert list(status.hosts[0].timeline) == steps
    assert status.hosts[0].timeline["completed"] == datetime.fromtimestamp(NOW + 3, UTC)


@pytest.mark.parametrize(("silent", "shown"), [(0, "online"), (149, "online"), (151, "stale")])
def test_a_host_is_stale_after_its_silence(silent: int, shown: str) -> None:
    now = datetime.fromtimestamp(NOW, UTC)
    host = KnownHost(HostKey("default", "web", "a"), now - timedelta(seconds=silent), {"ip_address": "::1"})
    view = host_view(host, stale_before=now - timedelta(seconds=150))
    assert (view.status, view.ip_address, view.agent_status) == (shown, "::1", "")
