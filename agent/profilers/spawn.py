"""Child processes that never outlive the agent: every program a profiler runs is started here."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

from agent import frozen
from agent.profilers import leash
from agent.profilers.written import Output

KEEP_RECORD_FOR: Final = timedelta(days=1)
PIPE: Final = asyncio.subprocess.PIPE
DEVNULL: Final = asyncio.subprocess.DEVNULL
STDOUT: Final = asyncio.subprocess.STDOUT

_lifetimes: dict[int, float] = {}
"""Pid of each child → when it ended by the monotonic clock, infinity while it lives."""


class Child:
    """A running program, the leader of its own process group."""

    def __init__(self, process: asyncio.subprocess.Process, output: Output | None) -> None:
        self._process = process
        self._output = output
        self.pid = process.pid

    @property
    def stdin(self) -> asyncio.StreamWriter:
        """Its standard input, which must have been asked for as `PIPE`."""
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def stdout(self) -> asyncio.StreamReader:
        """Its standard output, which must have been asked for as `PIPE`."""
        assert self._output is not None
        return self._output.reader

    @property
    def stderr(self) -> asyncio.StreamReader:
        """Its standard error, which must have been asked for as `PIPE`."""
        assert self._process.stderr is not None
        return self._process.stderr

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative for a signal."""
        return self._process.returncode

    def wrote(self) -> float:
        """When it last wrote to its standard output, asked for as `PIPE`, by the monotonic clock; else now."""
        assert self._output is not None
        return self._output.last_write()

    async def wait(self) -> int:
        """Wait for its end."""
        return await self._process.wait()

    async def wait_until(self, stop: asyncio.Event, *, seconds: float) -> None:
        """Wait until it ends, `stop` is set, or the time is over: whichever is first."""
        waits = {asyncio.ensure_future(stop.wait()), asyncio.ensure_future(self.wait())}
        try:
            await asyncio.wait(waits, timeout=max(seconds, 0), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def interrupt(self) -> None:
        """Ask it to finish and to keep what it has, as Ctrl-C would."""
        if self.exit_code is None:
            # not Popen's send_signal: it polls, and a child reaped there is one that asyncio waits for in vain
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGINT)

    async def ends_within(self, patience: timedelta) -> bool:
        """Whether it ends by itself in that time."""
        try:
            async with asyncio.timeout(patience.total_seconds()):
                await self.wait()
        except TimeoutError:
            return False
        return True

    async def kill(self) -> None:
        """End it and its process group at once, if it still runs."""
        if self.exit_code is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        await self.wait()


def own_pids(since: float) -> frozenset[int]:
    """This process, and every child that was alive at or after `since` (monotonic seconds)."""
    return frozenset({os.getpid(), *(pid for pid, ended in _lifetimes.items() if ended >= since)})


def alive_pids() -> list[int]:
    """The children that have not ended."""
    return [pid for pid, ended in _lifetimes.items() if ended == float("inf")]


@contextlib.asynccontextmanager
async def running(
    program: Sequence[str], *, stdin: int = DEVNULL, stdout: int = DEVNULL, stderr: int = DEVNULL, cwd: Path
) -> AsyncIterator[Child]:
    """Start a program by its absolute path; it is dead at the end of the block, and when the agent is killed.

    Raises:
        OSError: it cannot be started.
    """
    with contextlib.ExitStack() as undo:
        output = None
        if stdout == PIPE:
            output = Output(cwd)
            undo.callback(output.close)
            stdout = output.writing
        try:
            process = await asyncio.create_subprocess_exec(
                *frozen.leash(leash.__file__), str(os.getpid()), *program,
                stdin=stdin, stdout=stdout, stderr=stderr, cwd=cwd, process_group=0, env=_environment(),
            )  # fmt: skip
        finally:
            if output is not None:
                os.close(output.writing)
        child = Child(process, output)
        _remember(child.pid)
        try:
            if output is not None:
                await output.listen()
            yield child
        finally:
            await child.kill()
            _lifetimes[child.pid] = time.monotonic()


def _environment() -> dict[str, str]:
    """The agent's own without its token, and with messages in the language that we can read."""
    inherited = frozen.environment_of_the_host(os.environ) if frozen.is_frozen() else os.environ
    kept = {name: value for name, value in inherited.items() if not name.endswith("_TOKEN")}
    return kept | {"LC_ALL": "C.UTF-8", "RUST_BACKTRACE": "0"}


def _remember(pid: int) -> None:
    forgotten = time.monotonic() - KEEP_RECORD_FOR.total_seconds()
    for old in [old for old, ended in _lifetimes.items() if ended < forgotten]:
        del _lifetimes[old]
    _lifetimes[pid] = float("inf")
