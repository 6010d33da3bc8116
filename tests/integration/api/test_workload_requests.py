"""Asking for workloads over HTTP: they are found by what runs on the hosts, in every dialect's words."""

import json
import time
from typing import Any

import pytest

from tests.support.api import BULK, REQUEST, Api, PlayedAgent
from tests.support.refusals import check_problem
from tests.support.servers import everything_in


def a_pod(pod: str, *pids: int, container: str = "app", **said: Any) -> dict[str, Any]:
    processes = [{"pid": pid, "process_name": "java"} for pid in pids]
    return {
        "container_id": f"{pod}/{container}", "container_name": container, "runtime": "containerd", "namespace": "shop",
        "pod_name": pod, "workload_name": pod.rpartition("-")[0], "workload_kind": "StatefulSet",
        "processes": processes, **said,
    }  # fmt: skip


@pytest.fixture
def service(served: Api) -> str:
    """A service with two hosts and three pods."""
    name = f"cluster-{time.time_ns()}"
    PlayedAgent(served, "node-a", service=name).beat(
        containers=[a_pod("cart-0", 11, 12), a_pod("cart-0", 13, container="proxy"), a_pod("web-0", 21)]
    )
    PlayedAgent(served, "node-b", service=name).beat(
        containers=[a_pod("cart-1", 11), a_pod("pause-0"), a_pod("ops-0", 99, namespace="ops")]
    )
    return name


def targets(served: Api, service: str, scope: str, *entities: dict[str, Any]) -> dict[str, list[int]]:
    """What each host is told of a start for these entities."""
    body = {"service_name": service, "request_type": "start", "target_scope": scope, "target_entities": list(entities)}
    accepted = served.ok("POST", REQUEST, token=served.admin, json=body)
    found = {}
    for host in served.status(accepted["request_id"])["hosts"]:
        agent = PlayedAgent(served, host["hostname"], service=service)
        found[host["hostname"]] = agent.run()["profiling_command"]["combined_config"]["pids"]
    assert accepted["hosts"] == len(found)
    return found


def test_workloads_are_found_by_each_scope(served: Api, service: str) -> None:
    def of(scope: str, **entity: Any) -> dict[str, list[int]]:
        return targets(served, service, scope, {"service_name": service, **entity})

    assert of("namespace", namespace="shop") == {"node-a": [11, 12, 13, 21], "node-b": [11]}
    assert of("workload", workload_name="cart") == {"node-a": [11, 12, 13], "node-b": [11]}
    assert of("pod", pod_name="cart-0") == {"node-a": [11, 12, 13]}
    assert of("container", container_name="proxy") == {"node-a": [13]}
    assert of("process", hostname="node-b", pid=11) == {"node-b": [11]}
    assert of("process", podName="cart-0", containerName="app", processName="java", id="row-7") == {"node-a": [11, 12]}


def test_entities_name_hosts_and_the_service_too(served: Api, service: str) -> None:
    for scope, entity, hosts in (("host", {"hostname": "node-a"}, 1), ("service", {"service_name": service}, 2)):
        body = {"service_name": service, "target_scope": scope, "target_entities": [entity]}
        accepted = served.ok("POST", REQUEST, token=served.admin, json={**body, "dry_run": True})
        assert accepted["hosts"] == hosts


def test_what_does_not_run_is_named_and_nothing_changes(served: Api, service: str) -> None:
    body = {
        "service_name": service, "target_scope": "pod",
        "target_entities": [{"pod_name": "cart-0"}, {"pod_name": "gone"}, {"pod_name": "pause-0"}],
    }  # fmt: skip
    for dry_run in (True, False):
        answer = served.call("POST", REQUEST, token=served.admin, json={**body, "dry_run": dry_run})
        assert answer.status_code == 422
        check_problem(answer, code="invalid", fields=["target_entities.1", "target_entities.2"])
        assert [fault["code"] for fault in answer.json()["errors"]] == ["unknown_target", "no_processes"]
    page = served.ok("GET", "/api/v1/requests", token=served.admin, params={"service_name": service})
    assert page["items"] == []


def test_a_container_without_processes_is_left_out_with_a_warning(served: Api, service: str) -> None:
    accepted = served.submit(
        service_name=service, target_scope="namespace", target_entities=[{"namespace": "shop"}], dry_run=True
    )
    assert (accepted["targets"], accepted["hosts"]) == (["node-a", "node-b"], 2)
    assert accepted["warnings"] == ["app of pod pause-0 on host node-b is left out: its processes are not known"]


def test_a_stop_of_a_pod_stops_its_processes_alone(served: Api, service: str) -> None:
    agent = PlayedAgent(served, "node-a", service=service)
    served.submit("node-a", service_name=service, pids=[11, 12, 21])
    agent.say_running(agent.take()["command_id"])
    served.submit(
        service_name=service, request_type="stop", target_scope="pod", target_entities=[{"pod_name": "cart-0"}]
    )
    config = agent.take()["profiling_command"]["combined_config"]
    assert config["pids"] == [21]


# --- many at once -----------------------------------------------------------------------------------------------------


def bulk(served: Api, *requests: Any, key: str | None = None, **said: Any) -> dict[str, Any]:
    headers = {"Idempotency-Key": key} if key else {}
    answer: dict[str, Any] = served.ok(
        "POST", BULK, token=served.admin, json={"requests": list(requests), **said}, headers=headers
    )
    return answer


