"""What a host's owner may set: what profiling may cost, what a server may ask for. Apart, as the help needs it."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

KILL_SWITCH: Final = "/etc/gprofiler/disabled"
CPU_WINDOW: Final = 10.0
"""Seconds over which use of the CPU is averaged: reading a recording back is short and may take a core."""
_MIB: Final = 1024 * 1024


@dataclass(frozen=True)
class Budget:
    """What profiling may cost this host. None is no bound.

    Attributes:
        cpu_percent: of one core, agent and profilers together, on average over `CPU_WINDOW`.
        memory_bytes: resident, agent and profilers together.
        load_per_cpu: the system's load over a minute for each CPU.
        free_bytes: what must stay free where profiles and scratch files are written.
    """

    cpu_percent: float | None = 200.0
    memory_bytes: int | None = 2_048 * _MIB
    load_per_cpu: float | None = None
    free_bytes: int | None = 64 * _MIB


@dataclass(frozen=True)
class Allowed:
    """What a server may ask for. None is anything.

    Attributes:
        profilers: names of profilers; others are not used, and may not be asked for by name.
        continuous: whether a run may go on until it is stopped.
        only_pids: whether a command must name processes.
    """

    max_frequency_hz: int | None = None
    max_duration: timedelta | None = None
    modes: frozenset[str] | None = None
    profilers: frozenset[str] | None = None
    continuous: bool = True
    only_pids: bool = False


@dataclass(frozen=True)
class GuardSettings:
    """What the host's owner has set. `max_deaths` 0 is never."""

    budget: Budget = field(default_factory=Budget)
    allowed: Allowed = field(default_factory=Allowed)
    kill_switch: str | None = KILL_SWITCH
    max_deaths: int = 3
