"""Programs of every kind with known shares, all at once, through the profilers as they are installed."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Mapping

import pytest

from agent.profilers.registry import installed
from agent.run_profile import Profile
from cli.sample import SHARES
from tests.support.jvms import hot_java
from tests.support.targets import TARGETS, Run, built, running
from tests.support.tools import needs

pytestmark = [
    pytest.mark.needs_perf,
    needs("perf", "gcc", "node", "java", "jcmd"),
    pytest.mark.skipif(os.geteuid() != 0, reason="perf needs root, or a setting that this host may not have"),
]

HZ = 99
SECONDS = 8.0
ENOUGH = 200
"""Samples of each program from which its shares are told to within a few points."""
QUARTERS = {"spin_much": 0.75, "spin_little": 0.25}
TRUTH: Mapping[str, tuple[str, Mapping[str, float]]] = {
    "Python, one thread": ("sample.py", SHARES),
    "Python, many threads": ("many_threads.py", QUARTERS),
    "Java": ("HotJava.main", {"HotJava.spinMuch": 0.75, "HotJava.spinLittle": 0.25}),
    "C": ("main (hot)", QUARTERS),
    "Node": ("hot.js", {"spinMuch": 0.75, "spinLittle": 0.25}),
}
"""Program → what is in each of its stacks, and the true share of each function."""
WANTED = {"perf", "py-spy", "java"}
NICE = ("nice", "-n", "5")
"""Eight busy threads let the profilers go first, which on two CPUs would not get to their targets in time."""
MAPPED = ("--perf-basic-prof", "--no-logfile-per-isolate", "--logfile=/dev/null")
IDLE = ("wait_asleep", "wait_for_a_lock", "HotJava.idleInTheKernel", "HotJava.idleParked")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """One run over all of them."""
    folder = tmp_path_factory.mktemp("mixed")
    with contextlib.ExitStack() as programs:
        pids = [
            programs.enter_context(program).pid
            for program in (
                running(*NICE, sys.executable, "-m", "cli.sample"),
                running(*NICE, sys.executable, str(TARGETS / "many_threads.py")),
                hot_java(before=NICE),
                running(*NICE, str(built(folder))),
                running(*NICE, "node", *MAPPED, f"--logfile={folder}/v8.log", str(TARGETS / "hot.js")),
            )
        ]

        async def run(seconds: float) -> Profile:
            return await Run(folder / "work", pids=pids, seconds=seconds, hz=HZ, profilers=installed()).profile()

        # On a machine that others keep busy, a profiler may not get to its target in time, and few samples tell little.
        for longer in (1, 2, 2):
            profile = asyncio.run(run(SECONDS * longer))
            counts = [sum(part_of(profile, mark).values()) for mark, _ in TRUTH.values()]
            if profile.events.keys() >= WANTED and min(counts) >= ENOUGH:
                break
        return profile


def part_of(profile: Profile, mark: str) -> dict[str, int]:
    """The stacks of one program."""
    return {stack: count for stack, count in profile.stacks.items() if mark in stack}


@pytest.mark.parametrize("program", TRUTH)
def test_the_share_of_each_hot_function_is_the_true_one(program: str, mixed: Profile) -> None:
    mark, truth = TRUTH[program]
    stacks = part_of(mixed, mark)
    total = sum(stacks.values())
    assert total > 30, "a fair part of eight seconds at 99 Hz, however busy the machine"
    seen = {
        name: sum(count for stack, count in stacks.items() if any(is_of(one, name) for one in stack.split(";"))) / total
        for name in truth
    }
    assert seen == pytest.approx(dict(truth), abs=0.1)


def is_of(frame: str, function: str) -> bool:
    return frame == function or frame.startswith(f"{function} (")


def test_threads_that_wait_are_in_no_stack(mixed: Profile) -> None:
    assert not [stack for stack in mixed.stacks if any(is_of(one, idle) for one in stack.split(";") for idle in IDLE)]


def test_symbols_are_readable(mixed: Profile) -> None:
    leaves = {stack: stack.rpartition(";")[2] for stack in mixed.stacks}
    nameless = sum(count for stack, count in mixed.stacks.items() if "[unknown]" in leaves[stack])
    assert nameless <= 0.05 * mixed.samples


def test_no_process_is_counted_twice(mixed: Profile) -> None:
    assert mixed.error is None
    assert mixed.events.keys() >= WANTED, mixed.warnings
    assert mixed.samples <= 1.1 * (os.cpu_count() or 1) * HZ * mixed.elapsed_seconds, "more than the CPUs could give"
    assert len({process.pid for process in mixed.processes}) == len(TRUTH)
