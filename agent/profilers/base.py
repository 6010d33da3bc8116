"""What every profiler looks like to the agent."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal, Protocol

from agent.processes import Process
from protocol.commands import ProfilingMode

Scope = Literal["host", "process"]


@dataclass(frozen=True)
class RunRequest:
    """What to sample: `pids` None is the whole host. `exclude_pids` are neither attached to nor in the result."""

    frequency_hz: int
    duration: timedelta
    mode: ProfilingMode
    pids: frozenset[int] | None
    exclude_pids: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Available:
    """The profiler can be used here. `detail` says with what, for capabilities and logs."""

    detail: str = ""


@dataclass(frozen=True)
class Unavailable:
    """The profiler cannot be used here; `reason` says what a person can do about it."""

    reason: str


@dataclass(frozen=True)
class Result:
    """What one profiler saw.

    Attributes:
        stacks: per pid, collapsed stacks without a root frame for the process.
        names: per pid, the process's name, where the profiler knows it better than `/proc` does after the run.
        failures: per pid, why this target has no stacks of this profiler.
        skipped: the targets that were left out on purpose; a warning says why.
        warnings: what went wrong beside that; the stacks are still good.
        error: why nothing was sampled at all.
        event: what made a sample: perf's event, or `py-spy`'s timer.
    """

    stacks: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    names: Mapping[int, str] = field(default_factory=dict)
    failures: Mapping[int, str] = field(default_factory=dict)
    skipped: frozenset[int] = frozenset()
    warnings: Sequence[str] = ()
    error: str | None = None
    event: str | None = None


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
        started: Callable[[], None],
    ) -> Result:
        """Sample until the duration is over or `stop` is set, and give back what was seen.

        `started` is called when sampling has really begun. Trouble is told in the result; cancellation leaves no child
        behind. A host profiler without targets samples the whole host.
        """
