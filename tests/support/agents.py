"""What agents' tests share: the real `gprofiler` as a process, something for it to sample, patient Hypothesis."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psutil
from hypothesis import HealthCheck, settings

from tests.support.fake_server import TOKEN, FakeServer
from tests.support.processes import ROOT, Role, eventually

calm: Final = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
"""Properties hold or they do not; how fast a busy machine checks them is another matter."""

GPROFILER: Final = str(Path(sys.executable).with_name("gprofiler"))
_BUSY: Final = """
import os, sys
def hot_loop():
    while True:
        sum(range(1000))
print("ready", flush=True)
os.nice(int(sys.argv[1]))
hot_loop()
"""
"""It is sampled also while it waits for a CPU, so it leaves them to those who have something to do."""


def agent(server: FakeServer, home: Path, *extra: str, token: str | None = TOKEN) -> Role:
    """Start the real agent against a fake server, with everything it writes below `home`."""
    home.mkdir(exist_ok=True)
    argv = [
        GPROFILER, "--enable-heartbeat-server", "--upload-results", "--service-name", "web", "--hostname", "web-01",
        "--api-server", server.url, "--heartbeat-interval", "1", "--output-dir", str(home / "profiles"),
        "--state-dir", str(home / "state"), "--heartbeat-log", str(home / "heartbeat.log"), *extra,
    ]  # fmt: skip
    env = {"NO_PROXY": "127.0.0.1", **({"GPROFILER_TOKEN": token} if token else {})}
    return Role("agent", argv, env=env, log=home / "agent.log")


async def soon(check: Callable[[], object], *, within: float = 20.0) -> None:
    """Wait until `check` gives something true.

    Raises:
        TimeoutError: it did not in time.
    """
    async with asyncio.timeout(within):
        while not check():  # noqa: ASYNC110 - what is checked is other people's state, without an event
            await asyncio.sleep(0.005)


@contextmanager
def busy_python(count: int = 1, *, niceness: int = 19) -> Iterator[list[int]]:
    """Python processes that do nothing but run `hot_loop`; gives their pids.

    They make room for others, unless what is seen of them in a short time is asked for.
    """
    program = [sys.executable, "-c", _BUSY, str(niceness)]
    targets = [subprocess.Popen(program, stdout=subprocess.PIPE, cwd=ROOT) for _ in range(count)]
    try:
        for target in targets:
            assert target.stdout is not None
            assert target.stdout.readline() == b"ready\n"
        yield [target.pid for target in targets]
    finally:
        for target in targets:
            target.kill()
            target.communicate()


def offspring(pid: int) -> list[psutil.Process]:
    """Every living process that this one started, directly or not."""
    try:
        return [child for child in psutil.Process(pid).children(recursive=True) if alive(child)]
    except psutil.NoSuchProcess:
        return []


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def running_agent(server: FakeServer, home: Path, *extra: str) -> Iterator[Role]:
    """The agent, once it has beaten; it leaves no child behind, whatever the test did to it."""
    process = agent(server, home, *extra)
    before = len(server.beats)
    try:
        eventually(lambda: len(server.beats) > before, within=40, what="the first beat", of=process)
        yield process
    finally:
        children = offspring(process.pid)
        process.stop()
        eventually(lambda: not any(alive(child) for child in children), what="the end of every profiler")


def log_lines(process: Role) -> list[dict[str, Any]]:
    """What the agent has logged to stderr."""
    return [json.loads(line) for line in process.lines()]


def command_line(pid: int) -> str:
    """What `ps` shows of a process."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
