"""Java by the JVM's own Flight Recorder: what its threads run, or where they allocate.

The JVM writes a recording into a directory that the agent makes in the JVM's `/tmp`; see `target_dir`. The recording is
ours alone, under a name of its own: others that go on in the JVM stay untouched. It is stopped however the run ends.
Were the agent killed, the JVM ends it soon after its time, and the next run on the JVM removes the file.
"""

import asyncio
import contextlib
import math
import time
from datetime import timedelta
from pathlib import Path
from typing import Final

import structlog

from agent.processes import Process, is_alive
from agent.profilers import attached, jfr_repository, jfr_settings, jvm, reasons
from agent.profilers.attached import Answer, Seen
from agent.profilers.base import RunRequest, Started
from agent.profilers.crash_watch import number_inside
from agent.profilers.target_dir import TargetDir, left_behind
from agent.stacks import java
from agent.stacks.jfr import BadRecording

GRACE: Final = timedelta(seconds=30)
"""So long after its time the JVM ends a recording by itself, should the agent not have done so."""
STACK_DEPTH: Final = 256
MAX_RECORDING: Final = "64M"
MOST_REMEMBERED: Final = 1_000
RECORDING: Final = "recording.jfr"
SETTINGS: Final = "settings.jfc"

log = structlog.get_logger(__name__)


class FlightRecorder:
    """Records in JVMs, and remembers their versions."""

    def __init__(self) -> None:
        self._versions: dict[tuple[int, float], jvm.Version] = {}
        self._recorded_before: dict[tuple[int, float], bool] = {}
        """Whether a JVM had a repository before we first spoke to it: then that is never ours."""

    async def sample(
        self, target: Process, request: RunRequest, work_dir: Path, stop: asyncio.Event, started: Started
    ) -> Seen:
        """What one JVM ran or allocated.

        Raises:
            NoAnswer: the JVM does not record.
            BadRecording: what it recorded cannot be read.
            OSError: its `/tmp` cannot be used.
        """
        began = time.monotonic()
        key, number = (target.pid, target.create_time), number_inside(target.pid)
        if key not in self._recorded_before:
            self._recorded_before[key] = await asyncio.to_thread(jfr_repository.is_there, target, number)
            while len(self._recorded_before) > MOST_REMEMBERED:
                del self._recorded_before[next(iter(self._recorded_before))]
        recording = _Recording(target, work_dir, None if self._recorded_before[key] else number)
        version = await self._version(recording, target, request)
        content = await recording.take(_settings(request, version), request, stop, started, since=began)
        ended, warnings = time.monotonic(), _unheeded(request)
        return Seen(await asyncio.to_thread(_read, content, request, warnings), warnings, ended=ended)

    async def _version(self, recording: "_Recording", target: Process, request: RunRequest) -> jvm.Version:
        """The JVM's version, asked once; at the same time it is told to record deep stacks, while it still can be.

        Raises:
            NoAnswer: it is too old, no HotSpot, or does not answer.
        """
        key = (target.pid, target.create_time)
        if (known := self._versions.get(key)) is not None:
            return known
        version = jvm.version_of((await recording.tell("VM.version")).said)
        if version is None:
            raise jvm.NoAnswer("it is no HotSpot JVM, and has no Flight Recorder")
        if request.configs.java_version_check and not version.has_recorder:
            raise jvm.NoAnswer(
                f"JDK {version} has no Flight Recorder: JDK {jvm.OLDEST} or newer has, or 8u{jvm.OLDEST_UPDATE_OF_8}"
            )
        await recording.deepen()
        self._versions[key] = version
        while len(self._versions) > MOST_REMEMBERED:
            del self._versions[next(iter(self._versions))]
        return version


