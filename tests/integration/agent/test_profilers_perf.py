"""perf on real processes, and what it sees made one with what py-spy sees."""

import asyncio
import os
import shutil
import sys
import time
from pathlib import Path

import psutil
import pytest

from agent.processes import Process
from agent.profilers import idle
from agent.profilers.base import Profiler
from agent.profilers.perf import Perf
from agent.profilers.py_spy import PySpy
from tests.support.agents import soon
from tests.support.processes import eventually
from tests.support.targets import (
    Run,
    built,
    cpu_seconds,
    hashing,
    hot_python,
    is_sampled,
    profilers_of_this_process,
    running,
    sampling,
    share_of,
    stopped_early,
)

pytestmark = [
    pytest.mark.needs_perf,
    pytest.mark.skipif(shutil.which("perf") is None, reason="perf is not installed"),
    pytest.mark.skipif(os.geteuid() != 0, reason="perf needs root, or a setting that this host may not have"),
]


async def test_a_native_process_is_profiled_with_the_true_shares(tmp_path: Path) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    with running(str(built(tmp_path))) as target:
        profile = await Run(tmp_path / "work", pids=[target.pid], seconds=8).profile()
    assert profile.error is None
    assert share_of(profile, "spin_much") == pytest.approx(0.75, abs=0.1)
    assert share_of(profile, "spin_little") == pytest.approx(0.25, abs=0.1)
    assert all(stack.startswith("hot;") for stack in profile.stacks)


async def test_any_program_is_profiled_and_the_event_is_told(tmp_path: Path) -> None:
    with hashing() as target:
        async with sampling(Run(tmp_path, pids=[target.pid], seconds=60, hz=49)) as run:
            before = cpu_seconds(target.pid)
            await asyncio.sleep(2)
            used = cpu_seconds(target.pid) - before  # what it does while perf's file is read is not sampled
            run.stop.set()
            profile = await run.profile()
    assert profile.error is None
    assert run.starts == 1
    assert {process.pid for process in profile.processes} == {target.pid}
    assert 0.5 * 49 * used <= profile.samples <= 1.1 * 49 * used + 1
    assert profile.events["perf"].partition(":")[0] in {"cycles", "cpu-clock"}
    assert all(stack.startswith("sha256sum;") for stack in profile.stacks)


async def test_a_stop_ends_perf_within_a_second_and_keeps_what_was_sampled(tmp_path: Path) -> None:
    with hashing() as target:
        stopped = [await stopped_early(tmp_path, target.pid) for _ in range(3)]
    assert min(seconds for seconds, _ in stopped) < 1  # the best of three: other tests may have the CPUs
    assert all(profile.error is None and profile.samples > 10 for _, profile in stopped)
    assert profilers_of_this_process() == []


async def test_a_whole_host_run_counts_no_process_twice(tmp_path: Path) -> None:
    seconds, hz = 3, 99
    with hashing() as native, hot_python("busy", threads=2) as python:
        others = {one.pid for one in psutil.Process().children(recursive=True)}
        # However many Pythons the machine has just now; JVMs and Nodes are looked at by other tests at this moment.
        profilers: list[Profiler] = [PySpy(max_targets=200), Perf()]
        async with sampling(Run(tmp_path, pids=None, seconds=seconds, hz=hz, profilers=profilers)) as run:
            await asyncio.sleep(1)
            own = {one.pid for one in psutil.Process().children(recursive=True)} - others
            profile = await run.profile()
    assert profile.error is None
    counted = {process.pid: process.samples for process in profile.processes}
    assert counted[native.pid] > 0
    assert counted[python.pid] > 0
    # No more than the CPUs could give: py-spy alone counts a sample for each of the two busy threads.
    assert profile.samples <= 1.1 * (os.cpu_count() or 1) * profile.elapsed_seconds * hz
    assert counted[python.pid] <= 1.2 * profile.elapsed_seconds * hz
    assert share_of(profile, "busy") * profile.samples > 0.8 * counted[python.pid]
    assert not any("_PyEval" in stack and "busy" in stack for stack in profile.stacks)
    assert set(profile.events) == {"perf", "py-spy"}
    assert len(own) >= 3  # py-spy, perf, and the program under perf
    assert not (own | {os.getpid()}) & counted.keys()


async def test_named_python_and_native_processes_are_profiled_together(tmp_path: Path) -> None:
    with hashing() as native, hot_python("busy") as python, hot_python("unwanted"):
        profile = await Run(tmp_path, pids=[native.pid, python.pid], seconds=2).profile()
    assert profile.error is None
    assert {process.pid for process in profile.processes} == {native.pid, python.pid}
    assert share_of(profile, "busy") > 0.2
    assert share_of(profile, "unwanted") == 0


async def test_an_excluded_process_is_absent_from_a_whole_host_run(tmp_path: Path) -> None:
    with hashing() as native, hot_python("hidden") as python:
        run = Run(tmp_path, pids=None, exclude=[python.pid], seconds=1, profilers=[PySpy(max_targets=200), Perf()])
        profile = await run.profile()
    assert native.pid in {process.pid for process in profile.processes}
    assert python.pid not in {process.pid for process in profile.processes}
    assert share_of(profile, "hidden") == 0


