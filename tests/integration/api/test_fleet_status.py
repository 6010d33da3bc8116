"""What pages and scripts of the field read: host_status, workload_status, health_check; and the list of commands."""

import time
from typing import Any

import pytest

from protocol.field_status import SCOPES
from tests.support.api import HOST_STATUS, WORKLOAD_STATUS, Api, PlayedAgent
from tests.support.processes import eventually
from tests.support.refusals import check_problem


def a_container(name: str, *pids: int, **said: Any) -> dict[str, Any]:
    processes = [{"pid": pid, "process_name": "java"} for pid in pids]
    return {"container_id": f"id-{name}", "container_name": name, "processes": processes, **said}


CART = {"namespace": "shop", "pod_name": "cart-0", "workload_name": "cart", "workload_kind": "StatefulSet"}


@pytest.fixture(scope="module")
def service(served: Api) -> str:
    """Two nodes with pods, one host without, and a service of another name."""
    name = f"status-{time.time_ns()}"
    PlayedAgent(served, "node-a", service=name).beat(
        agent_version="9", run_mode="k8s", containers=[
            a_container("app", 12, 11, **CART), a_container("proxy", 13, **CART), a_container("db", 2, pod_name="db-0"),
        ],
    )  # fmt: skip
    PlayedAgent(served, "node-b", service=name).beat(
        containers=[a_container("app", 11, **{**CART, "pod_name": "cart-1"}), {"processes": [{"pid": 77}]}]
    )
    PlayedAgent(served, "plain", service=name).beat()
    PlayedAgent(served, "x", service=f"{name}-other").beat(containers=[a_container("app", 5, **CART)])
    return name


def workloads(served: Api, service: str, scope: str, **params: Any) -> dict[str, Any]:
    params = {"scope": scope, "service_name": service, "exact_match": "true", **params}
    answer: dict[str, Any] = served.ok("GET", WORKLOAD_STATUS, token=served.admin, params=params)
    return answer


