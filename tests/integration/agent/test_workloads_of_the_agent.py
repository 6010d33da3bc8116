"""Workloads of a host that only our agent serves: the real `gprofiler`, the real API, a real cgroup."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.agents import GPROFILER, busy_python
from tests.support.api import REQUEST, WORKLOAD_STATUS, Api
from tests.support.containers import busy_container, writable_hierarchy
from tests.support.processes import Role, eventually, started

SERVICE, HOST = "contained", "contained-01"
HIERARCHY = writable_hierarchy()
pytestmark = pytest.mark.skipif(HIERARCHY is None, reason="a cgroup cannot be made here")


@dataclass(frozen=True)
class Scene:
    """A host with one container of two processes, and one process beside it."""

    api: Api
    container_id: str
    inside: list[int]
    outside: int

    def rows(self, scope: str, **filters: Any) -> list[dict[str, Any]]:
        asked = {"service_name": SERVICE, "scope": scope, **filters}
        rows: list[dict[str, Any]] = self.api.ok("GET", WORKLOAD_STATUS, token=self.api.admin, params=asked)["rows"]
        return rows

    def profiled(self, scope: str, **entity: Any) -> set[int]:
        """The processes in the profile that a request for this entity leads to."""
        accepted = self.api.submit(
            service_name=SERVICE, target_scope=scope, target_entities=[entity], duration=1, frequency=50
        )
        (host,) = self.api.wait_for(accepted["request_id"], "completed", within=40)["hosts"]
        collapsed = Path(host["results_path"]).with_suffix(".col").read_text()
        facts = json.loads(collapsed.splitlines()[0].removeprefix("# "))
        return {process["pid"] for process in facts["processes"] if process["samples"]}


@pytest.fixture(scope="module")
def scene(served: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    home = tmp_path_factory.mktemp("contained")
    argv = [
        GPROFILER, "--enable-heartbeat-server", "--service-name", SERVICE, "--hostname", HOST, "--api-server",
        served.url, "--output-dir", str(home / "profiles"), "--state-dir", str(home / "state"),
        "--heartbeat-log", str(home / "heartbeat.log"),
    ]  # fmt: skip
    assert HIERARCHY is not None
    env = {"GPROFILER_TOKEN": served.agent, "NO_PROXY": "127.0.0.1"}
    with (
        busy_container(HIERARCHY, processes=2) as (container_id, inside),
        busy_python() as (outside,),
        started(Role("agent", argv, env=env, log=home / "agent.log")),
    ):
        scene = Scene(served, container_id, inside, outside)
        eventually(lambda: scene.rows("container"), within=30, what=f"an inventory; see {home / 'agent.log'}")
        yield scene


def test_a_request_for_a_container_profiles_its_processes_and_no_other(scene: Scene) -> None:
    assert scene.profiled("container", container_id=scene.container_id) == set(scene.inside)


def test_a_request_for_a_process_of_the_host_profiles_that_one(scene: Scene) -> None:
    assert scene.profiled("process", hostname=HOST, pid=scene.outside) == {scene.outside}


def test_a_row_of_a_container_without_a_name_can_be_asked_for_as_it_is_shown(scene: Scene) -> None:
    (row,) = [row for row in scene.rows("container") if row["pids"] == sorted(scene.inside)]
    assert row["containerName"] == scene.container_id[:12]
    entity = {key: row[key] for key in ("hostname", "containerName")}
    accepted = scene.api.submit(service_name=SERVICE, target_scope="container", target_entities=[entity], dry_run=True)
    assert accepted["hosts"] == 1


def test_what_does_not_run_there_is_refused_by_name(scene: Scene) -> None:
    body = {"service_name": SERVICE, "target_scope": "container", "target_entities": [{"container_id": "f" * 64}]}
    answer = scene.api.call("POST", REQUEST, token=scene.api.admin, json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["code"] == "unknown_target"
