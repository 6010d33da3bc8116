"""One run: pick profilers, sample, merge what they saw into one profile."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import structlog

from agent import labels, usage
from agent.beginning import Beginning
from agent.inventory import Label
from agent.processes import NoSuchTarget, Process, ProcessTable, is_alive, names_of
from agent.profilers import spawn
from agent.profilers.base import (
    Available,
    Profiler,
    Result,
    RunRequest,
    Unavailable,
    matching,
    on_demand,
    prepares,
    probed,
)
from agent.profilers.registry import installed
from agent.run_profile import Profile, ProfiledProcess
from agent.stacks import combine
from agent.waiting import pause

__all__ = ["capture", "installed"]

MAX_REASONS: Final = 10
FIRST: Final = timedelta(seconds=0.25)
"""So long after the moment a profiler that has prepared for it goes first, if it has not begun by then."""
PERF_BOUNDS: Final = {"restricted": 600, "aggressive": 1_500}
"""With more processes than that perf is not run on the whole host: `enabled_restricted`, `enabled_aggressive`."""

log = structlog.get_logger(__name__)

_processes: Final = ProcessTable()


async def capture(
    request: RunRequest,
    *,
    work_dir: Path,
    stop: asyncio.Event,
    on_start: Callable[[], None],
    profilers: Sequence[Profiler] | None = None,
) -> Profile:
    """Sample what the request names until its duration is over or `stop` is set.

    `on_start` is called once, when the first profiler really samples. Trouble with profiling is told in the profile's
    `error` and `warnings`, never raised; cancellation kills every child. Mode `none` samples nothing and succeeds.
    """
    if request.mode == "cpu" and request.configs.mode is not None:
        request = replace(request, mode=request.configs.mode)
    run = _Run(request, stop, on_start)
    if request.mode == "none":
        if request.beginning is None or await request.beginning.comes(stop):
            run.start()
        return run.profile()
    known = (await asyncio.to_thread(installed)) if profilers is None else profilers
    run.warn([*request.configs.not_understood, *request.configs.unknown(frozenset(one.name for one in known))])
    able = [profiler for profiler in known if request.mode in profiler.modes]
    if able and not (able := [profiler for profiler in able if profiler.name not in request.configs.disabled]):
        return run.profile(error=f"every profiler that does mode {request.mode!r} is disabled by the command")
    only = request.configs.only
    if able and only is not None and not (able := [profiler for profiler in able if profiler.name in only]):
        allowed = ", ".join(sorted(only)) or "none"
        return run.profile(error=f"no profiler that this host allows ({allowed}) does mode {request.mode!r}")
    able = [profiler for profiler in able if profiler.name in request.configs.enabled or not on_demand(profiler)]
    if not able:
        has = ", ".join(f"{profiler.name}: {'/'.join(sorted(profiler.modes))}" for profiler in known) or "none"
        return run.profile(error=f"no installed profiler does mode {request.mode!r} (installed are {has})")
    try:
        scratch = await asyncio.to_thread(_make_scratch, work_dir)
    except OSError as problem:
        return run.profile(error=f"cannot write to the agent's work directory {work_dir}: {problem.strerror}")
    try:
        await run.sample(able, scratch)
    finally:
        await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)
    return run.profile()


class _Run:
    """The state of one run, from the plan to the profile."""

    def __init__(self, request: RunRequest, stop: asyncio.Event, on_start: Callable[[], None]) -> None:
        self._request = request
        self._stop = stop
        self._on_start = on_start
        self._asked = time.monotonic()
        self._asked_at = datetime.now(UTC)
        self._usage = usage.take()
        self._labels: dict[int, Label] = {}
        self._started: tuple[float, datetime] | None = None
        self._ended: float | None = None
        self._samples = asyncio.Event()
        self._seen_by_host = False
        self._one_prepares = False
        self._targets: dict[int, Process] = {}
        self._reasons: list[str] = []
        self._warnings: list[str] = []
        self._results: list[tuple[Profiler, Result]] = []

    def start(self, at: float | None = None) -> None:
        """The first call says that sampling has begun; of later ones the earliest says since when."""
        now = time.monotonic()
        began = now if at is None else min(at, now)
        first = self._started is None
        if self._started is None or began < self._started[0]:
            self._started = (began, datetime.now(UTC) - timedelta(seconds=now - began))
        if first:
            self._samples.set()
            self._on_start()

    def warn(self, warnings: Sequence[str]) -> None:
        """Note what is to be said beside the profile."""
        self._warnings.extend(warnings)

    async def sample(self, profilers: Sequence[Profiler], scratch: Path) -> None:
        """Run every profiler that has something to do."""
        usable, unusable = await asyncio.to_thread(_probe, profilers)
        whole_host = self._request.pids is None
        hidden = self._request.exclude_pids | spawn.own_pids(self._asked)
        # Before any profiler starts: one that is being started looks like the Python process that starts it.
        found = await asyncio.to_thread(_processes.all if whole_host else self._look_up)
        self._targets = {process.pid: process for process in found if process.pid not in hidden}
        host = [profiler for profiler in usable if profiler.scope == "host" and self._may_run(profiler, len(found))]
        unmatched = dict(self._targets)
        self._seen_by_host = bool(host) and whole_host
        async with asyncio.TaskGroup() as group:
            group.create_task(self._note_labels())  # now: some processes end before the run does
            for profiler in usable:
                if profiler.scope == "process" and (mine := matching(profiler, unmatched.values())):
                    for process in mine:  # the first that understands a process has it: no process is attached to twice
                        del unmatched[process.pid]
                    group.create_task(self._run(profiler, mine, scratch))
            if whole_host or unmatched:
                self._one_prepares = any(map(prepares, host))
                for profiler in host:
                    targets = [] if whole_host else list(self._targets.values())
                    group.create_task(self._run(profiler, targets, scratch))
        self._explain_unusable(unusable, unmatched, has_host=bool(host))

    def _may_run(self, profiler: Profiler, processes: int) -> bool:
        """Whether the command, or this host's own settings, let perf look at a host with so many processes."""
        configs = self._request.configs
        bound, by = PERF_BOUNDS.get(configs.perf_bound or ""), f"enabled_{configs.perf_bound}"
        if configs.perf_up_to is not None and (bound is None or configs.perf_up_to < bound):
            bound, by = configs.perf_up_to, "--skip-system-profilers-above"
        if profiler.name != "perf" or self._request.pids is not None or bound is None or processes <= bound:
            return True
        self._warnings.append(f"perf was not run: the host has {processes} processes, and {by} allows {bound}")
        return False

    async def _note_labels(self) -> None:
        self._labels = await asyncio.to_thread(labels.of, list(self._targets))

    def _look_up(self) -> list[Process]:
        """The named processes; why one cannot be profiled is noted."""
        own = spawn.own_pids(self._asked)
        found = []
        for pid in sorted(self._request.pids or ()):
            if pid in self._request.exclude_pids:
                self._reasons.append(f"process {pid} is excluded: a stop took it out of profiling")
            elif pid in own:
                self._reasons.append(f"process {pid} is the agent itself, which does not profile itself")
            else:
                try:
                    found.append(_processes.find(pid))
                except NoSuchTarget as missing:
                    self._reasons.append(str(missing))
        return found

    def _explain_unusable(
        self, unusable: Sequence[tuple[Profiler, str]], unmatched: dict[int, Process], *, has_host: bool
    ) -> None:
        """Say what the profilers that are not there would have given: those that had something to do here."""
        wanted = {reason for one, reason in unusable if one.scope == "host" or matching(one, unmatched.values())}
        reasons = [reason for _, reason in unusable if reason in wanted]
        why = "; ".join(dict.fromkeys(reasons)) or "no profiler knows its runtime"
        if self._request.pids is None:
            self._reasons.extend(reasons)
            if not has_host and not any(result.error is None for _, result in self._results):
                self._reasons.insert(
                    0, f"nothing here that the installed profilers can sample in mode {self._request.mode}"
                )
        elif not has_host:
            self._reasons.extend(
                f"process {pid} ({process.name}) cannot be profiled: {why}"
                for pid, process in sorted(unmatched.items())
            )
        elif reasons:
            self._warnings.append(why)

    async def _run(self, profiler: Profiler, targets: Sequence[Process], scratch: Path) -> None:
        beginning = self._request.beginning
        if beginning is not None and not prepares(profiler) and not await self._comes(beginning):
            return
        try:
            request = replace(self._request, seen_by_host=self._seen_by_host and profiler.scope == "process")
            result = await profiler.run(targets, request, scratch, self._stop, self.start)
        except Exception as problem:
            # The boundary to profilers, which may be other people's: one that breaks must not take the run along.
            log.exception("profiler broke", profiler=profiler.name)
            result = Result(error=f"{profiler.name} broke: {problem!r}; the agent's log has the traceback")
        ended = result.ended if result.ended is not None or not result.stacks else time.monotonic()
        self._ended = max((moment for moment in (self._ended, ended) if moment is not None), default=None)
        self._results.append((profiler, result))
        self._warnings.extend(result.warnings)
        gone = [pid for pid in result.failures if self._request.pids is None and not is_alive(self._targets[pid])]
        self._reasons.extend(reason for pid, reason in result.failures.items() if pid not in gone)
        if gone:
            self._warnings.append(f"processes that ended before {profiler.name} could sample them: {len(gone)}")
        if result.error is not None:
            self._reasons.append(result.error)

    async def _comes(self, beginning: Beginning) -> bool:
        """Wait for the moment; starting programs then must not delay the word to the profiler that is ready for it."""
        if not await beginning.comes(self._stop):
            return False
        if self._one_prepares:
            await pause(FIRST, self._samples, self._stop)
        return not self._stop.is_set()

    def profile(self, *, error: str | None = None) -> Profile:
        """What the run left."""
        processes, names = self._merge()
        now = time.monotonic()
        begun, begun_at = self._started or (self._asked, self._asked_at)
        finished = now if self._ended is None else max(self._ended, begun)
        stacks = combine.whole(processes, names)
        good = bool(stacks) or any(_was_good(result) for _, result in self._results)
        warnings = list(self._warnings)
        if error is None and self._reasons and not good:
            error = _in_short(self._reasons)
        elif good:
            warnings = [*self._reasons, *warnings]
        if good and self._request.pids is not None:
            unseen = {pid for _, result in self._results for pid in (*result.failures, *result.skipped)}
            idle = sorted(set(self._targets) - set(processes) - unseen)
            warnings += [f"process {pid} ({self._targets[pid].name}) used no CPU: no samples" for pid in idle]
        counts = {pid: sum(stacks.values()) for pid, stacks in processes.items()}
        self._labels |= labels.of(counts.keys() - self._targets.keys())
        return Profile(
            stacks=stacks,
            started_at=begun_at,
            finished_at=max(datetime.now(UTC) - timedelta(seconds=now - finished), begun_at),
            elapsed_seconds=finished - begun,
            warnings=warnings,
            error=error,
            frequency_hz=self._request.frequency_hz,
            processes=tuple(
                ProfiledProcess(pid, names[pid], count, self._labels.get(pid))
                for pid, count in sorted(counts.items(), key=lambda one: -one[1])
            ),
            events={
                profiler.name: result.event for profiler, result in self._results if result.event and result.stacks
            },
            unit=next((result.unit for _, result in self._results if result.stacks), "samples"),
            by_container=self._by_container(processes, names),
            usage=(self._usage, usage.take()),
            versions={
                profiler.name: result.version for profiler, result in self._results if result.version and result.stacks
            },
        )

    def _by_container(
        self, processes: Mapping[int, Mapping[str, int]], names: Mapping[int, str]
    ) -> dict[str, dict[str, int]]:
        """The same stacks, container by container."""
        inside = {pid: self._labels[pid].container if pid in self._labels else "" for pid in processes}
        if not any(inside.values()):
            return {}
        return {
            container: combine.whole({pid: processes[pid] for pid, mine in inside.items() if mine == container}, names)
            for container in set(inside.values())
        }

    def _merge(self) -> tuple[dict[int, dict[str, int]], dict[int, str]]:
        """Each process's stacks by the profiler that knows it best, and its name."""
        # A host's profiler that saw nothing at all, stopped before it began, is no account to scale to.
        host = [result for profiler, result in self._results if profiler.scope == "host" and result.stacks]
        runtime = [result for profiler, result in self._results if profiler.scope == "process"]
        hidden = self._request.exclude_pids
        processes = combine.by_process(
            {pid: stacks for result in host for pid, stacks in result.stacks.items() if pid not in hidden}
            if host
            else None,
            {pid: stacks for result in runtime for pid, stacks in result.stacks.items() if pid not in hidden},
            failed=frozenset(pid for result in runtime for pid in result.failures),
        )
        names = {pid: f"pid {pid}" for pid in processes}
        for result in host:
            names |= {pid: name for pid, name in result.names.items() if pid in processes}
        names |= {pid: process.name for pid, process in self._targets.items() if pid in processes}
        names |= names_of(frozenset(processes) - frozenset(self._targets))
        return processes, names


def _make_scratch(work_dir: Path) -> Path:
    work_dir.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="run-", dir=work_dir)).absolute()


def _probe(profilers: Sequence[Profiler]) -> tuple[list[Profiler], list[tuple[Profiler, str]]]:
    usable, unusable = [], []
    for profiler in profilers:
        match probed(profiler):
            case Available():
                usable.append(profiler)
            case Unavailable(reason):
                unusable.append((profiler, reason))
    return usable, unusable


def _was_good(result: Result) -> bool:
    """Whether it sampled at least one target, even an idle one."""
    return result.error is None and not result.asleep and (bool(result.stacks) or not result.failures)


def _in_short(reasons: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(reasons))
    more = f"; and {len(distinct) - MAX_REASONS} more" if len(distinct) > MAX_REASONS else ""
    return "; ".join(distinct[:MAX_REASONS]) + more
