"""Java: by async-profiler where the host has it, else by the JVM's own Flight Recorder."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from agent.processes import Process, is_alive, sees_our_files
from agent.profilers import async_profiler, jvm
from agent.profilers.attached import AttachedProfiler, Sampler, Seen
from agent.profilers.base import Available, Result, RunRequest, Started
from agent.profilers.crash_watch import CrashWatch
from agent.profilers.flight_recorder import FlightRecorder
from agent.stacks.jfr import BadRecording
from protocol.commands import ProfilingMode

MAX_TARGETS: Final = 8
EVENTS: Final[dict[ProfilingMode, str]] = {
    "cpu": "timer of the JVM, threads that run",
    "wall": "timer, every thread",
    "allocation": "allocations, sampled by the JVM",
}
NO_WALL: Final = (
    "only async-profiler has a wall clock for Java: put its asprof on PATH (where the JVM sees the host's files)"
)

log = structlog.get_logger(__name__)


class Java(AttachedProfiler):
    """One session of the one or the other for each JVM."""

    name = "java"
    runtime = "java"
    label = "Java"
    max_targets = MAX_TARGETS
    modes: frozenset[ProfilingMode] = frozenset({"cpu", "allocation", "wall"})

    def __init__(self) -> None:
        self._recorder = FlightRecorder()
        self._crashed: dict[int, str] = {}
        """Why the JVMs of a user are left alone, by the user's number."""

    def probe(self) -> Available:
        """Always. What a JVM says to it shows when it is asked."""
        binary = async_profiler.find()
        return Available(f"async-profiler by {binary}" if binary else "Flight Recorder of the JVM")

    def sampler(self, targets: Sequence[Process], request: RunRequest) -> Sampler | Result:  # noqa: ARG002 -- the base's
        """By one session in each JVM."""
        return Sampler(self._sample, EVENTS[request.mode], "bytes" if request.mode == "allocation" else "samples")

    async def _sample(
        self, target: Process, request: RunRequest, work_dir: Path, stop: asyncio.Event, started: Started
    ) -> Seen:
        if stop.is_set():
            return Seen()
        with CrashWatch(target.pid) as watch:
            if watch.user in self._crashed:
                return Seen(failure=self._crashed[watch.user])
            try:
                seen = await self._by_the_best(target, request, work_dir, stop, started)
            except (jvm.NoAnswer, BadRecording, OSError, ValueError) as problem:
                who = f"process {target.pid} ({target.name})"
                ended = "" if is_alive(target) else "; it has ended"
                seen = Seen(failure=f"Java could not be profiled in {who}: {problem}{ended}")
            if request.configs.java_safemode and not is_alive(target) and watch.crashed():
                self._crashed[watch.user] = (
                    f"JVM {target.pid} ({target.name}) crashed while it was profiled: no JVM of its user is attached"
                    " to until the agent is started again (its safe mode; --java-safemode= turns that off)"
                )
                log.error("java is left alone from now on", user=watch.user, reason=self._crashed[watch.user])
        return seen

    async def _by_the_best(
        self, target: Process, request: RunRequest, work_dir: Path, stop: asyncio.Event, started: Started
    ) -> Seen:
        binary = async_profiler.find()
        by_recorder = request.configs.options.get("java", {}).get("mode") == "jfr"  # the host's word: --java-mode
        if binary is not None and not by_recorder and sees_our_files(target):
            return await async_profiler.sample(binary, target, request, work_dir, stop, started)
        if request.mode == "wall":
            raise jvm.NoAnswer(NO_WALL)
        return await self._recorder.sample(target, request, work_dir, stop, started)
