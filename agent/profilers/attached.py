"""What every profiler of a runtime does: choose its targets, attach to each for itself, and end in time."""

import asyncio
import contextlib
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import ClassVar, Final

import structlog

from agent.processes import Process, busiest, is_alive
from agent.profilers import idle, spawn
from agent.profilers.base import Available, Result, RunRequest, Scope, Started, Unavailable, Unit
from agent.runtimes import Runtime
from protocol.commands import ProfilingMode

MAX_TARGETS: Final = 16
BUSY_WINDOW: Final = timedelta(milliseconds=100)
PATIENCE: Final = timedelta(seconds=10)
"""For a tool to attach, and again for it to end once it was asked to."""
LEAST_SECONDS: Final = 1.0
MAX_OUTPUT: Final = 64 * 1024
MAX_ANSWER: Final = 64 << 20
"""For a tool whose output is the profile itself."""

log = structlog.get_logger(__name__)


@dataclass
class Seen:
    """What came of one target. `ended` is when it was sampled last, by the monotonic clock."""

    stacks: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    failure: str | None = None
    ended: float | None = None


Sample = Callable[[Process, RunRequest, Path, asyncio.Event, Started], Awaitable[Seen]]
"""Samples one target, as `Profiler.run` does several."""


@dataclass(frozen=True)
class Sampler:
    """How the targets of one run are sampled.

    Attributes:
        sample: takes one target.
        event: what makes a sample.
        unit: of the stacks.
        version: the profiler's, where it is known.
    """

    sample: Sample
    event: str
    unit: Unit = "samples"
    version: str | None = None


class AttachedProfiler(ABC):
    """A profiler of one runtime that attaches to each target for itself; one that fails disturbs no other."""

    name: str
    runtime: ClassVar[Runtime]
    label: ClassVar[str]
    """The runtime for messages: `Ruby`."""
    max_targets: int = MAX_TARGETS
    """At once, where a command does not say; of more the busiest."""
    scope: Scope = "process"
    modes: frozenset[ProfilingMode] = frozenset({"cpu"})

    @abstractmethod
    def probe(self) -> Available | Unavailable:
        """Say, quickly and without sampling, whether this profiler can work here."""

    @abstractmethod
    def sampler(self, targets: Sequence[Process], request: RunRequest) -> Sampler | Result:
        """How to sample these targets; or what comes of them without."""

    def match(self, process: Process) -> bool:
        """It reads its own runtime, nothing else."""
        return process.runtime == self.runtime

    async def run(
        self,
        targets: Sequence[Process],
        request: RunRequest,
        work_dir: Path,
        stop: asyncio.Event,
        started: Started,
    ) -> Result:
        """Sample the targets side by side, the busiest alone where they are too many."""
        sampler = self.sampler(targets, request)
        if isinstance(sampler, Result):
            return sampler
        limit = request.configs.max_targets or self.max_targets
        warnings: list[str] = []
        asleep = await asyncio.to_thread(idle.idle_among, targets, request)
        chosen = [target for target in targets if target not in asleep]
        if len(chosen) > limit:
            chosen = await asyncio.to_thread(busiest, chosen, limit, window=BUSY_WINDOW)
            warnings.append(self._too_many(limit, len(targets)))
        tasks: dict[int, asyncio.Task[Seen]] = {}
        async with asyncio.TaskGroup() as group:

            def attach(target: Process, asked: RunRequest) -> None:
                sampling = _guarded(self.name, target, partial(sampler.sample, target, asked, work_dir, stop, started))
                tasks[target.pid] = group.create_task(sampling)

            for target in chosen:
                attach(target, request)
            async with contextlib.aclosing(idle.woken(asleep, request, stop)) as woken:
                async for target, seconds in woken:
                    if len(tasks) >= limit:
                        warnings.append(self._too_many(limit, len(targets)))
                        break
                    attach(target, replace(request, duration=timedelta(seconds=seconds)))
        seen = {pid: task.result() for pid, task in tasks.items()}
        return Result(
            stacks={pid: one.stacks for pid, one in seen.items() if one.stacks},
            failures={pid: one.failure for pid, one in seen.items() if one.failure is not None},
            skipped=frozenset(target.pid for target in targets) - seen.keys(),
            asleep=not seen,
            warnings=list(dict.fromkeys([*warnings, *(text for one in seen.values() for text in one.warnings)])),
            event=sampler.event,
            unit=sampler.unit,
            version=sampler.version,
            ended=max((one.ended for one in seen.values() if one.ended is not None), default=None),
        )

    def _too_many(self, limit: int, of: int) -> str:
        return f"{self.name} sampled the {limit} busiest of {of} {self.label} processes; name others by pid"


