"""Every process by Linux perf: kernel frames, native ones, and those of JIT compilers that write a perf map.

A run is a row of recordings, each turned into stacks while the next one goes on: neither the disk it takes nor the wait
after a stop grows with the duration. Between two recordings perf takes a quarter of a second to start.
"""

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from agent.beginning import until
from agent.processes import Process, is_alive
from agent.profilers import reasons, spawn
from agent.profilers.base import Available, Result, RunRequest, Scope, Started, Unavailable
from agent.profilers.perf_control import is_unknown
from agent.profilers.perf_reading import read_back
from agent.profilers.perf_recording import Recording, record
from agent.profilers.perf_settings import MAX_COPIED, PerfMode, PerfSettings, asked_for, event_options
from agent.profilers.programs import found
from agent.stacks import depth, perf_script
from agent.stacks.collapsed import merge
from formats.scaling import scale
from protocol.commands import ProfilingMode

EVENTS: Final = ("cycles", "cpu-clock")
"""In order of preference. perf may take the second without a word when it is asked for the first."""
MAX_SEGMENT_SECONDS: Final = 60.0
MIN_SEGMENT_SECONDS: Final = 5.0
SEGMENT_SAMPLES: Final = 6_000
MAX_VERSION: Final = 256
_COUNTERS: Final = Path("/sys/bus/event_source/devices")


class Perf:
    """perf on the whole host, or on named processes."""

    name = "perf"
    scope: Scope = "host"
    modes: frozenset[ProfilingMode] = frozenset({"cpu"})
    prepares = True

    def __init__(
        self,
        binary: Path | None = None,
        *,
        events: Sequence[str] | None = None,
        settings: PerfSettings | None = None,
    ) -> None:
        self._binary = binary
        self._events = list(events) if events is not None else usable_events()
        self._settings = settings or PerfSettings()
        self._version: str | None = None

    def probe(self) -> Available | Unavailable:
        """Whether perf is on PATH. Whether it may sample shows when it does."""
        binary = self._find()
        return Available(str(binary)) if binary else Unavailable(reasons.INSTALL_PERF)

    def match(self, process: Process) -> bool:  # noqa: ARG002 -- the interface's; perf sees every process
        """It sees every process."""
        return True

    async def run(
        self,
        targets: Sequence[Process],
        request: RunRequest,
        work_dir: Path,
        stop: asyncio.Event,
        started: Started,
    ) -> Result:
        """Record until the duration is over, `stop` is set, or every named process has ended."""
        binary = self._find()
        if binary is None:
            return Result(error=reasons.INSTALL_PERF)
        settings, problems = asked_for(self._settings, request.configs)
        events = list(request.configs.perf_events) or self._events
        run = _Run(binary, events, settings, targets, request, work_dir, stop, started)
        run.warn(problems)
        try:
            async with asyncio.TaskGroup() as readers:
                asking = readers.create_task(self._ask_version(binary, work_dir))
                await run.record(readers)
                asking.cancel()  # if it has not told by now
        except* OSError as problems:
            run.error = f"perf could not run: {problems.exceptions[0]}"
        return replace(run.result(), version=self._version)

    async def _ask_version(self, binary: Path, work_dir: Path) -> None:
        """Note what perf says of itself, once."""
        if self._version is not None:
            return
        async with spawn.running([str(binary), "--version"], stdout=spawn.PIPE, cwd=work_dir) as child:
            said = (await child.stdout.read(MAX_VERSION)).decode(errors="replace").split()
        if said[:2] == ["perf", "version"]:
            self._version = said[-1]

    def _find(self) -> Path | None:
        return found("perf", self._binary)


def usable_events(devices: Path = _COUNTERS) -> list[str]:
    """`EVENTS` without the processor's cycles where the kernel has no counter of them, as on many virtual machines."""
    counted = any(devices.glob("*/events/cpu[-_]cycles"))
    return list(EVENTS) if counted else [EVENTS[-1]]


def segment_seconds(frequency_hz: int, cpus: int) -> float:
    """How long one recording lasts, so that reading it back stays below a second."""
    return max(MIN_SEGMENT_SECONDS, min(MAX_SEGMENT_SECONDS, SEGMENT_SAMPLES / (frequency_hz * cpus)))