class _Recording:
    """Our recording in one JVM.

    `own_repository` is the JVM's number in its own namespace, if the repository with that number was made for us.
    """

    def __init__(self, target: Process, work_dir: Path, own_repository: int | None) -> None:
        self._target = target
        self._work_dir = work_dir
        self._own_repository = own_repository

    async def tell(self, *words: str) -> Answer:
        """Have the JVM carry out a command.

        Raises:
            NoAnswer: it cannot be attached to, or refuses.
        """
        return await jvm.command(self._target, words, cwd=self._work_dir)

    async def deepen(self) -> None:
        """Stacks of 256 frames instead of 64: a JVM takes that as long as it has never recorded."""
        with contextlib.suppress(jvm.NoAnswer):  # what is cut off is marked in the stacks
            await self.tell("JFR.configure", f"stackdepth={STACK_DEPTH}")

    async def take(
        self, settings: bytes, request: RunRequest, stop: asyncio.Event, started: Started, *, since: float
    ) -> bytes:
        """Record for what is left of the duration, until `stop`, or until the JVM ends; nothing stays in the JVM.

        `since` is when attaching began, by the monotonic clock.

        Raises:
            NoAnswer: the JVM does not record.
            BadRecording: it recorded, and wrote nothing.
            OSError: its `/tmp` cannot be used, or the recording is not there.
        """
        await self._clear_the_past()
        if self._own_repository is not None:
            check = await self.tell("JFR.check")
            if "no available recordings" not in check.said.lower():
                self._own_repository = None  # somebody else records there too
        place = await asyncio.to_thread(TargetDir.make, self._target, {SETTINGS: settings})
        bound = math.ceil((request.duration + GRACE).total_seconds())
        running = True  # as soon as it is asked to: the answer may be lost
        try:
            answer = await self.tell(
                "JFR.start", f"name={place.name}", f"settings={place.path}/{SETTINGS}",
                f"filename={place.path}/{RECORDING}", f"duration={bound}s",
                f"maxsize={MAX_RECORDING}", "dumponexit=true",
            )  # fmt: skip
            if "started recording" not in answer.said.lower():
                raise jvm.NoAnswer(reasons.jvm(answer.said, timed_out=False))
            started(answer.at)
            seconds = attached.seconds_left(request, attaching_took=answer.at - since)
            await attached.until_over(self._target, stop, seconds=seconds - (time.monotonic() - answer.at))
            if is_alive(self._target):
                await self.tell("JFR.stop", f"name={place.name}")
            running = False
            if not (content := await asyncio.to_thread(place.read, RECORDING)):
                raise BadRecording("the JVM wrote nothing")
            return content
        finally:
            try:
                if running and is_alive(self._target):
                    await self._stop(place.name)
                if self._own_repository is not None and not is_alive(self._target):
                    await asyncio.to_thread(jfr_repository.remove, place, self._own_repository)
            finally:
                place.remove()

    async def _clear_the_past(self) -> None:
        """End what an agent that was killed has left in this JVM."""
        for place in await asyncio.to_thread(lambda: list(left_behind(self._target))):
            try:
                await self._stop(place.name)
            finally:
                place.remove()

    async def _stop(self, name: str) -> None:
        try:
            await self.tell("JFR.stop", f"name={name}")
        except (jvm.NoAnswer, OSError) as problem:  # it never began, or ends by itself when its time is over
            log.debug("recording not stopped", name=name, pid=self._target.pid, reason=str(problem))


def _settings(request: RunRequest, version: jvm.Version) -> bytes:
    if request.mode == "allocation":
        return jfr_settings.for_allocation(version.feature)
    return jfr_settings.for_cpu(request.frequency_hz)


def _unheeded(request: RunRequest) -> list[str]:
    """What the command asks of Java that Flight Recorder does not do."""
    if request.mode == "cpu" and request.configs.java_clock == "wall":
        return ["profiler_configs.async_profiler: Flight Recorder has no wall clock; Java was sampled while it ran"]
    if request.mode == "allocation" and request.configs.java_alloc_interval is not None:
        return ["profiler_configs.async_profiler.alloc_interval: Flight Recorder samples by number, not by bytes"]
    return []


def _read(content: bytes, request: RunRequest, warnings: list[str]) -> dict[str, int]:
    read = java.allocated(content) if request.mode == "allocation" else java.ran(content)
    if read.lost_bytes:
        warnings.append(f"the JVM could not keep {read.lost_bytes} bytes of what it recorded: ask for less")
    return dict(read.stacks)
