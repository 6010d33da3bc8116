"""The `perf script` that reads a recording back.

perf opens the perf maps of processes in containers as those see them. Whoever is root in a container can put a pipe
there, at which perf would wait for ever, a file without end, or a device: to open one can do anything. So before perf
runs it is looked whether there is such a thing, and likewise once it takes long.
"""

import asyncio
import contextlib
import resource
import threading
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

import structlog

from agent.profilers import perf_maps, reasons, spawn
from agent.profilers.background import in_background
from agent.profilers.perf_recording import Recording, keep
from agent.stacks import perf_script

SUSPICIOUS: Final = timedelta(seconds=15)
"""Reading takes a second or two, several times that on a host that is very busy."""
LOOK_WITHIN: Final = timedelta(seconds=5)
MAX_MEMORY: Final = 2 << 30
"""Bytes that perf may allocate: symbols of the largest programs take some hundred million."""
PASSED_OVER: Final = (
    "lines of perf's were passed over: a process, file or function has a name with line ends, perhaps to mislead"
)


_looking: Final[list[threading.Thread]] = []
"""The last look for traps."""

log = structlog.get_logger(__name__)


async def read_back(
    binary: Path, recording: Recording, stop: asyncio.Event
) -> tuple[perf_script.PerfSamples, str | None]:
    """The samples of a recording, whose file is deleted, and what went wrong on the way. It hurries once `stop` is set.

    Raises:
        OSError: perf cannot be started, or its output cannot be written.
    """
    text = recording.file.with_suffix(".txt")
    # --no-inline: resolving inlined functions takes twenty times as long
    fields = "comm,pid,tid,event,ip,sym,dso"
    program = [str(binary), "script", "--no-inline", "-F", fields, "-i", str(recording.file)]
    try:
        problem = await _print(program, text, stop)
        samples = await asyncio.to_thread(_parse, text) if text.exists() else perf_script.PerfSamples()
    except perf_script.BadScript as bad:
        return perf_script.PerfSamples(), f"perf's output is unreadable: {bad}"
    finally:
        for file in (text, recording.file):
            with contextlib.suppress(FileNotFoundError):
                file.unlink()
    if problem is None and samples.passed_over:
        problem = f"{samples.passed_over} {PASSED_OVER}"
    return samples, problem


async def _print(program: Sequence[str], text: Path, stop: asyncio.Event) -> str | None:
    """Have perf print into a file; gives what went wrong."""
    others, _ = perf_maps.spring(await _look_for_traps())
    if others:
        return _caught(min(others))
    said = bytearray()
    with text.open("wb") as sink:
        running = spawn.running(program, stdout=sink.fileno(), stderr=spawn.PIPE, cwd=text.parent)
        async with running as child, in_background(child, stop):
            _bound(child.pid)
            reading = asyncio.create_task(keep(child.stderr, said))
            try:
                if (trap := await _held_up(child)) is not None:
                    await child.kill()
                    return _caught(trap)
                await reading
                code = await child.wait()
            finally:
                reading.cancel()
    return reasons.perf(said.decode(errors="replace")) if code != 0 else None


def _bound(pid: int) -> None:
    """Bound what perf may allocate: below what it is bounded by already."""
    with contextlib.suppress(ProcessLookupError):  # it has ended
        _, most = resource.prlimit(pid, resource.RLIMIT_DATA)
        bound = MAX_MEMORY if most == resource.RLIM_INFINITY else min(MAX_MEMORY, most)
        resource.prlimit(pid, resource.RLIMIT_DATA, (bound, most))


def _caught(trap: Path) -> str:
    return f"perf would read {trap} as the names of a program's functions, which is no plain file of a usual size"


async def _held_up(child: spawn.Child) -> Path | None:
    """Wait for its end; gives the trap that it does not get out of.

    A pipe that nobody writes to is opened for it, and closed: then perf finds it empty. One without any trap, or that
    has not come to it, is slow because the host is busy; how long it may take is bounded by the run.
    """
    caught: frozenset[Path] = frozenset()
    while not await child.ends_within(SUSPICIOUS):
        others, sprung = perf_maps.spring(await _look_for_traps())
        if again := caught & (others | sprung):
            return min(again)
        caught = others | sprung
    return None


async def _look_for_traps() -> frozenset[Path]:
    """Look into the `/tmp` of each container; nothing is found where one of them does not answer in time.

    By a thread of its own, one at a time: a file system that hangs must not take one of the agent's few, nor hold it up
    when it ends.
    """
    if _looking and _looking[-1].is_alive():
        return frozenset()
    loop = asyncio.get_running_loop()
    found: asyncio.Future[frozenset[Path]] = loop.create_future()

    def tell(traps: frozenset[Path]) -> None:
        if not found.done():
            found.set_result(traps)

    def look() -> None:
        traps = perf_maps.traps()
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(tell, traps)

    _looking[:] = [threading.Thread(target=look, name="traps", daemon=True)]
    _looking[-1].start()
    try:
        async with asyncio.timeout(LOOK_WITHIN.total_seconds()):
            return await found
    except TimeoutError:
        log.warning("the /tmp of a container does not answer: not looked for what holds perf up")
        return frozenset()


def _parse(text: Path) -> perf_script.PerfSamples:
    with text.open(encoding="utf-8", errors="replace") as lines:
        samples = perf_script.read(lines)
        compiled = {pid: names for pid, places in samples.unnamed.items() if (names := perf_maps.names(pid, places))}
        if not compiled:
            return samples
        lines.seek(0)
        return perf_script.read(lines, compiled)