async def test_children_of_a_named_process_are_not_profiled(tmp_path: Path) -> None:
    script = "sha256sum /dev/zero & while :; do :; done"
    with running("sh", "-c", script) as shell:
        try:
            profile = await Run(tmp_path, pids=[shell.pid], seconds=1).profile()
        finally:
            kill_children(shell.pid)
    assert {process.pid for process in profile.processes} == {shell.pid}
    assert not any(stack.startswith("sha256sum") for stack in profile.stacks)


async def test_an_event_that_the_machine_lacks_is_replaced(tmp_path: Path) -> None:
    perf = Perf(events=["stalled-cycles-frontend:ppp", "cpu-clock"])
    with hashing() as target:
        profile = await Run(tmp_path, pids=[target.pid], seconds=1, profilers=[perf]).profile()
    assert profile.samples > 0, (profile.error, profile.warnings)


async def test_a_long_run_is_recorded_in_pieces_that_are_all_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.profilers.perf.MAX_SEGMENT_SECONDS", 1.5)
    monkeypatch.setattr("agent.profilers.perf.MIN_SEGMENT_SECONDS", 0.5)
    with hashing() as target:
        async with sampling(Run(tmp_path, pids=[target.pid], seconds=60, hz=99)) as run:
            before = cpu_seconds(target.pid)
            await asyncio.sleep(6)
            used = cpu_seconds(target.pid) - before
            run.stop.set()
            profile = await run.profile()
    assert profile.error is None
    assert 0.4 * 99 * used < profile.samples <= 1.1 * 99 * used + 1  # the largest piece alone has a quarter
    assert profile.elapsed_seconds < 12


async def test_a_process_that_ends_during_the_run_ends_it(tmp_path: Path) -> None:
    with hashing() as target:
        async with sampling(Run(tmp_path, pids=[target.pid], seconds=60)) as run:
            enough = cpu_seconds(target.pid) + 1  # the profiler is another process: it samples on
            eventually(lambda: cpu_seconds(target.pid) >= enough, within=30, what="a second of the processor's time")
            target.kill()
            target.wait()
            profile = await run.profile()
    assert profile.error is None
    assert profile.samples > 20
    assert profile.elapsed_seconds < 15


async def test_a_run_that_is_stopped_while_perf_still_starts_keeps_what_py_spy_saw(tmp_path: Path) -> None:
    slow = tmp_path / "perf"
    slow.write_text("#!/bin/sh\nsleep 60\n")
    slow.chmod(0o755)
    with hot_python("busy") as target:
        run = Run(tmp_path / "work", pids=None, seconds=60, profilers=[PySpy(max_targets=200), Perf(slow)])
        async with sampling(run):
            await soon(lambda: is_sampled(target.pid, by=os.getpid()))  # many Pythons are attached to at once
            asked = time.monotonic()
            run.stop.set()
            profile = await run.profile()
            assert time.monotonic() - asked < 5, "perf would take a minute"
    assert profile.error is None
    assert share_of(profile, "busy") * profile.samples > 20
    assert "the run was stopped before perf began to sample" in profile.warnings
    assert profilers_of_this_process() == []


SLEEPER = """
import sys
sys.stdin.readline()
def wide_awake():
    while True:
        pass
wide_awake()
"""


class PySpyOfOne(PySpy):
    """Of one process alone, however many Pythons the host has."""

    def __init__(self, pid: int) -> None:
        super().__init__()
        self._pid = pid

    def match(self, process: Process) -> bool:
        return process.pid == self._pid


async def test_a_python_that_sleeps_is_left_alone_until_it_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idle, "age_of", lambda _: 86_400.0)  # so that its start counts for nothing
    target = await asyncio.create_subprocess_exec(sys.executable, "-c", SLEEPER, stdin=asyncio.subprocess.PIPE)
    try:
        profilers: list[Profiler] = [PySpyOfOne(target.pid), Perf()]
        async with sampling(Run(tmp_path, pids=None, seconds=60, hz=49, profilers=profilers)) as run:
            await asyncio.sleep(0.5)
            assert not any("py-spy" in line for line in profilers_of_this_process())
            assert target.stdin is not None
            target.stdin.write(b"go\n")
            await soon(lambda: is_sampled(target.pid, by=os.getpid()), within=50)
            run.stop.set()
            profile = await run.profile()
    finally:
        target.kill()
        await target.wait()
    seen = [stack for stack in profile.stacks if "wide_awake (<string>" in stack]
    assert seen, profile.warnings


async def test_a_cancelled_run_leaves_no_perf(tmp_path: Path) -> None:
    with hashing() as target:
        async with sampling(Run(tmp_path, pids=[target.pid], seconds=60)):
            assert any("perf record" in line for line in profilers_of_this_process())
        assert profilers_of_this_process() == []


def kill_children(pid: int) -> None:
    for child in psutil.Process(pid).children():
        child.kill()
