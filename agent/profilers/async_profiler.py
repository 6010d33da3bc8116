"""Java by async-profiler, where the host has it: it needs no safepoint to see a stack, and knows a wall clock."""

import asyncio
import contextlib
import math
import time
from datetime import timedelta
from pathlib import Path
from typing import Final

from agent.processes import Process, is_alive
from agent.profilers import attached, reasons
from agent.profilers.attached import Seen, ask
from agent.profilers.base import RunRequest, Started
from agent.profilers.jvm import NoAnswer
from agent.profilers.programs import found
from agent.profilers.target_dir import TargetDir, left_behind
from agent.stacks import java

NAMES: Final = ("asprof", "profiler.sh")
"""Since version 3, and before."""
PATIENCE: Final = timedelta(seconds=30)
GRACE: Final = timedelta(seconds=30)
"""So long after its time it ends by itself, should the agent not have ended it."""
FILE: Final = "stacks.collapsed"
DEFAULT_ALLOC_INTERVAL: Final = 2 * 1000 * 1000


def find() -> Path | None:
    """async-profiler's own command on PATH."""
    return next(filter(None, map(found, NAMES)), None)


async def sample(
    binary: Path,
    target: Process,
    request: RunRequest,
    work_dir: Path,
    stop: asyncio.Event,
    started: Started,
) -> Seen:
    """What one JVM ran or allocated; nothing of it is left in the JVM.

    Raises:
        NoAnswer: it does not begin or end, or somebody else's session goes on in the JVM.
        ValueError: what it wrote is not what it writes.
        OSError: the JVM's `/tmp` cannot be used.
    """
    began = time.monotonic()
    session = _Session(binary, target, request, work_dir)
    for old in await asyncio.to_thread(lambda: list(left_behind(target))):
        with contextlib.suppress(NoAnswer):  # an agent that was killed left it, and its time may be over
            await session.stop(f"{old.path}/{FILE}")
        old.remove()
    place = await asyncio.to_thread(TargetDir.make, target, {})
    file = f"{place.path}/{FILE}"
    running = False
    try:
        at = await session.start(file)
        running = True  # not before: else we would end somebody else's
        started(at)
        seconds = attached.seconds_left(request, attaching_took=at - began)
        await attached.until_over(target, stop, seconds=seconds - (time.monotonic() - at))
        if is_alive(target):
            await session.stop(file)
        ended = time.monotonic()
        running = False
        text = (await asyncio.to_thread(place.read, FILE)).decode(errors="replace")
    finally:
        try:
            if running and is_alive(target):
                with contextlib.suppress(NoAnswer):  # it ends by itself when its time is over
                    await session.stop(file)
        finally:
            place.remove()
    return Seen(await asyncio.to_thread(java.async_profiler, text.splitlines()), ended=ended)


class _Session:
    """async-profiler in one JVM."""

    def __init__(self, binary: Path, target: Process, request: RunRequest, work_dir: Path) -> None:
        self._binary = binary
        self._target = target
        self._request = request
        self._work_dir = work_dir

    async def start(self, file: str) -> float:
        """Have it begin, and give the moment; it ends by itself some time after the run's, should nobody end it."""
        bound = math.ceil((self._request.duration + GRACE).total_seconds())
        return await self._tell("start", *_event(self._request), "--timeout", str(bound), "-o", "collapsed", "-f", file)

    async def stop(self, file: str) -> None:
        """Have it write its file and leave the JVM alone."""
        total = ["--total"] if self._request.mode == "allocation" else []  # bytes instead of samples
        await self._tell("stop", *total, "-o", "collapsed", "-f", file)

    async def _tell(self, *words: str) -> float:
        program = [str(self._binary), *words, str(self._target.pid)]
        answer = await ask(program, cwd=self._work_dir, patience=PATIENCE)
        if answer.code != 0:
            raise NoAnswer(reasons.async_profiler(answer.said, timed_out=answer.code is None))
        return answer.at


def _event(request: RunRequest) -> list[str]:
    """What makes a sample. Its intervals are nanoseconds, of allocations bytes."""
    if request.mode == "allocation":
        return ["-e", "alloc", "--alloc", str(request.configs.java_alloc_interval or DEFAULT_ALLOC_INTERVAL)]
    clock = "wall" if request.mode == "wall" else request.configs.java_clock
    return ["-e", clock, "-i", str(max(1, round(1_000_000_000 / request.frequency_hz)))]