def rows(served: Api, service: str, scope: str, **params: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        page = workloads(served, service, scope, **params)
        found += page["rows"]
        if page["nextCursor"] is None:
            return found
        params["cursor"] = page["nextCursor"]


COUNTS = {"service": 1, "namespace": 1, "workload": 1, "host": 3, "pod": 3, "container": 4, "process": 6}


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("limit", [1, 2, 1_000])
def test_every_scope_has_its_rows_and_counts_of_all(served: Api, service: str, scope: str, limit: int) -> None:
    page = workloads(served, service, scope, limit=limit)
    assert page["tabCounts"] == COUNTS
    assert (page["scope"], page["activeHosts"], page["totalCount"]) == (scope, 3, COUNTS[scope])
    found = rows(served, service, scope, limit=limit)
    assert len(found) == len({row["id"] for row in found}) == COUNTS[scope]
    assert found == rows(served, service, scope)
    assert {row["serviceName"] for row in found} == {service}


def test_a_row_says_what_is_in_it(served: Api, service: str) -> None:
    (of_service,) = rows(served, service, "service")
    counted = ("hostCount", "namespaceCount", "podCount", "containerCount", "processCount")
    assert [of_service[name] for name in counted] == [3, 1, 3, 4, 6]
    (shop,) = rows(served, service, "namespace")
    assert (shop["namespace"], [shop[name] for name in counted]) == ("shop", [2, 1, 2, 3, 4])
    (cart,) = rows(served, service, "workload")
    assert (cart["workloadName"], cart["workloadKind"], cart["podName"]) == ("cart", "StatefulSet", None)
    assert [cart[name] for name in counted] == [2, 1, 2, 3, 4]
    pods = {row["podName"]: row["processCount"] for row in rows(served, service, "pod")}
    assert pods == {"cart-0": 3, "cart-1": 1, "db-0": 1}
    app = rows(served, service, "container", hostname="node-a", container_name="app")
    assert [(row["pids"], row["workloadKind"], row["agentVersion"]) for row in app] == [([11, 12], "StatefulSet", "9")]
    plain = rows(served, service, "host", hostname="plain")
    assert [(row["containerCount"], row["namespace"]) for row in plain] == [(0, None)], "nothing is made up"
    assert [row["pid"] for row in rows(served, service, "process")] == [2, 11, 12, 13, 11, 77]


def test_filters_keep_what_matches_one_of_their_texts(served: Api, service: str) -> None:
    def hosts(**params: Any) -> list[str]:
        return [row["hostname"] for row in rows(served, service, "host", **params)]

    assert hosts(namespace="shop") == ["node-a", "node-b"]
    assert hosts(exact_match="false", namespace="HO") == ["node-a", "node-b", "x"], "parts of names, in any case"
    assert hosts(pod_name=["db-0", "cart-1"]) == ["node-a", "node-b"]
    assert hosts(container_name="proxy") == ["node-a"]
    assert hosts(process_name="java", pids=11) == ["node-a", "node-b"]
    assert hosts(pids=[13, 77]) == ["node-a", "node-b"]
    assert hosts(ip_address="10.9.9.9") == []
    assert (
        hosts(ip_address="192.168.1.100")
        == hosts(hostname=["node-a", "node-b", "plain"])
        == ["node-a", "node-b", "plain"]
    )
    assert hosts(hostname="plain") == ["plain"]
    assert hosts(workload_name="cart") == ["node-a", "node-b"]
    assert hosts(workload_name="car") == []
    assert hosts(service_name=f"{service}-other") == ["x"]
    assert hosts(profiling_status="stopped") == ["node-a", "node-b", "plain"]
    assert hosts(profiling_status="sent") == hosts(command_type="start") == []
    assert workloads(served, service, "pod", pids=13)["tabCounts"] == {
        "service": 1, "namespace": 1, "workload": 1, "host": 1, "pod": 1, "container": 1, "process": 1,
    }  # fmt: skip


def test_a_row_can_be_asked_for_as_it_is_shown(served: Api, service: str) -> None:
    """A page sends the rows that were ticked as entities."""
    (row,) = rows(served, service, "pod", pod_name="cart-1")
    entity = {name: row[name] for name in ("id", "serviceName", "namespace", "podName", "workloadName", "workloadKind")}
    accepted = served.submit(service_name=service, target_scope="pod", target_entities=[entity], dry_run=True)
    assert accepted["targets"] == ["node-b"]


def test_a_cursor_belongs_to_its_scope(served: Api, service: str) -> None:
    cursor = workloads(served, service, "host", limit=1)["nextCursor"]
    params = {"scope": "pod", "cursor": cursor}
    answer = served.call("GET", WORKLOAD_STATUS, token=served.admin, params=params)
    assert answer.status_code == 422
    check_problem(answer, code="invalid", fields=["cursor"])


def hosts_of(served: Api, **params: Any) -> dict[str, Any]:
    answer: dict[str, Any] = served.ok("GET", HOST_STATUS, token=served.admin, params=params)
    return answer


def test_hosts_are_shown_with_what_they_are_told_in_the_fields_words(served: Api) -> None:
    service = f"told-{time.time_ns()}"
    agents = {name: PlayedAgent(served, name, service=service) for name in ("a", "b", "c")}
    for agent in agents.values():
        agent.beat()
    page = hosts_of(served, service_name=service, exact_match="true")
    assert (page["active_count"], page["total_count"], page["next_cursor"]) == (3, 3, None)
    assert len({host["id"] for host in page["hosts"]}) == 3
    assert [host["profiling_status"] for host in page["hosts"]] == ["stopped"] * 3
    assert set(page["hosts"][0]) == {
        "id", "service_name", "hostname", "ip_address", "pids", "command_type", "profiling_status",
        "heartbeat_timestamp",
    }  # fmt: skip
    served.submit("a", "b", "c", service_name=service, pids=[7, 8])

    def shown(**params: Any) -> dict[str, str]:
        hosts = hosts_of(served, service_name=service, **params)["hosts"]
        return {host["hostname"]: host["profiling_status"] for host in hosts}

    eventually(lambda: set(shown().values()) == {"pending"}, within=15, what="a command for each")
    agents["a"].say_running(agents["a"].take()["command_id"])
    agents["b"].run(status="failed", error_message="no perf")
    assert shown() == {"a": "sent", "b": "failed", "c": "pending"}
    assert shown(profiling_status=["SENT", "pending"]) == {"a": "sent", "c": "pending"}
    assert shown(command_type="stop") == {}
    assert shown(command_type="start") == shown(ip_address="192.168.1.100") == shown()
    assert shown(ip_address="10.9.9.9") == {}
    assert shown(pids=8) == shown()
    assert shown(pids=9) == {}
    assert shown(hostname="B") == {"b": "failed"}
    assert shown(hostname="B", exact_match="true") == {}
    first = hosts_of(served, service_name=service, limit=2)
    rest = hosts_of(served, service_name=service, limit=2, cursor=first["next_cursor"])
    assert [host["hostname"] for host in (*first["hosts"], *rest["hosts"])] == ["a", "b", "c"]
    assert rest["next_cursor"] is None
    assert rest["total_count"] == 3
    check_commands(served, service)


def check_commands(served: Api, service: str) -> None:
    def listed(**params: Any) -> list[str]:
        page = served.ok(
            "GET", "/api/v1/commands", token=served.admin, params={"service_name": service, "limit": 2, **params}
        )
        names = [item["hostname"] for item in page["items"]]
        return names if page["next_cursor"] is None else names + listed(**params | {"cursor": page["next_cursor"]})

    assert sorted(listed()) == ["a", "b", "c"]
    assert (listed(sort="hostname"), listed(sort="-hostname")) == (["a", "b", "c"], ["c", "b", "a"])
    assert (listed(state="running"), listed(state="failed"), listed(command_type="stop")) == (["a"], ["b"], [])
    assert listed(hostname="c") == ["c"]


def test_an_agent_of_the_field_finds_us_well(served: Api) -> None:
    """It asks before anything else, with its key in its own header and in the address."""
    params = {"key": "secret", "service": "web", "hostname": "h", "timestamp": "2026-01-01T00:00:00Z"}
    answer = served.http.get("/api/v1/health_check", params=params, headers={"GPROFILER-API-KEY": "secret"})
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})
    assert "secret" not in served.log
