"""Python processes by py-spy, which reads their stacks from outside without stopping them.

`--nonblocking` always: with the default py-spy stops every thread for each sample, which costs a program of fifty
threads four fifths of its speed at 99 Hz, and leaves a chance that the program stays stopped when py-spy is killed.
The price is that a stack read while it changes may miss its lower frames: one in ten where generators are busy.
"""

import asyncio
import math
import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from importlib import metadata
from pathlib import Path
from typing import Final

from agent.processes import Process, busiest, in_other_namespace, is_alive
from agent.profilers import reasons, spawn
from agent.profilers.base import Available, Result, RunRequest, Scope, Unavailable
from agent.stacks import py_spy as raw
from agent.stacks.collapsed import BadLine
from protocol.commands import ProfilingMode

MAX_TARGETS: Final = 16
BUSY_WINDOW: Final = timedelta(milliseconds=100)
PATIENCE: Final = timedelta(seconds=10)
MAX_OUTPUT: Final = 64 * 1024
TOO_MANY_ERRORS: Final = 0.1
EVENT: Final = "timer, threads that are not idle"

_SAMPLING: Final = b"Sampling process"
_COUNTS: Final = re.compile(r"Samples: (?P<samples>\d+) Errors: (?P<errors>\d+)")


@dataclass
class _Seen:
    """What came of one target."""

    stacks: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    failure: str | None = None


class PySpy:
    """One py-spy for each Python process, at most `max_targets` at once."""

    name = "py-spy"
    scope: Scope = "process"
    modes: frozenset[ProfilingMode] = frozenset({"cpu"})

    def __init__(self, binary: Path | None = None, *, max_targets: int = MAX_TARGETS) -> None:
        self._binary = binary
        self._max_targets = max_targets

    def probe(self) -> Available | Unavailable:
        """Whether py-spy is beside this Python or on PATH."""
        binary = self._find()
        return Available(str(binary)) if binary else Unavailable(reasons.INSTALL_PY_SPY)

    def match(self, process: Process) -> bool:
        """It reads Python, nothing else."""
        return process.runtime == "python"

    async def run(
        self,
        targets: Sequence[Process],
        request: RunRequest,
        work_dir: Path,
        stop: asyncio.Event,
        started: Callable[[], None],
    ) -> Result:
        """Sample each target; one that fails does not disturb the others."""
        binary = self._find()
        if binary is None:
            return Result(error=reasons.INSTALL_PY_SPY)
        warnings: list[str] = []
        chosen = list(targets)
        if len(chosen) > self._max_targets:
            chosen = await asyncio.to_thread(busiest, chosen, self._max_targets, window=BUSY_WINDOW)
            warnings.append(
                f"py-spy sampled the {self._max_targets} busiest of {len(targets)} Python processes; name others by pid"
            )
        async with asyncio.TaskGroup() as group:
            tasks = {
                target.pid: group.create_task(_sample(binary, target, request, work_dir, stop, started))
                for target in chosen
            }
        seen = {pid: task.result() for pid, task in tasks.items()}
        return Result(
            stacks={pid: one.stacks for pid, one in seen.items() if one.stacks},
            failures={pid: one.failure for pid, one in seen.items() if one.failure is not None},
            skipped=frozenset(target.pid for target in targets) - seen.keys(),
            warnings=[*warnings, *(text for one in seen.values() for text in one.warnings)],
            event=EVENT,
            version=_version(binary),
        )

    def _find(self) -> Path | None:
        if self._binary is not None:
            return self._binary if os.access(self._binary, os.X_OK) else None
        beside = Path(sys.executable).with_name("py-spy")
        if os.access(beside, os.X_OK):
            return beside
        found = shutil.which("py-spy")
        return Path(found).absolute() if found else None


def _version(binary: Path) -> str | None:
    """Of the package that the program came with; another one is not asked, as starting it takes a while."""
    try:
        return metadata.version("py-spy") if binary.parent == Path(sys.executable).parent else None
    except metadata.PackageNotFoundError:
        return None


async def _sample(
    binary: Path,
    target: Process,
    request: RunRequest,
    work_dir: Path,
    stop: asyncio.Event,
    started: Callable[[], None],
) -> _Seen:
    """Run py-spy on one process until the duration is over, `stop` is set, or the process ends."""
    file = work_dir / f"py-spy-{target.pid}.raw"
    bound = math.ceil((request.duration + PATIENCE).total_seconds())  # of its own, should our timer not end it
    program = [
        str(binary), "record", "--nonblocking", "-F", "--full-filenames", "-f", "raw",
        "-r", str(request.frequency_hz), "-d", str(bound), "-o", str(file), "-p", str(target.pid),
    ]  # fmt: skip
    output = bytearray()
    seen = _Seen()
    try:
        async with spawn.running(program, stdout=spawn.PIPE, stderr=spawn.STDOUT, cwd=work_dir) as child:
            reading = asyncio.create_task(_keep(child.stdout, output, sampling := asyncio.Event()))
            began, stopped = asyncio.create_task(sampling.wait()), asyncio.create_task(stop.wait())
            try:
                waits = {began, stopped, reading}
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE.total_seconds())
                if sampling.is_set():
                    started()
                    await child.wait_until(stop, seconds=request.duration.total_seconds())
                child.interrupt()
                if not await child.ends_within(PATIENCE):
                    await child.kill()
                    seen.failure = f"py-spy on process {target.pid} ({target.name}) did not end and was killed"
                await reading
            finally:
                for wait in (began, stopped, reading):
                    wait.cancel()
        if file.exists():
            seen.stacks = await asyncio.to_thread(_parse, file)
    except (BadLine, OSError) as problem:
        seen.failure = f"py-spy on process {target.pid} ({target.name}) left nothing readable: {problem}"
    _judge(seen, output.decode(errors="replace"), target, request, stopped_early=stop.is_set())
    return seen


def _judge(seen: _Seen, said: str, target: Process, request: RunRequest, *, stopped_early: bool) -> None:
    """Note why there are no stacks, or what is to be said about those there are."""
    counts = _COUNTS.search(said)
    if counts is None:
        if seen.failure is None and not seen.stacks and not stopped_early:
            seen.failure = reasons.py_spy(
                said,
                pid=target.pid,
                name=target.name,
                gone=not is_alive(target),
                contained=in_other_namespace(target.pid),
            )
        return
    read, missed = int(counts["samples"]), int(counts["errors"])
    if missed > TOO_MANY_ERRORS * (read + missed):
        seen.warnings.append(f"py-spy could not read {missed} of {read + missed} stacks of process {target.pid}")
    if "behind in sampling" in said:
        seen.warnings.append(
            f"py-spy could not keep up with {request.frequency_hz} Hz on process {target.pid}: ask for less"
        )


async def _keep(stream: asyncio.StreamReader, output: bytearray, sampling: asyncio.Event) -> None:
    """Keep the beginning of what it prints and note when it says that it samples."""
    while chunk := await stream.read(4096):
        if len(output) < MAX_OUTPUT:
            output += chunk
        else:
            output[MAX_OUTPUT:] = chunk  # the last words hold the counts
        if _SAMPLING in output:
            sampling.set()


def _parse(file: Path) -> dict[str, int]:
    with file.open(encoding="utf-8", errors="replace") as lines:
        return raw.read(lines)
