"""A process in a container's numbering, made with `unshare`."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.processes import eventually
from tests.support.targets import Run, share_of


def can_unshare() -> bool:
    """Not in a plain chroot, say: the kernel makes no mount namespace below a root that is no mount point."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    tried = subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", "true"], capture_output=True, check=False)
    return tried.returncode == 0


pytestmark = pytest.mark.skipif(not can_unshare(), reason="a pid namespace cannot be made here")
PROGRAM = "def inside():\n    while True: sum(range(1000))\ninside()"


@pytest.fixture
def contained() -> Iterator[int]:
    """The host's number of a Python process that is 1 in its own namespace."""
    outer = subprocess.Popen(["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", PROGRAM])
    try:
        eventually(lambda: psutil.Process(outer.pid).children(), what="the process in the namespace")
        inner = psutil.Process(outer.pid).children()[0].pid
        time.sleep(0.5)
        yield inner
    finally:
        for child in psutil.Process(outer.pid).children():
            child.kill()
        outer.kill()
        outer.wait()


@pytest.fixture
def contained_high() -> Iterator[tuple[int, int]]:
    """The number inside and the host's number of a Python process, the former one that no process has here."""
    wanted = int(Path("/proc/sys/kernel/pid_max").read_text()) - 7
    while psutil.pid_exists(wanted):
        wanted -= 1
    script = 'echo "$1" > /proc/sys/kernel/ns_last_pid; "$2" -c "$3" & wait'
    command = ["sh", "-c", script, "sh", str(wanted - 1), sys.executable, PROGRAM]
    outer = subprocess.Popen(["unshare", "--pid", "--fork", "--mount-proc", *command])
    below = psutil.Process(outer.pid).children
    try:
        eventually(lambda: any("python" in one.name() for one in below(recursive=True)), what="the inner process")
        inner = next(one.pid for one in below(recursive=True) if "python" in one.name())
        yield number_inside(inner), inner
    finally:
        for child in below(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # it ended with another of them
                child.kill()
        outer.kill()
        outer.wait()


async def test_a_process_of_a_container_is_profiled_by_the_hosts_number(contained: int, tmp_path: Path) -> None:
    profile = await Run(tmp_path, pids=[contained], seconds=1).profile()
    assert profile.error is None
    assert share_of(profile, "inside") > 0.8


async def test_the_number_inside_a_container_is_refused_and_the_hosts_number_is_told(
    contained_high: tuple[int, int], tmp_path: Path
) -> None:
    inside, here = contained_high
    profile = await Run(tmp_path, pids=[inside], seconds=1).profile()
    assert profile.error is not None
    assert f"no process {inside} on this host; inside a container {inside} is python" in profile.error
    assert f"process {here} here: ask for that number" in profile.error


def number_inside(pid: int) -> int:
    """The number that a process has in its innermost namespace."""
    numbers = Path(f"/proc/{pid}/status").read_text().split("NSpid:")[1].splitlines()[0]
    return int(numbers.split()[-1])
