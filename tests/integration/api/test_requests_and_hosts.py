"""Which hosts a request means, what it answers when it is repeated, and what the fleet looks like, over HTTP."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from protocol.lifecycle import State
from tests.support.api import REQUEST, Api, PlayedAgent
from tests.support.processes import eventually


def test_the_scope_service_is_every_live_host_of_it(served: Api) -> None:
    service = f"fleet-{time.time_ns()}"
    agents = [PlayedAgent(served, f"{service}-{number}", service=service) for number in range(3)]
    PlayedAgent(served, "another", service=f"{service}-other").beat()
    for agent in agents:
        agent.beat()
    accepted = served.submit(service_name=service, target_scope="service", pids=[7])
    assert accepted["hosts"] == 3
    for agent in agents:
        assert agent.run()["profiling_command"]["combined_config"]["pids"] == [7]
    assert served.wait_for(accepted["request_id"], "completed")["counts"] == {"completed": 3}


def test_a_dry_run_is_validated_and_changes_nothing(served: Api, agent: PlayedAgent) -> None:
    accepted = served.submit(agent.host, dry_run=True, key="dry")
    assert accepted["dry_run"] is True
    assert accepted["message"] == "Start profiling request is valid; nothing was changed (dry run)"
    assert accepted["hosts"] == 1
    answer = served.call("GET", f"/api/v1/requests/{accepted['request_id']}", token=served.admin)
    assert answer.status_code == 404
    for_real = served.submit(agent.host)
    assert agent.take()["command_id"] == for_real["command_id"]


def test_the_same_idempotency_key_and_body_get_the_first_answer(served: Api, agent: PlayedAgent) -> None:
    key = f"key-{agent.host}"
    first = served.submit(agent.host, key=key, duration=30)
    assert served.submit(agent.host, key=key, duration=30) == first
    agent.run()
    served.wait_for(first["request_id"], "completed")
    assert served.submit(agent.host, key=key, duration=30) == first
    assert served.submit(agent.host, key=f"{key}-b", duration=30)["request_id"] != first["request_id"]
    conflict = served.call(
        "POST", REQUEST, token=served.admin, headers={"Idempotency-Key": key},
        json={"service_name": "web", "target_hostnames": [agent.host], "duration": 31},
    )  # fmt: skip
    assert conflict.status_code == 409
    assert conflict.json()["code"] == "idempotency_conflict"
    assert conflict.json()["errors"][0]["field"] == "Idempotency-Key"


def test_an_idempotency_key_is_its_tokens_own(served: Api, agent: PlayedAgent) -> None:
    operator, _ = served.make_token("operator", "web")
    first = served.submit(agent.host, key="shared")
    assert served.submit(agent.host, key="shared", token=operator)["request_id"] != first["request_id"]


def test_a_repeated_service_request_keeps_to_the_hosts_of_the_first(served: Api) -> None:
    """The fleet has grown meanwhile: the same key answers for the hosts that were meant then."""
    service = f"growing-{time.time_ns()}"
    asked: dict[str, Any] = {"service_name": service, "target_scope": "service", "key": service}
    PlayedAgent(served, "one", service=service).beat()
    first = served.submit(**asked)
    PlayedAgent(served, "two", service=service).beat()
    assert served.submit(**asked) == first
    assert [host["hostname"] for host in served.status(first["request_id"])["hosts"]] == ["one"]


def test_a_request_for_1500_hosts_reaches_them_all(served: Api) -> None:
    """More than 1,000: the answer comes at once, and a job appends them with progress."""
    service = "crowd"
    hosts = [f"crowd-{number:04}" for number in range(1_500)]
    accepted = served.submit(*hosts, service_name=service)
    assert accepted["hosts"] == 1_500
    eventually(
        lambda: served.status(accepted["request_id"], limit=0)["counts"].get("pending") == 1_500,
        within=40,
        what="a command on every host",
    )
    shown = served.status(accepted["request_id"], limit=2)
    assert (shown["hosts_total"], shown["hosts_appended"], len(shown["hosts"])) == (1_500, 1_500, 2)
    for host in (hosts[0], hosts[777], hosts[-1]):
        assert PlayedAgent(served, host, service=service).take()["command_id"] == accepted["command_id"]


def test_a_request_that_no_host_takes_in_time_ends_expired(served: Api) -> None:
    accepted = served.submit("silent-01", expires_in=1)
    ended = served.wait_for(accepted["request_id"], within=15)
    assert ended["status"] == State.EXPIRED
    assert ended["hosts"][0]["reason"] == "not started within expires_in"
    assert PlayedAgent(served, "silent-01").beat()["profiling_command"] is None


def test_additional_args_lie_flat_in_the_configuration(served: Api, agent: PlayedAgent) -> None:
    served.submit(agent.host, additional_args={"max_processes": 10, "profiler_configs": {"perf": "on"}})
    config = agent.take()["profiling_command"]["combined_config"]
    assert config["max_processes"] == 10
    assert config["profiler_configs"] == {"perf": "on"}
    assert "additional_args" not in config


def test_the_older_dialect_gives_each_host_its_own_pids(served: Api, agent: PlayedAgent) -> None:
    other = PlayedAgent(served, f"{agent.host}-b")
    accepted = served.ok(
        "POST", REQUEST, token=served.admin,
        json={"service_name": "web", "request_type": "start", "target_hosts": {agent.host: [11], other.host: None}},
    )  # fmt: skip
    assert accepted["hosts"] == 2
    assert agent.take()["profiling_command"]["combined_config"]["pids"] == [11]
    assert "pids" not in other.take()["profiling_command"]["combined_config"]


def test_a_beat_makes_the_host_known_with_what_it_says(served: Api, agent: PlayedAgent) -> None:
    reply = agent.beat(agent_version="1.2.3", status="idle", something_new=[1])
    assert reply == {
        "success": True, "message": "Heartbeat received. No pending commands.", "profiling_command": None,
        "command_id": None, "generation": None, "heartbeat_interval": 30, "inventory_wanted": True,
    }  # fmt: skip
    items = served.ok("GET", "/api/v1/hosts", token=served.admin, params={"hostname": agent.host})["items"]
    host = next(item for item in items if item["hostname"] == agent.host)
    last_beat = datetime.fromisoformat(host.pop("last_beat"))
    assert abs(datetime.now(UTC) - last_beat) < timedelta(seconds=30)
    assert host == {
        "service_name": "web", "hostname": agent.host, "ip_address": "192.168.1.100", "status": "online",
        "agent_status": "idle", "agent_version": "1.2.3", "profilers": [], "profiling_modes": [],
    }  # fmt: skip


def test_the_list_of_hosts_comes_in_pages(served: Api) -> None:
    service = f"paged-{time.time_ns()}"
    for number in range(7):
        PlayedAgent(served, f"host-{number}", service=service).beat()
    seen: list[str] = []
    params: dict[str, Any] = {"service_name": service, "limit": 3}
    pages = 0
    while True:
        page = served.ok("GET", "/api/v1/hosts", token=served.admin, params=params)
        seen += [host["hostname"] for host in page["items"]]
        pages += 1
        if page["next_cursor"] is None:
            break
        params["cursor"] = page["next_cursor"]
    assert pages == 3
    assert sorted(seen) == [f"host-{number}" for number in range(7)]


def in_pages(served: Api, path: str, **params: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    while True:
        page = served.ok("GET", path, token=served.admin, params=params)
        assert len(page["items"]) <= params["limit"]
        items += page["items"]
        if page["next_cursor"] is None:
            return items
        params["cursor"] = page["next_cursor"]


def test_lists_come_in_the_order_asked_for_and_filtered(served: Api) -> None:
    service = f"sorted-{time.time_ns()}"
    names = ["b", "a", "c"]
    for name in names:
        PlayedAgent(served, name, service=service).beat()
        time.sleep(0.002)  # of one millisecond, hosts stand in the order of their names
    of_service: dict[str, Any] = {"service_name": service, "limit": 2}

    def hosts(**params: Any) -> list[str]:
        return [item["hostname"] for item in in_pages(served, "/api/v1/hosts", **of_service, **params)]

    assert hosts(sort="hostname") == ["a", "b", "c"]
    assert hosts(sort="-hostname") == ["c", "b", "a"]
    assert hosts(sort="last_beat") == names
    assert hosts(sort="-last_beat") == names[::-1]
    assert sorted(hosts()) == ["a", "b", "c"]
    assert hosts(hostname="a") == hosts(hostname="a", sort="hostname") == ["a"]
    assert (sorted(hosts(status="online")), hosts(status="stale")) == (["a", "b", "c"], [])

    made = [served.submit(name, service_name=service, command_type=kind)["request_id"]
            for name, kind in zip(names, ("start", "stop", "start"), strict=True)]  # fmt: skip

    def requests(**params: Any) -> list[str]:
        return [item["request_id"] for item in in_pages(served, "/api/v1/requests", **of_service, **params)]

    assert requests(sort="accepted_at") == made
    assert requests() == made[::-1]
    assert requests(command_type="stop") == [made[1]]
    assert (requests(submitted_by="nobody"), len(requests())) == ([], 3)


def test_names_may_be_in_any_script(served: Api) -> None:
    agent = PlayedAgent(served, "узел/ü 01:{x}", service="カート/%2F")
    accepted = served.submit(agent.host, service_name=agent.service)
    taken = agent.run()
    assert taken["command_id"] == accepted["command_id"]
    ended = served.wait_for(accepted["request_id"], "completed")
    assert [host["hostname"] for host in ended["hosts"]] == [agent.host]


@pytest.mark.parametrize("name", ["a/b", "a/b/owner", "%2F", "a%1Fb", "..", "x y", "/", "ü?#", "\u202e"])
def test_a_host_of_any_name_can_be_shown_and_released(served: Api, name: str) -> None:
    service = f"{name}-{time.time_ns()}"
    token, token_id = served.make_token("agent", "*")
    PlayedAgent(served, name, service=service, token=token).beat()
    path = f"/api/v1/hosts/{quote(service, safe='')}/{quote(name, safe='').replace('.', '%2E')}"
    shown = served.call("GET", path, token=served.admin)
    assert (shown.status_code, shown.json().get("hostname"), shown.json().get("owner")) == (200, name, token_id)
    stranger, _ = served.make_token("viewer", "nothing-of-this")
    assert served.call("GET", path, token=stranger).status_code == 404
    released = served.ok("DELETE", f"{path}/owner", token=served.admin)
    assert (released["service_name"], released["hostname"], released["owner"]) == (service, name, token_id)