async def _guarded(profiler: str, target: Process, sample: Callable[[], Awaitable[Seen]]) -> Seen:
    if not is_alive(target):  # by now its number may be another process's
        return Seen(failure=f"process {target.pid} ({target.name}) has ended")
    try:
        return await sample()
    except Exception as problem:  # one target's trouble must not cost the others their samples
        log.exception("sampling broke", profiler=profiler, pid=target.pid)
        return Seen(failure=f"{profiler} broke on process {target.pid} ({target.name}): {problem!r}")


@dataclass(frozen=True)
class Ran:
    """How a tool ended: what it printed, its exit code (None if it had to be killed), when it ceased to sample.

    That is by the monotonic clock, and None for one that never came to sample.
    """

    said: str
    exit_code: int | None
    ended: float | None


@dataclass(frozen=True)
class Answer:
    """What a tool printed and when it last did, by the monotonic clock; `code` is None if it had to be killed."""

    code: int | None
    said: str
    at: float


async def run_tool(
    program: Sequence[str],
    *,
    seconds: float,
    stop: asyncio.Event,
    started: Started,
    cwd: Path,
    says: bytes | None = None,
) -> Ran:
    """Run a tool that samples until SIGINT: for the duration, until `stop`, or until it ends; killed if it does not.

    It samples from the moment that it prints `says`, whenever we hear of it; from its start where that is None.

    Raises:
        OSError: it cannot be started.
    """
    output = bytearray()
    sampling = asyncio.Event()
    killed = False
    ended: float | None = None
    async with spawn.running(program, stdout=spawn.PIPE, stderr=spawn.STDOUT, cwd=cwd) as child:
        reading = asyncio.create_task(_keep(child.stdout, output, sampling, says))
        began, stopped = asyncio.create_task(sampling.wait()), asyncio.create_task(stop.wait())
        try:
            if says is None:
                sampling.set()
            waits = {began, stopped, reading}
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE.total_seconds())
            if sampling.is_set():
                since = time.monotonic() if says is None else child.wrote()
                started(since)
                await child.wait_until(stop, seconds=seconds - (time.monotonic() - since))
                ended = time.monotonic()
            child.interrupt()
            if not await child.ends_within(PATIENCE):
                killed = True
                await child.kill()
            await reading
        finally:
            for wait in (began, stopped, reading):
                wait.cancel()
    return Ran(output.decode(errors="replace"), None if killed else child.exit_code, ended)


async def ask(
    program: Sequence[str], *, cwd: Path, patience: timedelta = PATIENCE, at_most: int = MAX_OUTPUT
) -> Answer:
    """Run a tool that answers and ends.

    Raises:
        OSError: it cannot be started.
    """
    output = bytearray()
    async with spawn.running(program, stdout=spawn.PIPE, stderr=spawn.STDOUT, cwd=cwd) as child:
        reading = asyncio.create_task(_keep(child.stdout, output, asyncio.Event(), None, at_most))
        try:
            in_time = await child.ends_within(patience)
            if not in_time:
                await child.kill()
            await reading
            at = child.wrote()
        finally:
            reading.cancel()
    return Answer(child.exit_code if in_time else None, output.decode(errors="replace"), at)


def seconds_left(request: RunRequest, *, attaching_took: float) -> float:
    """How long to sample a target that took so many seconds to attach to.

    On a whole host the others sample already: a late one ends with them, after a second at least, as its stacks are
    scaled to what perf counts. Of a target that was named all of the duration is sampled.
    """
    seconds = request.duration.total_seconds()
    if request.pids is not None:
        return seconds
    return max(min(seconds, LEAST_SECONDS), seconds - attaching_took)


async def until_over(target: Process, stop: asyncio.Event, *, seconds: float) -> None:
    """Wait until the time is over, `stop` is set, or the target has ended: whichever is first."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    try:
        watched = os.pidfd_open(target.pid)
    except OSError:
        return  # it has ended already
    waits = {asyncio.ensure_future(stop.wait()), asyncio.ensure_future(ended.wait())}
    try:
        loop.add_reader(watched, ended.set)
        await asyncio.wait(waits, timeout=max(seconds, 0), return_when=asyncio.FIRST_COMPLETED)
    finally:
        loop.remove_reader(watched)
        with contextlib.suppress(OSError):
            os.close(watched)
        for wait in waits:
            wait.cancel()


async def _keep(
    stream: asyncio.StreamReader,
    output: bytearray,
    sampling: asyncio.Event,
    says: bytes | None,
    at_most: int = MAX_OUTPUT,
) -> None:
    """Keep the beginning of what it prints and note when it says that it samples."""
    while chunk := await stream.read(4096):
        if len(output) < at_most:
            output += chunk
        else:
            output[at_most:] = chunk  # the last words hold the counts
        if says is not None and says in output:
            sampling.set()
