"""The artefact of a run: what was sampled, of what, when, and how well."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from agent.inventory import Label
from agent.profilers.base import Unit
from agent.stacks import collapsed
from agent.usage import Usage


@dataclass(frozen=True)
class ProfiledProcess:
    """One process in a profile: its pid, its name (the root frame), its number of samples, and what it runs in."""

    pid: int
    name: str
    samples: int
    labels: Label | None = None


@dataclass(frozen=True)
class Profile:
    """The artefact of a run.

    Attributes:
        stacks: collapsed stack → number of samples.
        started_at: when the first profiler began to sample; when the run was asked for, if none did.
        finished_at: when the last profiler ceased to sample; when the run was over, if none did.
        elapsed_seconds: between the two, by the monotonic clock.
        warnings: what could not be done, of a run that was good otherwise.
        error: why the run failed, in words a person can act on; None when it was good, or good in part.
        frequency_hz: how often a second was asked for.
        processes: what the samples are of, the busiest first.
        events: per profiler that sampled, what made a sample.
        unit: what the numbers beside the stacks count.
        capture_id: shared by profiles that belong together: of hosts that were to start at the same moment.
        command_id: of the command that asked for it.
        start_at: when it was to begin, where that was said.
        by_container: container → its stacks, under "" those of the host's own processes; empty where none is in one.
        usage: how busy the host was when the run was asked for, and when it was over.
        versions: of the profilers that sampled, where they tell.
    """

    stacks: dict[str, int]
    started_at: datetime
    finished_at: datetime
    elapsed_seconds: float
    warnings: list[str]
    error: str | None
    frequency_hz: int
    processes: tuple[ProfiledProcess, ...] = ()
    events: dict[str, str] = field(default_factory=dict)
    unit: Unit = "samples"
    capture_id: str | None = None
    command_id: str | None = None
    start_at: datetime | None = None
    by_container: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    usage: tuple[Usage, Usage] | None = None
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def samples(self) -> int:
        """How many samples all stacks hold."""
        return sum(self.stacks.values())

    @property
    def apart(self) -> Mapping[str, Mapping[str, int]]:
        """All stacks, container by container."""
        return self.by_container or {"": self.stacks}


def _by_container(parts: Sequence[Profile]) -> dict[str, dict[str, int]]:
    return {
        container: collapsed.merge(part.apart.get(container, {}) for part in parts)
        for container in {container for part in parts for container in part.apart}
    }


def joined(parts: Sequence[Profile]) -> Profile:
    """Captures that follow each other, as one profile. Without samples the last error stands."""
    if len(parts) == 1:
        return parts[0]
    stacks: Counter[str] = Counter()
    processes: Counter[tuple[int, str]] = Counter()
    labels: dict[int, Label | None] = {}
    for part in parts:
        stacks.update(part.stacks)
        processes.update({(process.pid, process.name): process.samples for process in part.processes})
        labels |= {process.pid: process.labels for process in part.processes if process.labels is not None}
    return replace(
        parts[0],
        stacks=dict(stacks),
        by_container=_by_container(parts) if any(part.by_container for part in parts) else {},
        finished_at=parts[-1].finished_at,
        elapsed_seconds=sum(part.elapsed_seconds for part in parts),
        warnings=list(dict.fromkeys(warning for part in parts for warning in part.warnings)),
        error=next((part.error for part in reversed(parts) if part.error), None),
        processes=tuple(
            ProfiledProcess(pid, name, count, labels.get(pid)) for (pid, name), count in processes.most_common()
        ),
        events={profiler: event for part in parts for profiler, event in part.events.items()},
        usage=(parts[0].usage[0], parts[-1].usage[1]) if parts[0].usage and parts[-1].usage else None,
        versions={profiler: version for part in parts for profiler, version in part.versions.items()},
    )
