"""Node by its inspector and C in a container, in one run of perf and node: who counts, and what the metadata says."""

import asyncio
import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.output import save
from agent.profiler_configs import ProfilerConfigs
from agent.run_profile import Profile
from tests.support.containers import contained, writable_hierarchy
from tests.support.targets import TARGETS, Run, built, node_alone, running, share_of
from tests.support.tools import needs

pytestmark = [
    pytest.mark.needs_perf,
    needs("perf", "gcc", "node"),
    pytest.mark.skipif(os.geteuid() != 0, reason="perf needs root, or a setting that this host may not have"),
]

HIERARCHY = writable_hierarchy()
SECONDS, HZ = 8, 199


@dataclass(frozen=True)
class Seen:
    """One profile of both, and who is who in it."""

    profile: Profile
    node: int
    native: int
    container_id: str | None


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    folder = tmp_path_factory.mktemp("merged")
    with contextlib.ExitStack() as outer, contextlib.ExitStack() as programs:  # a container goes after what is in it
        node = programs.enter_context(node_alone(str(TARGETS / "hot.js"))).pid
        native = programs.enter_context(running(str(built(folder, name="bare", frame_pointers=False)))).pid
        container_id = outer.enter_context(contained(HIERARCHY, [native])) if HIERARCHY else None
        yield Seen(asyncio.run(captured(folder, [node, native])), node, native, container_id)


async def captured(folder: Path, pids: list[int]) -> Profile:
    configs = ProfilerConfigs(enabled=frozenset({"node"}))
    return await Run(folder, pids=pids, seconds=SECONDS, hz=HZ, configs=configs).profile()


def test_each_is_seen_by_the_profiler_that_knows_it_best(seen: Seen) -> None:
    assert seen.profile.error is None
    assert seen.profile.events.keys() == {"perf", "node"}
    assert share_of(seen.profile, "oneRound", under="node") > 0.9
    assert not any("v8::" in stack for stack in seen.profile.stacks)  # perf's account of Node
    assert share_of(seen.profile, "main", under="bare") > 0.9  # it has no frame pointers


def test_functions_have_their_true_shares(seen: Seen) -> None:
    for much, little, program in (("spinMuch", "spinLittle", "node"), ("spin_much", "spin_little", "bare")):
        assert share_of(seen.profile, much, under=program) == pytest.approx(0.75, abs=0.1)
        assert share_of(seen.profile, little, under=program) == pytest.approx(0.25, abs=0.1)


def test_no_sample_is_counted_twice(seen: Seen) -> None:
    """Each has no more samples than one busy thread can have, though both profilers counted Node."""
    assert {process.pid for process in seen.profile.processes} == {seen.node, seen.native}
    for process in seen.profile.processes:
        assert 30 < process.samples <= 1.3 * HZ * SECONDS


@pytest.mark.skipif(HIERARCHY is None, reason="a cgroup cannot be made here")
def test_the_metadata_labels_what_runs_in_a_container_and_nothing_else(seen: Seen, tmp_path: Path) -> None:
    saved = save(seen.profile, tmp_path, name="merged", title="merged")
    assert saved.collapsed is not None
    facts = json.loads(saved.collapsed.read_text().partition("\n")[0].removeprefix("# "))
    labelled = {process["pid"]: process for process in facts["processes"] if "container_id" in process}
    assert labelled.keys() == {seen.native}
    told = labelled[seen.native]
    assert (told["container_id"], told["runtime"]) == (seen.container_id, "docker")
    assert facts["versions"]["perf"][0].isdigit()
    assert 0 < facts["cpu_percent"] <= 100
    assert len(facts["load_average"]["end"]) == 3
