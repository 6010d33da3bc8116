"""Node by its inspector, on real programs, each pair of them in a network of its own."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from agent.profiler_configs import ProfilerConfigs
from agent.profilers import node_target
from agent.profilers.node import Node
from agent.run_profile import Profile
from tests.support.processes import ROOT, eventually
from tests.support.targets import TARGETS, Run, node_alone, running, sampling, share_of, wait_for_node
from tests.support.tools import needs

pytestmark = [
    needs("node"),
    pytest.mark.skipif(os.geteuid() != 0, reason="a network of its own needs root"),
]

ON = ProfilerConfigs(enabled=frozenset({"node"}))
HOT, ALLOCATING, SLOW_TURNS = (str(TARGETS / f"{name}.js") for name in ("hot", "allocating", "slow_turns"))
LEFT_TO_DIE = """
import asyncio, sys
from datetime import timedelta
from agent.processes import ProcessTable
from agent.profilers import node_inspector

node_inspector.PATIENCE = timedelta(seconds=2)

async def main():
    async with node_inspector.inspected(ProcessTable().find(int(sys.argv[1])), at_most=timedelta(seconds=1)):
        print("open", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


def inspector_is_open(pid: int) -> bool:
    return node_target.INSPECTOR_PORT in node_target.ports(pid)[0]


@dataclass(frozen=True)
class Seen:
    """Runs over five programs at the same time, and which inspectors were open afterwards."""

    cpu: Profile
    allocation: Profile
    two: Profile
    debugged: Profile
    pids: dict[str, int]
    open_after: set[str]
    alive_after: set[str]


async def at_once(folder: Path, pids: dict[str, int]) -> list[Profile]:
    runs = [
        Run(folder, pids=[pids["cpu"]], seconds=4, configs=ON, profilers=[Node()]),
        Run(folder, pids=[pids["allocation"]], seconds=4, mode="allocation", configs=ON, profilers=[Node()]),
        Run(folder, pids=[pids["debugged"]], seconds=3, configs=ON, profilers=[Node()]),
    ]
    return [await run.profile() for run in runs]


async def both_of(folder: Path, pids: list[int]) -> Profile:
    return await Run(folder, pids=pids, seconds=4, configs=ON, profilers=[Node()]).profile()


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    folder = tmp_path_factory.mktemp("node")
    both = f'node "{HOT}" & node "{HOT}" & wait'
    with contextlib.ExitStack() as programs:
        pids = {
            "cpu": programs.enter_context(node_alone(HOT)).pid,
            "allocation": programs.enter_context(node_alone(ALLOCATING)).pid,
            "debugged": programs.enter_context(node_alone("--inspect", HOT)).pid,
        }
        cpu, allocation, debugged = asyncio.run(at_once(folder, pids))
        with two_in_one_network(both) as pair:
            pids |= {"first": pair[0], "second": pair[1]}
            two = asyncio.run(both_of(folder, pair))
            open_after = {name for name, pid in pids.items() if inspector_is_open(pid)}
            alive_after = {name for name, pid in pids.items() if psutil.Process(pid).is_running()}
        yield Seen(cpu, allocation, two, debugged, pids, open_after, alive_after)


@contextlib.contextmanager
def two_in_one_network(script: str) -> Iterator[list[int]]:
    shell = subprocess.Popen([sys.executable, str(TARGETS / "own_network.py"), "sh", "-c", script])
    children: list[psutil.Process] = []
    try:
        eventually(lambda: len(psutil.Process(shell.pid).children()) == 2, what="two programs")
        children = psutil.Process(shell.pid).children()
        for one in children:
            wait_for_node(one.pid)
        yield [one.pid for one in children]
    finally:
        for one in children:
            one.kill()
        shell.kill()
        shell.wait()


def test_functions_have_their_true_shares_and_readable_names(seen: Seen) -> None:
    assert seen.cpu.error is None
    assert seen.cpu.samples > 100
    assert share_of(seen.cpu, "spinMuch") == pytest.approx(0.75, abs=0.1)
    assert share_of(seen.cpu, "spinLittle") == pytest.approx(0.25, abs=0.1)
    assert any(";oneRound (hot.js:21);spinMuch (hot.js:12)" in stack for stack in seen.cpu.stacks)
    assert all(stack.startswith("node;") for stack in seen.cpu.stacks)


def test_allocated_bytes_are_told_by_who_took_them(seen: Seen) -> None:
    assert seen.allocation.error is None
    assert seen.allocation.unit == "bytes"
    assert share_of(seen.allocation, "takeMuch") == pytest.approx(0.75, abs=0.1)
    assert share_of(seen.allocation, "takeLittle") == pytest.approx(0.25, abs=0.1)


def test_two_programs_of_one_network_take_turns(seen: Seen) -> None:
    assert seen.two.error is None
    assert {process.pid for process in seen.two.processes} == {seen.pids["first"], seen.pids["second"]}
    assert share_of(seen.two, "spinMuch") == pytest.approx(0.75, abs=0.1)
    assert any("took turns" in warning for warning in seen.two.warnings)


def test_an_inspector_that_was_open_before_is_used_and_stays_open(seen: Seen) -> None:
    assert seen.debugged.error is None
    assert share_of(seen.debugged, "spinMuch") == pytest.approx(0.75, abs=0.1)
    assert seen.open_after == {"debugged"}


def test_every_program_goes_on(seen: Seen) -> None:
    assert seen.alive_after == seen.pids.keys()


async def test_a_stop_and_a_cancelled_run_leave_no_inspector_open(tmp_path: Path) -> None:
    with node_alone(HOT) as target:
        async with on_node(tmp_path, target.pid) as run:
            assert inspector_is_open(target.pid)
            run.stop.set()
            assert (await run.profile()).error is None
        assert not inspector_is_open(target.pid)
        async with on_node(tmp_path, target.pid):
            assert inspector_is_open(target.pid)
        assert not inspector_is_open(target.pid)


@pytest.mark.parametrize("milliseconds", [1_400, 4_000])
async def test_an_inspector_is_not_opened_anew_by_an_event_loop_that_turns_late(
    tmp_path: Path, milliseconds: int
) -> None:
    """Node tells its event loop of the signal too; one turns while the run ends, the other after we have given up."""
    with node_alone(SLOW_TURNS, str(milliseconds)) as target:
        for _ in range(2):  # the second must not take what the first has left behind for somebody else's
            profile = await Run(tmp_path, pids=[target.pid], seconds=0.2, configs=ON, profilers=[Node()]).profile()
            assert (profile.error, profile.samples > 5) == (None, True)
            assert not inspector_is_open(target.pid)
        await asyncio.sleep(2.5 * milliseconds / 1000)
        assert not inspector_is_open(target.pid)


def test_an_agent_that_is_killed_leaves_no_inspector_open() -> None:
    with node_alone(HOT) as target:
        program = [sys.executable, "-c", LEFT_TO_DIE, str(target.pid)]
        with subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE) as agent:
            assert agent.stdout is not None
            assert agent.stdout.readline() == b"open\n"
            agent.kill()
        assert inspector_is_open(target.pid)
        eventually(lambda: not inspector_is_open(target.pid), within=30, what="the end of the inspector")
        assert target.poll() is None


async def test_what_only_looks_like_node_is_not_signalled(tmp_path: Path) -> None:
    impostor = tmp_path / "node"
    shutil.copy(shutil.which("sha256sum") or "", impostor)
    with running(str(impostor), "/dev/zero") as target:
        profile = await Run(tmp_path / "work", pids=[target.pid], seconds=1, configs=ON, profilers=[Node()]).profile()
        assert target.poll() is None
    assert profile.error is not None
    assert "no handler for SIGUSR1" in profile.error


async def test_a_command_that_does_not_enable_it_opens_no_inspector(tmp_path: Path) -> None:
    with node_alone(HOT) as target:
        profile = await Run(tmp_path, pids=[target.pid], seconds=1, profilers=[Node()]).profile()
        assert target.poll() is None
    assert profile.samples == 0
    assert profile.error is not None


@contextlib.asynccontextmanager
async def on_node(folder: Path, pid: int) -> AsyncIterator[Run]:
    async with sampling(Run(folder, pids=[pid], seconds=60, configs=ON, profilers=[Node()])) as run:
        yield run
