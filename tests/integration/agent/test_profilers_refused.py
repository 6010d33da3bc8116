"""What a person is told when the machine does not let profilers work."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT
from tests.support.targets import hashing, hot_python

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="giving up privileges needs root and setpriv"
)
AGENT = """
import asyncio, sys
from datetime import timedelta
from pathlib import Path
from agent.capture import capture
from agent.profilers.base import RunRequest

work, *pids = sys.argv[1:]
request = RunRequest(frequency_hz=99, duration=timedelta(seconds=1), mode="cpu", pids=frozenset(map(int, pids)) or None)
profile = asyncio.run(capture(request, work_dir=Path(work), stop=asyncio.Event(), on_start=lambda: None))
print(profile.error)
"""


def error_without_privileges(work: Path, *pids: int) -> str:
    """The error of a run by an agent that has no capability at all, not even root's."""
    done = subprocess.run(
        ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-c", AGENT, str(work), *map(str, pids)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout.strip()


def test_a_python_process_that_may_not_be_read_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with hot_python("busy") as target:
        error = error_without_privileges(tmp_path, target.pid)
    assert f"no permission to read process {target.pid} (python" in error
    assert "run the agent as root, or with CAP_SYS_PTRACE" in error


@pytest.mark.needs_perf
@pytest.mark.skipif(shutil.which("perf") is None, reason="perf is not installed")
def test_perf_without_permission_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with hashing() as target:
        error = error_without_privileges(tmp_path, target.pid)
    assert "no permission to use perf: run the agent as root, or give it CAP_PERFMON" in error


@pytest.mark.needs_perf
@pytest.mark.skipif(shutil.which("perf") is None, reason="perf is not installed")
def test_the_whole_host_without_permission_is_refused_with_the_way_out(tmp_path: Path) -> None:
    assert "no permission to use perf" in error_without_privileges(tmp_path)
