"""What every profiler looks like to the agent."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final, Literal, Protocol

import structlog

from agent.beginning import Beginning
from agent.processes import Process
from agent.profiler_configs import NO_CONFIGS, ProfilerConfigs
from protocol.commands import ProfilingMode

Scope = Literal["host", "process"]
Unit = Literal["samples", "bytes"]
PARTS: Final = ("name", "scope", "modes", "probe", "match", "run")
"""What a plug-in must have to be a `Profiler`."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class RunRequest:
    """What to sample: `pids` None is the whole host. `exclude_pids` are neither attached to nor in the result.

    `configs` says which profilers to use, and how. With a `beginning` nothing is sampled before that; only a profiler
    that `prepares` is run ahead of it, and waits itself. `seen_by_host` is set for profilers of a runtime where one of
    the host runs beside them, which sees those processes too.
    """

    frequency_hz: int
    duration: timedelta
    mode: ProfilingMode
    pids: frozenset[int] | None
    exclude_pids: frozenset[int] = frozenset()
    configs: ProfilerConfigs = NO_CONFIGS
    beginning: Beginning | None = None
    seen_by_host: bool = False


@dataclass(frozen=True)
class Available:
    """The profiler can be used here. `detail` says with what, for capabilities and logs."""

    detail: str = ""


@dataclass(frozen=True)
class Unavailable:
    """The profiler cannot be used here; `reason` says what a person can do about it."""

    reason: str


class Started(Protocol):
    """What a profiler calls when sampling has really begun."""

    def __call__(self, at: float | None = None) -> None:
        """It has begun at that moment of the monotonic clock, which may be past; now, where none is told."""


@dataclass(frozen=True)
class Result:
    """What one profiler saw.

    Attributes:
        stacks: per pid, collapsed stacks without a root frame for the process.
        names: per pid, the process's name, where the profiler knows it better than `/proc` does after the run.
        failures: per pid, why this target has no stacks of this profiler.
        skipped: the targets that were left out on purpose; a warning says why, unless they did nothing.
        asleep: whether all were left out, as none of them did anything.
        warnings: what went wrong beside that; the stacks are still good.
        error: why nothing was sampled at all.
        event: what made a sample: perf's event, or `py-spy`'s timer.
        unit: what the numbers beside the stacks count.
        version: of the program that sampled, where it is known.
        ended: when it ceased to sample, by the monotonic clock; where it is not told, when `run` came back with stacks.
    """

    stacks: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    names: Mapping[int, str] = field(default_factory=dict)
    failures: Mapping[int, str] = field(default_factory=dict)
    skipped: frozenset[int] = frozenset()
    asleep: bool = False
    warnings: Sequence[str] = ()
    error: str | None = None
    event: str | None = None
    unit: Unit = "samples"
    version: str | None = None
    ended: float | None = None


class Profiler(Protocol):
    """One way to sample. A `host` profiler sees every process at once; a `process` one attaches to each target."""

    name: str
    scope: Scope
    modes: frozenset[ProfilingMode]

    def probe(self) -> Available | Unavailable:
        """Say, quickly and without sampling, whether this profiler can work here."""

    def match(self, process: Process) -> bool:
        """Whether this profiler understands the process."""

    async def run(
        self,
        targets: Sequence[Process],
        request: RunRequest,
        work_dir: Path,
        stop: asyncio.Event,
        started: Started,
    ) -> Result:
        """Sample until the duration is over or `stop` is set, and give back what was seen.

        `started` is called when sampling has really begun. Trouble is told in the result; cancellation leaves no child
        behind. A host profiler without targets samples the whole host.
        """


class Broken:
    """Stands for a profiler that cannot be loaded, so that the reason is seen where a person looks for it."""

    scope: Scope = "process"
    modes: frozenset[ProfilingMode] = frozenset()

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason

    def probe(self) -> Available | Unavailable:
        """Never available."""
        return Unavailable(self.reason)

    def match(self, process: Process) -> bool:  # noqa: ARG002 -- the interface's
        """It understands nothing."""
        return False

    async def run(
        self,
        targets: Sequence[Process],  # noqa: ARG002 -- the interface's
        request: RunRequest,  # noqa: ARG002 -- the interface's
        work_dir: Path,  # noqa: ARG002 -- the interface's
        stop: asyncio.Event,  # noqa: ARG002 -- the interface's
        started: Started,  # noqa: ARG002 -- the interface's
    ) -> Result:
        """Say why it cannot run."""
        return Result(error=self.reason)


def probed(profiler: Profiler) -> Available | Unavailable:
    """What the profiler says of itself; one whose probe breaks is unavailable."""
    try:
        return profiler.probe()
    except Exception as problem:
        # The boundary to profilers, which may be other people's: one that breaks must not take the agent along.
        log.exception("probe broke", profiler=profiler.name)
        return Unavailable(f"{profiler.name} cannot say whether it works here: {problem!r}")


def on_demand(profiler: Profiler) -> bool:
    """Whether it runs only where a command enables it by name: what it does to a target is more than to look at it."""
    return bool(getattr(profiler, "on_demand", False))


def prepares(profiler: Profiler) -> bool:
    """Whether it is run ahead of a request's beginning, and waits for it, so as to begin at the very moment."""
    return bool(getattr(profiler, "prepares", False))


def matching(profiler: Profiler, processes: Iterable[Process]) -> list[Process]:
    """The processes that the profiler understands; none, if it breaks over the question."""
    try:
        return [process for process in processes if profiler.match(process)]
    except Exception:  # as above
        log.exception("match broke", profiler=profiler.name)
        return []