class _Run:
    """The recordings of one run, and what they gave."""

    def __init__(
        self,
        binary: Path,
        events: list[str],
        settings: PerfSettings,
        targets: Sequence[Process],
        request: RunRequest,
        work_dir: Path,
        stop: asyncio.Event,
        started: Started,
    ) -> None:
        self._binary = binary
        self._events = events
        self._settings = settings
        self._targets = targets
        self._request = request
        self._work_dir = work_dir
        self._stop = stop
        self._started = started
        self._began = time.monotonic()
        self._workloads: set[int] = set()
        self._parts: list[perf_script.PerfSamples] = []
        self._warnings: list[str] = []
        self._unread: list[str] = []
        self._mode: PerfMode = "fp"
        self._beginning = request.beginning
        self._counting_since = 0.0
        self._ended: float | None = None
        self.error: str | None = None

    def warn(self, warnings: Sequence[str]) -> None:
        """Note what is to be said beside the stacks."""
        self._warnings.extend(warnings)

    async def record(self, readers: asyncio.TaskGroup) -> None:
        """One recording after the other; each is read back by a task of its own."""
        longest = segment_seconds(self._request.frequency_hz, os.cpu_count() or 1)
        self._mode = self._affordable(longest)
        left = self._request.duration.total_seconds()
        number = 0
        while left > 0 and not self._stop.is_set() and self.error is None:
            alive = [target for target in self._targets if is_alive(target)]
            if self._targets and not alive:
                self.error = None if number else "every named process has ended"
                return
            # a rest too short to be worth its own start is recorded along
            seconds = left if left - longest < MIN_SEGMENT_SECONDS else longest
            self._counting_since = time.monotonic()
            recording = await record(
                self._binary,
                self._options(alive),
                self._work_dir / f"perf-{number}.data",
                seconds=seconds,
                stop=self._stop,
                started=self._count,
                beginning=self._beginning,
            )
            if recording.workload is None:
                await self._explain(recording, alive)
                continue
            self._beginning = None
            self._ended = recording.ended
            self._workloads.add(recording.workload)
            readers.create_task(self._read_back(recording))
            number += 1
            left -= time.monotonic() - self._counting_since
            if recording.broke:
                self.error = reasons.perf(recording.said)

    def _count(self, at: float | None = None) -> None:
        """Perf counts since then; the time that it waited for its moment is none of the run's."""
        if self._beginning is not None:
            self._counting_since = time.monotonic() if at is None else at
        self._started(at)

    def _options(self, alive: Sequence[Process]) -> list[str]:
        where = ["-p", ",".join(str(target.pid) for target in alive)] if self._targets else ["-a"]
        events = event_options(self._mode, self._events[0], stack_size=self._settings.dwarf_stack_size)
        return [*events, "-F", str(self._request.frequency_hz), *where]

    def _affordable(self, seconds: float) -> PerfMode:
        """How stacks are followed in recordings of that length."""
        cpus, wanted = os.cpu_count() or 1, self._settings
        mode = wanted.affordable(frequency_hz=self._request.frequency_hz, cpus=cpus, seconds=seconds)
        if mode != wanted.mode and not wanted.restricted:
            self._warnings.append(
                "perf followed frame pointers alone: copies of stacks at"
                f" {self._request.frequency_hz} Hz on {cpus} CPUs would take more than {MAX_COPIED >> 20} MiB"
            )
        return mode

    async def _explain(self, recording: Recording, asked: Sequence[Process]) -> None:
        """Perf never came to count: try another event, or without those that have ended, or say why not."""
        if self._stop.is_set():
            self._warnings.append("the run was stopped before perf began to sample")
            return
        if self._beginning is not None and is_unknown(recording.said):
            self._warnings.append("perf cannot be told when to begin before 5.11: it was started at the moment itself")
            await until(self._beginning.moment, self._stop)
            self._beginning = None
        elif len(self._events) > 1 and reasons.perf_event_is_missing(recording.said):
            self._events.pop(0)  # for the later runs of this agent too: the machine will not get one
        elif all(is_alive(target) for target in asked):
            self.error = reasons.perf(recording.said)

    async def _read_back(self, recording: Recording) -> None:
        if "Maximum frequency rate" in recording.said:
            self._warnings.append(
                f"the kernel allows perf less than {self._request.frequency_hz} Hz:"
                " see /proc/sys/kernel/perf_event_max_sample_rate"
            )
        samples, problem = await read_back(self._binary, recording, self._stop)
        if self._mode == "smart" and samples.stacks and not samples.unwound:
            # perf took another event in place of both without a word, and with it went the names that tell them apart
            halves = {pid: scale(stacks, -(-sum(stacks.values()) // 2)) for pid, stacks in samples.stacks.items()}
            samples = replace(samples, stacks=halves)
            del self._events[:-1]
        self._parts.append(samples)
        if problem is not None:
            self._unread.append(f"one of perf's recordings could not be read in full: {problem}")

    def result(self) -> Result:
        """Everything that was seen of the targets, of every process without targets; never of the agent's children."""
        own = spawn.own_pids(self._began) | self._workloads
        named = {target.pid for target in self._targets}
        best = depth.deeper(
            _together([part.stacks for part in self._parts]), _together([part.unwound for part in self._parts])
        )
        pids = {pid for pid in best if pid not in own and (pid in named or not named)}
        if not pids and self.error is None and self._unread:
            self.error = self._unread[0]
        if pids and self.error is not None:
            self._warnings.append(f"perf ended early: {self.error}")
        return Result(
            stacks={pid: best[pid] for pid in pids},
            names={pid: name for part in self._parts for pid, name in part.names.items() if pid in pids},
            warnings=list(dict.fromkeys([*self._warnings, *self._unread])),
            error=None if pids else self.error,
            event=", ".join(sorted({event for part in self._parts for event in part.events})) or None,
            ended=self._ended,
        )


def _together(parts: Sequence[Mapping[int, Mapping[str, int]]]) -> dict[int, dict[str, int]]:
    """Per pid, the stacks of all recordings."""
    return {pid: merge(part.get(pid, {}) for part in parts) for pid in {pid for part in parts for pid in part}}
