"""How busy the host is at one moment."""

import os
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Usage:
    """What the kernel counts.

    Attributes:
        load: processes that run or wait for it, on average over 1, 5 and 15 minutes.
        busy_seconds: of all CPUs together since the host started; likewise `idle_seconds`.
        memory_used: bytes that are neither free nor easily freed.
    """

    load: tuple[float, float, float]
    busy_seconds: float
    idle_seconds: float
    memory_used: int

    def cpu_percent_until(self, later: "Usage") -> float | None:
        """Which share of all CPUs was used between the two; None where the kernel's clock did not move."""
        busy, idle = later.busy_seconds - self.busy_seconds, later.idle_seconds - self.idle_seconds
        return round(100 * busy / (busy + idle), 1) if busy >= 0 and idle >= 0 and busy + idle > 0 else None


def take() -> Usage:
    """Now. Reads three files of the kernel's."""
    times = psutil.cpu_times()
    idle = times.idle + times.iowait
    # a guest's time is counted in the user's already (man 5 proc)
    total = sum(times) - times.guest - times.guest_nice
    memory = psutil.virtual_memory()
    return Usage(os.getloadavg(), total - idle, idle, memory.total - memory.available)
