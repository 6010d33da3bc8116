"""No profiler outlives the agent that started it."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from agent.profilers import leash
from tests.support.processes import ROOT, eventually
from tests.support.targets import hashing, hot_python

AGENT = """
import asyncio, sys
from datetime import timedelta
from pathlib import Path
from agent.capture import capture
from agent.profilers.base import RunRequest

pids = frozenset(map(int, sys.argv[2:]))
request = RunRequest(frequency_hz=99, duration=timedelta(seconds=60), mode="cpu", pids=pids)
work = Path(sys.argv[1])
asyncio.run(capture(request, work_dir=work, stop=asyncio.Event(), on_start=lambda: print("started", flush=True)))
"""


@pytest.mark.needs_perf
@pytest.mark.skipif(shutil.which("perf") is None, reason="perf is not installed")
def test_when_the_agent_is_killed_its_profilers_die_and_the_targets_live(tmp_path: Path) -> None:
    with hot_python("busy") as python, hashing() as native:
        agent = subprocess.Popen(
            [sys.executable, "-c", AGENT, str(tmp_path), str(python.pid), str(native.pid)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        try:
            assert agent.stdout is not None
            assert agent.stdout.readline() == b"started\n"
            here = psutil.Process(agent.pid)
            expected = {"py-spy", "perf", "cat"}
            eventually(lambda: expected <= {child.name() for child in here.children(recursive=True)}, what="profilers")
            profilers = here.children(recursive=True)
        finally:
            agent.kill()
            agent.communicate()
        eventually(lambda: not any(alive(one) for one in profilers), within=15, what="the profilers' end")
        assert python.poll() is None
        assert native.poll() is None
        assert psutil.Process(python.pid).status() != psutil.STATUS_STOPPED


def test_a_leashed_program_does_not_start_when_its_parent_is_gone_already() -> None:
    done = subprocess.run(
        [sys.executable, leash.__file__, "1", "/bin/echo", "started"], check=False, capture_output=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (leash.PARENT_IS_GONE, b"")


def test_a_program_that_cannot_be_started_says_so() -> None:
    done = subprocess.run(
        [sys.executable, leash.__file__, str(os.getpid()), "/nowhere/x"], check=False, capture_output=True, timeout=60
    )
    assert done.returncode == leash.CANNOT_EXECUTE
    assert b"/nowhere/x: No such file" in done.stderr


def test_the_sample_program_ends_with_its_parent() -> None:
    script = f"{sys.executable} -m cli.sample >/dev/null & echo $!; read wait"
    with subprocess.Popen(["sh", "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shell:
        assert shell.stdout is not None
        pid = int(shell.stdout.readline())
        eventually(lambda: sum(psutil.Process(pid).cpu_times()[:2]) > 0.3, what="the sample at work")
        shell.communicate(b"\n")
    eventually(lambda: not psutil.pid_exists(pid), within=15, what="the sample's end")


def test_the_sample_program_ends_when_its_parent_is_gone_before_it_looks(tmp_path: Path) -> None:
    code = tmp_path / "code"
    start = f"{sys.executable} -m cli.sample --parent $0; echo $? > {code}"
    script = f"sh -c 'while kill -0 $0; do sleep 0.02; done; {start}' $$ &"
    with subprocess.Popen(
        ["sh", "-c", script], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as shell:
        assert shell.wait(60) == 0
    try:
        eventually(lambda: code.exists() and code.read_text() == "0\n", what="the sample's end")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)


def test_the_sample_program_ends_after_the_seconds_it_was_given() -> None:
    began = time.monotonic()
    done = subprocess.run([sys.executable, "cli/sample.py", "--seconds", "0.5"], cwd=ROOT, check=False, timeout=60)
    assert done.returncode == 0
    assert 0.5 <= time.monotonic() - began < 5


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
