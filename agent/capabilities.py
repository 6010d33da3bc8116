"""Which profilers this host offers, and why not the others."""

from collections.abc import Iterable
from typing import Any

from agent.profilers.base import Available, Profiler, probed


def capabilities(profilers: Iterable[Profiler]) -> dict[str, Any]:
    """Ask each profiler. Quick, but it touches the system: call it off the event loop."""
    offered: dict[str, Any] = {}
    modes: set[str] = set()
    for profiler in profilers:
        match probed(profiler):
            case Available(detail):
                offered[profiler.name] = {"available": True, "detail": detail}
                modes |= profiler.modes
            case unavailable:
                offered[profiler.name] = {"available": False, "reason": unavailable.reason}
    return {"profilers": offered, "profiling_modes": sorted(modes)}
