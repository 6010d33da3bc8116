"""Memory of Python by memray, which is let into a running process by gdb: on demand only.

It sees every allocation, so the process runs slower meanwhile, and gdb stops it for a moment. That is why it attaches
only to processes that are named, or where a command asks for memray. What it counts is what of the memory that was
allocated during the run was in use at its peak; docs/decisions says why not the sum of all.

gdb is needed to get in, never to get out: see memray_attach.
"""

import asyncio
import contextlib
import importlib.util
import math
import shutil
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

from agent.processes import Process, is_alive, sees_our_files
from agent.profilers import attached, memray_attach, memray_read, reasons
from agent.profilers.attached import PATIENCE, AttachedProfiler, Sampler, Seen
from agent.profilers.base import Available, Result, RunRequest, Started, Unavailable
from agent.profilers.target_dir import TargetDir, left_behind
from agent.stacks import memray
from protocol.commands import ProfilingMode

MAX_TARGETS: Final = 4
GRACE: Final = timedelta(seconds=30)
"""So long after its time memray ends by itself, should the agent not have ended it."""
ATTACHING: Final = timedelta(seconds=30)
"""gdb reads the symbols of the process first."""
FILE: Final = "memory.bin"
END: Final = "end"
"""The file at whose sight it ends."""
POLL: Final = timedelta(milliseconds=100)

NO_MEMRAY: Final = "memray is not installed beside the agent: pip install 'performance-studio[memory]'"
NO_GDB: Final = "gdb is not installed, by which memray gets into a process: apt-get install gdb"
NOT_ASKED: Final = (
    'memray attached to no Python process: name processes by pid, or ask by profiler_configs: {"memray": "enabled"}'
)


class NotTracked(Exception):
    """memray could not be let into the process; the text says why."""


class Memray(AttachedProfiler):
    """One memray in each named process."""

    name = "memray"
    runtime = "python"
    label = "Python"
    max_targets = MAX_TARGETS
    modes: frozenset[ProfilingMode] = frozenset({"allocation"})

    def probe(self) -> Available | Unavailable:
        """Whether memray and gdb are here. Whether the target has memray too shows when it is attached to."""
        if importlib.util.find_spec("memray") is None:
            return Unavailable(NO_MEMRAY)
        gdb = shutil.which("gdb")
        return Available(f"through {gdb}; the target needs memray too") if gdb else Unavailable(NO_GDB)

    def sampler(self, targets: Sequence[Process], request: RunRequest) -> Sampler | Result:
        """By memray, where it is asked for."""
        if request.pids is None and self.name not in request.configs.enabled:
            return Result(skipped=frozenset(target.pid for target in targets), warnings=[NOT_ASKED])
        return Sampler(_sample, "memory in use at its peak, of what was allocated meanwhile", "bytes")


async def _sample(target: Process, request: RunRequest, work_dir: Path, stop: asyncio.Event, started: Started) -> Seen:
    seen = Seen()
    if stop.is_set():
        return seen
    try:
        content = await _track(target, request.duration, work_dir, stop, started)
        seen.ended = time.monotonic()
        seen.stacks = await _read(content, work_dir / f"memray-{target.pid}")
        seen.warnings.append(
            "memray follows every allocation: the process ran slower by a third or more while it was profiled"
        )
    except (NotTracked, OSError, ValueError) as problem:
        ended = "" if is_alive(target) else "; it has ended"
        seen.failure = f"memory of process {target.pid} ({target.name}) could not be profiled: {problem}{ended}"
    return seen


async def _track(target: Process, duration: timedelta, work_dir: Path, stop: asyncio.Event, started: Started) -> bytes:
    """What memray wrote in the target, where nothing of it is left.

    Raises:
        NotTracked: it did not get in, or wrote nothing.
        OSError: the target's `/tmp` cannot be used.
    """
    if not sees_our_files(target):
        raise NotTracked("it runs in a container, whose files are not the agent's: memray cannot be loaded there")
    for old in await asyncio.to_thread(lambda: list(left_behind(target))):
        try:
            if old.is_for(target) and old.has(FILE):
                await _ended(target, old)  # an agent that was killed left it at work
        finally:
            old.remove()
    place = await asyncio.to_thread(TargetDir.make, target, {})
    content = b""
    tracking = False
    try:
        bound = math.ceil((duration + GRACE).total_seconds())
        words = [str(target.pid), f"{place.path}/{FILE}", f"{place.path}/{END}", str(bound)]
        program = [sys.executable, "-I", memray_attach.__file__, *words]
        answer = await attached.ask(program, cwd=work_dir, patience=ATTACHING)
        if answer.code != 0:
            raise NotTracked(reasons.memray(answer.said, timed_out=answer.code is None))
        tracking = True  # not before: else we would wait for what somebody else's memray does there
        started(answer.at)
        await attached.until_over(target, stop, seconds=duration.total_seconds() - (time.monotonic() - answer.at))
    finally:
        try:
            if tracking:
                content = await _ended(target, place)
        finally:
            place.remove()
    if not content:
        raise NotTracked("memray wrote nothing")
    return content


async def _ended(target: Process, place: TargetDir) -> bytes:
    """Have the tracking end that writes there: what memray wrote.

    Where it does not end in time, that is nothing, and it ends by itself when its own is over.

    Raises:
        OSError: the place cannot be used.
    """
    await asyncio.to_thread(place.write, END, b"")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE.total_seconds()):
            while True:
                if not is_alive(target) or not await asyncio.to_thread(place.has, END):
                    break
                await asyncio.sleep(POLL.total_seconds())
    return await asyncio.to_thread(place.read, FILE)


async def _read(content: bytes, file: Path) -> dict[str, int]:
    """Stacks out of a file of memray's.

    Raises:
        NotTracked: it cannot be read.
        ValueError: what is read from it is no stack.
    """
    await asyncio.to_thread(file.write_bytes, content)
    program = [sys.executable, "-I", memray_read.__file__, str(file)]
    answer = await attached.ask(program, cwd=file.parent, patience=ATTACHING, at_most=attached.MAX_ANSWER)
    if answer.code != 0:
        raise NotTracked(f"its file cannot be read: {(answer.said.strip().splitlines() or ['no reason'])[-1][:300]}")
    return memray.read(answer.said.splitlines())
