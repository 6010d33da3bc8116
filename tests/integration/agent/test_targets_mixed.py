"""Python, Java, Node and C at once, in one run of every profiler: each seen by the one that knows it, none twice."""

import asyncio
import contextlib
import json
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.capture import Profile
from agent.output import save
from agent.profiler_configs import ProfilerConfigs
from cli.sample import SHARES
from tests.support.containers import contained, writable_hierarchy
from tests.support.jvms import hot_java
from tests.support.targets import TARGETS, Run, built, idle_python, node_alone, running
from tests.support.tools import needs

pytestmark = [
    pytest.mark.needs_perf,
    needs("perf", "gcc", "node", "java", "jcmd", "jfr"),
    pytest.mark.skipif(os.geteuid() != 0, reason="perf needs root, or a setting that this host may not have"),
]

HIERARCHY = writable_hierarchy()
PROFILERS = {"perf", "py-spy", "java", "node"}
NATIVE = {"spin_much": 0.75, "spin_little": 0.25}
TRUTH = {
    "python": SHARES,
    "java": {"HotJava.spinMuch": 0.75, "HotJava.spinLittle": 0.25},
    "node": {"spinMuch": 0.75, "spinLittle": 0.25},
    "native": NATIVE,
}
SECONDS = 8
HZ = 199
"""So many, as each program has but a part of two CPUs, and a share is to be known to some points."""


@dataclass(frozen=True)
class Seen:
    """One profile of them all, and who is who in it."""

    profile: Profile
    pids: dict[str, int]
    container_id: str | None

    def stacks(self, program: str) -> dict[tuple[str, ...], int]:
        """The stacks of one program, as the names of their functions."""
        root = next(one.name for one in self.profile.processes if one.pid == self.pids[program])
        return {
            tuple(frame.partition(" (")[0] for frame in stack.split(";")): count
            for stack, count in self.profile.stacks.items()
            if stack.partition(";")[0] == root
        }

    def share(self, program: str, function: str) -> float:
        stacks = self.stacks(program)
        return sum(count for stack, count in stacks.items() if function in stack) / sum(stacks.values())

    def tolerance(self, program: str, share: float) -> float:
        """Ten points; on a machine so busy that a program got few samples, what three standard errors are."""
        return max(0.1, 3 * math.sqrt(share * (1 - share) / sum(self.stacks(program).values())))


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    folder = tmp_path_factory.mktemp("mixed")
    with contextlib.ExitStack() as outer, contextlib.ExitStack() as programs:  # a container goes after what is in it
        python = programs.enter_context(running(sys.executable, "-m", "cli.sample"))
        pids = {
            "python": python.pid,
            "java": programs.enter_context(hot_java()).pid,
            "node": programs.enter_context(node_alone(str(TARGETS / "hot.js"))).pid,
            "native": programs.enter_context(running(str(built(folder, name="bare", frame_pointers=False)))).pid,
            "idle": programs.enter_context(idle_python()).pid,
        }
        container_id = outer.enter_context(contained(HIERARCHY, [pids["native"]])) if HIERARCHY else None
        yield Seen(asyncio.run(captured(folder, list(pids.values()))), pids, container_id)


async def captured(folder: Path, pids: list[int]) -> Profile:
    """On a machine so busy that a runtime does not answer in time, again."""
    configs = ProfilerConfigs(enabled=frozenset({"node"}))
    for _ in range(3):
        profile = await Run(folder, pids=pids, seconds=SECONDS, hz=HZ, configs=configs).profile()
        if profile.events.keys() == PROFILERS:
            break
    return profile


@pytest.mark.parametrize("program", TRUTH)
def test_every_hot_function_has_its_true_share(seen: Seen, program: str) -> None:
    assert seen.profile.error is None
    for function, share in TRUTH[program].items():
        assert seen.share(program, function) == pytest.approx(share, abs=seen.tolerance(program, share)), function


def test_every_program_is_seen_by_the_profiler_that_knows_it(seen: Seen) -> None:
    assert seen.profile.events.keys() == PROFILERS, seen.profile.warnings
    assert {"perf", "py-spy"} <= seen.profile.versions.keys()
    assert seen.share("native", "main") > 0.9  # it was built without frame pointers
    assert seen.share("java", "HotJava.main") > 0.9
    assert seen.share("node", "oneRound") > 0.9


def test_symbols_are_readable(seen: Seen) -> None:
    for program in TRUTH:
        stacks = seen.stacks(program)
        unread = sum(count for stack, count in stacks.items() if {"[unknown]", "[jit]"} & set(stack))
        assert unread <= 0.1 * sum(stacks.values()), program


def test_what_waits_is_absent(seen: Seen) -> None:
    sampled = {process.pid: process.samples for process in seen.profile.processes}
    assert sampled.get(seen.pids["idle"], 0) == 0
    names = {name for program in TRUTH for stack in seen.stacks(program) for name in stack}
    assert not {"HotJava.idleInTheKernel", "HotJava.idleParked", "(idle)"} & names


def test_no_sample_is_counted_twice(seen: Seen) -> None:
    """Together they have no more samples than the CPUs could give, though each profiler counts for itself."""
    assert 100 < seen.profile.samples <= 1.3 * (os.cpu_count() or 1) * HZ * SECONDS


@pytest.mark.skipif(HIERARCHY is None, reason="a cgroup cannot be made here")
def test_the_metadata_labels_what_runs_in_a_container_and_nothing_else(seen: Seen, tmp_path: Path) -> None:
    saved = save(seen.profile, tmp_path, name="mixed", title="mixed")
    assert saved.collapsed is not None
    facts = json.loads(saved.collapsed.read_text().partition("\n")[0].removeprefix("# "))
    labelled = {process["pid"]: process for process in facts["processes"] if "container_id" in process}
    native = seen.pids["native"]
    assert labelled.keys() == {native}
    assert (labelled[native]["container_id"], labelled[native]["runtime"]) == (seen.container_id, "docker")
