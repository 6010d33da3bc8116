"""What a host bears, and what its owner allows a server to ask for. Pure: readings and settings in, a reason out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from agent.guard_settings import CPU_WINDOW, Allowed, Budget
from agent.profiler_configs import ProfilerConfigs
from protocol.commands import StartConfig

_MIB: Final = 1024 * 1024


@dataclass(frozen=True)
class Reading:
    """How things stand at one moment.

    Attributes:
        at: monotonic seconds.
        cpu_seconds: used by the agent and every profiler that it has started, since the agent began.
        memory_bytes: resident, of the agent and the profilers that run.
        load_per_cpu: the system's, over a minute.
        free_bytes: by directory.
    """

    at: float
    cpu_seconds: float
    memory_bytes: int
    load_per_cpu: float
    free_bytes: Mapping[str, int] = field(default_factory=dict)


def over_budget(readings: Sequence[Reading], budget: Budget) -> str | None:
    """Why no profiler may run, with the numbers; None when nothing speaks against it.

    Args:
        readings: oldest first; the newest counts, and the use of the CPU over the last `CPU_WINDOW` once they span it.
        budget: what is allowed.
    """
    if not readings:
        return None
    now = readings[-1]
    reasons = [
        _cpu(readings, budget),
        _above("the agent and its profilers take", now.memory_bytes / _MIB, _mib(budget.memory_bytes), "MiB of memory"),
        _above("the load for each CPU is", now.load_per_cpu, budget.load_per_cpu, "", digits=1),
        *(_below(name, free, budget.free_bytes) for name, free in now.free_bytes.items()),
    ]
    told = [reason for reason in reasons if reason is not None]
    return f"over this host's budget: {'; '.join(told)}" if told else None


def not_allowed(config: StartConfig, configs: ProfilerConfigs, allowed: Allowed) -> str | None:
    """Why a command is more than this host's owner allows, naming each field; None when it is not."""
    mode = configs.mode or config.profiling_mode
    faults = []
    if allowed.max_frequency_hz is not None and config.frequency > allowed.max_frequency_hz:
        faults.append(f"frequency: {config.frequency} Hz, at most {allowed.max_frequency_hz}")
    if allowed.max_duration is not None and config.duration > allowed.max_duration.total_seconds():
        faults.append(f"duration: {config.duration} s, at most {allowed.max_duration.total_seconds():.0f}")
    if allowed.modes is not None and mode not in allowed.modes:
        faults.append(f"profiling_mode: {mode}, only {_listed(allowed.modes)}")
    if config.continuous and not allowed.continuous:
        faults.append("continuous: not allowed")
    if allowed.profilers is not None and (others := configs.enabled - allowed.profilers):
        faults.append(f"profiler_configs: {_listed(others)}, only {_listed(allowed.profilers)}")
    if allowed.only_pids and config.pids is None:
        faults.append("pids: the command must name processes")
    return f"this host does not allow it: {'; '.join(faults)}" if faults else None


def _cpu(readings: Sequence[Reading], budget: Budget) -> str | None:
    now = readings[-1]
    before = next((one for one in reversed(readings) if now.at - one.at >= CPU_WINDOW), None)
    if before is None:
        return None
    elapsed = now.at - before.at
    percent = 100 * max(now.cpu_seconds - before.cpu_seconds, 0.0) / elapsed
    return _above(f"over {elapsed:.0f} s the agent and its profilers used", percent, budget.cpu_percent, "% of a core")


def _above(what: str, value: float, bound: float | None, unit: str, *, digits: int = 0) -> str | None:
    if bound is None or value <= bound:
        return None
    return f"{what} {value:.{digits}f} {unit}".rstrip() + f", at most {bound:.{digits}f}"


def _below(directory: str, free: int, bound: int | None) -> str | None:
    if bound is None or free >= bound:
        return None
    return f"{free / _MIB:.0f} MiB are free in {directory}, at least {bound / _MIB:.0f} must be"


def _mib(size: int | None) -> float | None:
    return None if size is None else size / _MIB


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))
