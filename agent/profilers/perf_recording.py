"""One `perf record`."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from agent.beginning import Beginning, until
from agent.profilers import spawn
from agent.profilers.base import Started
from agent.profilers.perf_control import control

PATIENCE: Final = timedelta(seconds=10)
NORMAL_EXITS: Final = frozenset({0, 130, 143, -signal.SIGINT, -signal.SIGTERM})
MAX_OUTPUT: Final = 64 * 1024
_WORKLOAD: Final = ("/bin/sh", "-c", 'echo "$$"; exec cat')
"""perf starts it the moment that its events count, and stops when it ends: it tells us the first, and we its end."""


@dataclass(frozen=True)
class Recording:
    """What `perf record` left.

    Attributes:
        file: the samples.
        said: what perf printed.
        workload: the pid of our program under perf; None if perf never came to count.
        exit_code: perf's; None if it had to be killed.
        ended: when it was told to end, or did, by the monotonic clock; None if it never came to count.
    """

    file: Path
    said: str
    workload: int | None
    exit_code: int | None
    ended: float | None = None

    @property
    def broke(self) -> bool:
        """Whether perf itself gave up."""
        return self.exit_code not in NORMAL_EXITS


async def record(
    binary: Path,
    options: Sequence[str],
    file: Path,
    *,
    seconds: float,
    stop: asyncio.Event,
    started: Started,
    beginning: Beginning | None = None,
) -> Recording:
    """Record until the time is over, `stop` is set, or what is recorded has ended. With a `beginning`: from then on.

    Raises:
        OSError: perf cannot be started.
    """
    if beginning is None:
        return await _record(binary, options, file, seconds=seconds, stop=stop, started=started)
    with control(file.parent) as ear:

        async def enabled() -> float | None:
            return None if await until(beginning.moment, stop) else await ear.enable()

        options = [*ear.options, *options]
        return await _record(binary, options, file, seconds=seconds, stop=stop, started=started, enabled=enabled)


async def _record(
    binary: Path,
    options: Sequence[str],
    file: Path,
    *,
    seconds: float,
    stop: asyncio.Event,
    started: Started,
    enabled: Callable[[], Awaitable[float | None]] | None = None,
) -> Recording:
    # -B -N: no hashing of libraries at the end; without the BPF side thread perf ends 0.8 s sooner.
    program = [str(binary), "record", "-B", "-N", "--no-bpf-event", *options, "-o", str(file), "--", *_WORKLOAD]
    workload: int | None = None
    began: float | None = None
    ended: float | None = None
    killed = False
    said = bytearray()
    async with spawn.running(program, stdin=spawn.PIPE, stdout=spawn.PIPE, stderr=spawn.PIPE, cwd=file.parent) as child:
        saying = asyncio.create_task(keep(child.stderr, said))
        try:
            workload = await _counting(child, stop)
            if workload is not None:
                began = child.wrote() if enabled is None else await enabled()
            if began is None:
                workload = None
            else:
                started(began)
                await child.wait_until(stop, seconds=seconds - (time.monotonic() - began))
                ended = time.monotonic()
            if began is None and stop.is_set():
                await child.kill()  # it has nothing to keep
            child.stdin.close()
            if not await child.ends_within(PATIENCE):
                killed = True
                await child.kill()
            await saying
        finally:
            saying.cancel()
    return Recording(file, said.decode(errors="replace"), workload, None if killed else child.exit_code, ended)


async def keep(stream: asyncio.StreamReader, said: bytearray) -> None:
    """Read a stream to its end and keep its beginning."""
    while chunk := await stream.read(4096):
        if len(said) < MAX_OUTPUT:
            said += chunk


async def _counting(child: spawn.Child, stop: asyncio.Event) -> int | None:
    """The pid that the workload prints once perf counts; None when perf ends first, or `stop` comes."""
    line = asyncio.create_task(child.stdout.readline())
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({line, stopped}, return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE.total_seconds())
        text = line.result().strip() if line.done() else b""
        return int(text) if text else None
    finally:
        line.cancel()
        stopped.cancel()