def test_each_of_many_is_answered_for_itself(served: Api, service: str) -> None:
    good = {"service_name": service, "target_hosts": {"node-a": [11]}}
    bad = {"service_name": service, "target_hosts": {"node-a": [0]}, "duration": -1}
    gone = {"service_name": service, "target_scope": "pod", "target_entities": [{"pod_name": "gone"}]}
    answer = bulk(served, good, bad, gone, "no object", good)
    assert (answer["total_submitted"], answer["successful_count"], answer["failed_count"]) == (5, 2, 3)
    results = answer["results"]
    assert [each["index"] for each in results] == [0, 1, 2, 3, 4]
    assert [each["success"] for each in results] == [True, False, False, False, True]
    assert [each["service_name"] for each in results] == [service, service, service, "", service]
    assert served.status(results[0]["response"]["request_id"])["hosts_total"] == 1
    assert results[0]["response"]["request_id"] != results[4]["response"]["request_id"]
    assert {fault["field"] for fault in results[1]["problem"]["errors"]} == {"target_hosts.node-a.0", "duration"}
    assert "duration" in results[1]["error"]
    assert [(each["problem"]["status"], each["problem"]["code"]) for each in results[1:4]] == [(422, "invalid")] * 3
    assert all(each["response"] is None for each in results[1:4])


def test_absurdly_many_faults_of_many_are_told_in_part_and_no_answer_outweighs_its_call(bare_api: Api) -> None:
    absurd = {"service_name": "web", "target_hostnames": [1] * 5_000}
    good = {"service_name": "web", "target_hostnames": ["a"], "dry_run": True}
    requests = [*([absurd] * 60), {**good, "duration": -1}, good]
    answer = bare_api.call("POST", BULK, token=bare_api.admin, json={"requests": requests})
    results = answer.json()["results"]
    told = [each["problem"]["errors"] for each in results[:-1]]
    assert [len(each) for each in told] == [1_000, *[10] * 59, 1]
    assert "The first 10 are told here." in results[1]["problem"]["detail"]
    assert [each["field"] for each in told[-1]] == ["duration"]
    assert results[-1]["success"]
    assert len(answer.content) < len(answer.request.content)


def test_lone_surrogates_are_at_fault_in_their_item_alone(served: Api, service: str) -> None:
    good = {"service_name": service, "target_hostnames": ["node-a"]}
    odd: list[dict[str, Any]] = [{"odd \ud800": 1}, {"additional_args": {"a": "\ud800"}}, {"service_name": "\ud800"}]
    requests = [*({**good, **each} for each in odd), "\ud800", good]
    headers = {"Content-Type": "application/json"}
    body = json.dumps({"requests": requests, "dry_run": True})
    results = served.ok("POST", BULK, token=served.admin, content=body, headers=headers)["results"]
    faults = [[fault["field"] for fault in each["problem"]["errors"]] for each in results if not each["success"]]
    assert faults == [["additional_args"], ["service_name"], ["requests.3"]]
    assert [each["success"] for each in results] == [True, False, False, False, True]


def test_an_item_of_another_service_is_refused_and_holds_up_no_other(served: Api, service: str) -> None:
    token, _ = served.make_token("operator", service)
    requests = [{"service_name": name, "target_hostnames": ["h"]} for name in (service, "another")]
    answer = served.ok("POST", BULK, token=token, json={"requests": requests})
    assert [each["success"] for each in answer["results"]] == [True, False]
    assert answer["results"][1]["problem"]["code"] == "forbidden"


def test_a_dry_run_of_many_looks_up_targets_and_changes_nothing(bare_api: Api) -> None:
    before = everything_in(bare_api.settings)
    requests = [
        {"service_name": "web", "target_hostnames": ["a", "b"]},
        {"service_name": "nobodys", "target_scope": "service"},
        {"service_name": "web", "target_hostnames": ["a"], "dry_run": True},
        {"service_name": "web", "target_hostnames": ["a"], "dry_run": "no"},
        {"service_name": "web", "target_hostnames": ["a"], "dry_run": 0},
    ]
    answer = bulk(bare_api, *requests, dry_run=True, key="dry")
    assert [each["success"] for each in answer["results"]] == [True, False, True, False, False]
    assert [each["response"]["dry_run"] for each in answer["results"][:3:2]] == [True, True]
    fields = [each["problem"]["errors"][0]["field"] for each in answer["results"] if not each["success"]]
    assert fields == ["target_scope", "dry_run", "dry_run"]
    single = bulk(bare_api, requests[2])
    assert single["results"][0]["response"]["dry_run"] is True, "what asks for nothing is never made to ask"
    assert everything_in(bare_api.settings) == before


def test_a_key_repeats_the_whole_and_fits_no_other_whole(served: Api, service: str) -> None:
    requests = [{"service_name": service, "target_hostnames": [name]} for name in ("node-a", "node-b")]
    first = bulk(served, *requests, key=service)
    assert bulk(served, *requests, key=service) == first
    ids = {each["response"]["request_id"] for each in first["results"]}
    assert len(ids) == 2
    for others in ([*requests, requests[0]], requests[::-1], [requests[0], {**requests[1], "duration": 9}]):
        answer = bulk(served, *others, key=service)
        told = [each["problem"]["code"] if each["problem"] else None for each in answer["results"]]
        assert told[:2] == ["idempotency_conflict"] * 2
    alone = served.submit("node-a", service_name=service, key=service)
    assert alone["request_id"] not in ids, "the key of one is no key of many"
