"""Python processes by py-spy, which reads their stacks from outside without stopping them.

`--nonblocking` always: with the default py-spy stops every thread for each sample, which costs a program of fifty
threads four fifths of its speed at 99 Hz, and leaves a chance that the program stays stopped when py-spy is killed.
The price is that a stack read while it changes may miss its lower frames: one in ten where generators are busy.
"""

import asyncio
import math
import os
import re
import sys
from collections.abc import Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Final

from agent.processes import Process, in_other_namespace, is_alive
from agent.profilers import attached, reasons
from agent.profilers.attached import MAX_TARGETS, PATIENCE, AttachedProfiler, Sampler, Seen
from agent.profilers.base import Available, Result, RunRequest, Started, Unavailable
from agent.profilers.programs import found
from agent.stacks import py_spy as raw
from agent.stacks.collapsed import BadLine
from protocol.commands import ProfilingMode

TOO_MANY_ERRORS: Final = 0.1
EVENT: Final = "timer, threads that are not idle"
WALL_EVENT: Final = "timer, every thread"

_SAMPLING: Final = b"Sampling process"
_COUNTS: Final = re.compile(r"Samples: (?P<samples>\d+) Errors: (?P<errors>\d+)")


class PySpy(AttachedProfiler):
    """One py-spy for each Python process, at most `max_targets` at once."""

    name = "py-spy"
    runtime = "python"
    label = "Python"
    modes: frozenset[ProfilingMode] = frozenset({"cpu", "wall"})

    def __init__(self, binary: Path | None = None, *, max_targets: int = MAX_TARGETS) -> None:
        self._binary = binary
        self.max_targets = max_targets

    def probe(self) -> Available | Unavailable:
        """Whether py-spy is beside this Python or on PATH."""
        binary = self._find()
        return Available(str(binary)) if binary else Unavailable(reasons.INSTALL_PY_SPY)

    def sampler(self, targets: Sequence[Process], request: RunRequest) -> Sampler | Result:  # noqa: ARG002 -- the base's
        """By one py-spy each."""
        binary = self._find()
        if binary is None:
            return Result(error=reasons.INSTALL_PY_SPY)
        event = WALL_EVENT if request.mode == "wall" else EVENT
        return Sampler(partial(_sample, binary), event, version=_version(binary))

    def _find(self) -> Path | None:
        beside = Path(sys.executable).with_name("py-spy")
        is_beside = self._binary is None and os.access(beside, os.X_OK)
        return beside if is_beside else found("py-spy", self._binary)


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
    started: Started,
) -> Seen:
    """Run py-spy on one process until the duration is over, `stop` is set, or the process ends."""
    file = work_dir / f"py-spy-{target.pid}.raw"
    bound = math.ceil((request.duration + PATIENCE).total_seconds())  # of its own, should our timer not end it
    program = [
        str(binary), "record", "--nonblocking", "-F", "--full-filenames", "-f", "raw",
        "-r", str(request.frequency_hz), "-d", str(bound), "-o", str(file), "-p", str(target.pid),
        *(["--idle"] if request.mode == "wall" else []),
    ]  # fmt: skip
    seen = Seen()
    said = ""
    try:
        ran = await attached.run_tool(
            program, seconds=request.duration.total_seconds(), stop=stop, started=started, cwd=work_dir, says=_SAMPLING
        )
        said, seen.ended = ran.said, ran.ended
        if ran.exit_code is None:
            seen.failure = f"py-spy on process {target.pid} ({target.name}) did not end and was killed"
        if file.exists():
            seen.stacks = await asyncio.to_thread(_parse, file)
    except (BadLine, OSError) as problem:
        seen.failure = f"py-spy on process {target.pid} ({target.name}) left nothing readable: {problem}"
    _judge(seen, said, target, request, stopped_early=stop.is_set())
    return seen


def _judge(seen: Seen, said: str, target: Process, request: RunRequest, *, stopped_early: bool) -> None:
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


def _parse(file: Path) -> dict[str, int]:
    with file.open(encoding="utf-8", errors="replace") as lines:
        return raw.read(lines)
