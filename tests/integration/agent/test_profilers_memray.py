"""Memory of Python by memray, in a real process."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from agent.profilers.memray import Memray
from agent.run_profile import Profile
from tests.support.jvms import left_in_tmp
from tests.support.processes import ROOT
from tests.support.targets import TARGETS, Run, sampling, share_of
from tests.support.tools import needs

pytestmark = [
    needs("gdb"),
    pytest.mark.skipif(os.geteuid() != 0, reason="gdb attaches to what is no child only as root"),
]


@contextlib.contextmanager
def holding(*python: str) -> Iterator[int]:
    """The program that holds memory."""
    command = [*(python or (sys.executable,)), str(TARGETS / "hot_memory.py")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process.pid
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def profiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Profile]]:
    """A process, and what memray saw of it."""
    folder = tmp_path_factory.mktemp("memray")

    async def run(pid: int) -> Profile:
        return await Run(folder, pids=[pid], seconds=2, mode="allocation", profilers=[Memray()]).profile()

    with holding() as pid:
        yield pid, asyncio.run(run(pid))


def test_the_shares_of_who_holds_memory_are_the_true_ones(profiled: tuple[int, Profile]) -> None:
    _, profile = profiled
    assert (profile.error, profile.unit) == (None, "bytes")
    assert share_of(profile, "hold_much") == pytest.approx(0.9, abs=0.1)
    assert share_of(profile, "hold_little") == pytest.approx(0.1, abs=0.1)
    assert profile.samples > 1_000_000


def test_its_cost_is_said_and_nothing_is_left(profiled: tuple[int, Profile]) -> None:
    pid, profile = profiled
    assert any("slower by a third or more" in warning for warning in profile.warnings)
    assert left_in_tmp(pid) == []
    os.kill(pid, 0)


async def test_a_run_that_is_cancelled_ends_the_tracking_and_another_one_may_begin(
    profiled: tuple[int, Profile], tmp_path: Path
) -> None:
    pid, _ = profiled
    async with sampling(Run(tmp_path, pids=[pid], seconds=60, mode="allocation", profilers=[Memray()])):
        assert len(left_in_tmp(pid)) == 1
    assert left_in_tmp(pid) == []
    again = await Run(tmp_path, pids=[pid], seconds=1, mode="allocation", profilers=[Memray()]).profile()
    assert again.error is None
    assert again.samples


AGENT: Final = """
import asyncio, os, signal, sys
from pathlib import Path
from agent.profilers.memray import Memray
from tests.support.processes import ROOT
from tests.support.targets import Run, sampling

async def main():
    run = Run(Path(sys.argv[2]), pids=[int(sys.argv[1])], seconds=60, mode="allocation", profilers=[Memray()])
    async with sampling(run):
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_what_a_killed_agent_left_at_work_is_ended_by_the_next_run(
    profiled: tuple[int, Profile], tmp_path: Path
) -> None:
    pid, _ = profiled
    killed = [sys.executable, "-c", AGENT, str(pid), str(tmp_path)]
    done = await asyncio.to_thread(subprocess.run, killed, cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(left_in_tmp(pid, agent="*")) == 1
    again = await Run(tmp_path, pids=[pid], seconds=1, mode="allocation", profilers=[Memray()]).profile()
    assert again.error is None
    assert again.samples
    assert left_in_tmp(pid, agent="*") == []


async def test_a_target_without_memray_says_where_to_install_it_and_lives(tmp_path: Path) -> None:
    with holding(sys.executable, "-I", "-S") as pid:  # without its site-packages
        run = Run(tmp_path, pids=[pid], seconds=1, mode="allocation", profilers=[Memray()])
        profile = await run.profile()
        os.kill(pid, 0)
    assert profile.error is not None
    assert "memray is not installed in it" in profile.error
