"""Listing requests, withdrawing them, and one host with its history, over HTTP."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from broker.connection import Broker
from broker.request_record import Tally
from protocol.lifecycle import State
from tests.support.api import Api, PlayedAgent
from tests.support.app import App


def test_a_request_is_never_shown_empty(served: Api, agent: PlayedAgent) -> None:
    shown = served.status(served.submit(agent.host)["request_id"])
    assert shown["status"] in {"submitted", "pending"}
    assert [host["hostname"] for host in shown["hosts"]] == [agent.host]
    assert sum(shown["counts"].values()) == shown["hosts_total"] == 1


async def test_a_request_that_is_over_shows_no_host_as_it_stood_before(
    tmp_path: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = App(tmp_path, broker)
    body = {"service_name": "web", "target_hostnames": ["web-01"], "command_type": "start"}
    request_id = (await api.ok("POST", "/api/metrics/profile_request", json=body))["request_id"]
    stands = iter([State.DELIVERED, State.FAILED])  # what is asked first is told how it stood before

    async def tallies(_: Sequence[str]) -> list[Tally]:
        return [Tally({next(stands): 1})]

    async def statuses(_: str, __: Sequence[str]) -> dict[str, dict[str, Any]]:
        return {"web-01": {"state": next(stands), "at": 1_700_000_000_000, "timeline": {}}}

    monkeypatch.setattr(api.parts.request_store, "tallies", tallies)
    monkeypatch.setattr(api.parts.request_store, "statuses", statuses)
    shown = await api.ok("GET", f"/api/v1/requests/{request_id}")
    assert shown["counts"] == {"delivered": 1}
    assert [host["status"] for host in shown["hosts"]] == ["failed"]


def test_cancelling_reaches_work_that_runs(served: Api, agent: PlayedAgent) -> None:
    request_id = served.submit(agent.host, duration=600)["request_id"]
    command_id = agent.take()["command_id"]
    agent.beat(last_command_id=command_id, status="running")
    served.wait_for(request_id, "running")
    answer = served.ok("DELETE", f"/api/v1/requests/{request_id}", token=served.admin)
    assert answer["hosts_open"] == 1
    shown = served.wait_for(request_id, "cancelled")
    assert shown["hosts"][0]["reason"].startswith("cancelled by ")
    assert shown["cancelled_at"] is not None
    assert agent.take()["profiling_command"]["command_type"] == "stop"
    again = served.ok("DELETE", f"/api/v1/requests/{request_id}", token=served.admin)
    assert again["hosts_open"] == 0
    assert served.status(request_id)["cancelled_at"] == shown["cancelled_at"], "the first word stands"


def test_requests_are_listed_newest_first_a_page_at_a_time(served: Api) -> None:
    service = f"listed-{time.time_ns()}"
    made = [served.submit(f"host-{number}", service_name=service)["request_id"] for number in range(5)]
    seen: list[str] = []
    params: dict[str, str | int] = {"service_name": service, "limit": 2}
    while True:
        page = served.ok("GET", "/api/v1/requests", token=served.admin, params=params)
        assert len(page["items"]) <= 2
        seen += [item["request_id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        params["cursor"] = page["next_cursor"]
    assert seen == made[::-1]


def test_a_list_shows_only_what_the_token_covers(served: Api) -> None:
    service = f"mine-{time.time_ns()}"
    mine = served.submit("a", service_name=service)["request_id"]
    served.submit("a", service_name=f"{service}-theirs")
    viewer, _ = served.make_token("viewer", service)
    page = served.ok("GET", "/api/v1/requests", token=viewer)
    assert [item["request_id"] for item in page["items"]] == [mine]


def test_a_host_is_shown_with_its_command_and_its_history(served: Api, agent: PlayedAgent) -> None:
    ended = served.submit(agent.host)["request_id"]
    first = agent.run()
    served.wait_for(ended, "completed")
    pending = served.submit(agent.host, frequency=42)
    agent.take()
    shown = served.ok("GET", f"/api/v1/hosts/web/{agent.host}", token=served.admin)
    assert (shown["status"], shown["open_requests"]) == ("online", 1)
    assert shown["command"]["command_id"] == pending["command_id"]
    assert shown["command"]["combined_config"]["frequency"] == 42
    assert [(past["command_id"], past["outcome"]) for past in shown["history"]] == [(first["command_id"], "completed")]
    nobody = served.call("GET", "/api/v1/hosts/web/nobody", token=served.admin)
    assert (nobody.status_code, nobody.json()["errors"][0]["field"]) == (404, "hostname")
