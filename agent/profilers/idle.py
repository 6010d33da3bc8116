"""Targets that do nothing: which they are, and when one of them begins to work.

To attach costs the same whether a process works or not. Of a whole host, most processes of a runtime sleep most of the
time, and what is not on a CPU has no samples. So a process that has used so little since it began that a run like this
one would not see it once is left alone until it works; the host's profiler, which sees every process, counts it anyway.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import timedelta
from typing import Final

from agent.processes import Process, age_of, used_by
from agent.profilers.base import RunRequest
from agent.waiting import pause

LOOK_EVERY: Final = timedelta(seconds=0.5)
LOOKS_PER_SECOND: Final = 100
"""At most so many processes are looked at in a second: a hundredth of a second of CPU goes into some five hundred."""
LEAST_LEFT: Final = 1.0
"""With fewer seconds left nothing is attached to any more."""


def is_idle(used_seconds: float, age_seconds: float, request: RunRequest) -> bool:
    """Whether a process would give less than one sample, were it to work as it has since it began."""
    expected = request.frequency_hz * request.duration.total_seconds() * used_seconds / max(age_seconds, 1.0)
    return expected < 1


def idle_among(targets: Sequence[Process], request: RunRequest) -> dict[Process, float]:
    """Those that are to be left alone for now, and the CPU seconds that each has used: where another sees them.

    Named processes are all attached to, and so are all where time counts whether or not it is spent on a CPU.
    """
    if request.mode != "cpu" or request.pids is not None or not request.seen_by_host:
        return {}
    used = {target: used_by(target) for target in targets}
    return {
        target: seconds
        for target, seconds in used.items()
        if seconds is not None and is_idle(seconds, age_of(target), request)
    }


async def woken(
    idle: Mapping[Process, float], request: RunRequest, stop: asyncio.Event
) -> AsyncGenerator[tuple[Process, float], None]:
    """Each that begins to work, and the seconds that are left then, until too few are or `stop` is set.

    It works once it has used as much CPU as makes one sample.
    """
    end = time.monotonic() + request.duration.total_seconds()
    enough = 1 / request.frequency_hz
    asleep = dict(idle)
    rest = max(LOOK_EVERY, timedelta(seconds=len(idle) / LOOKS_PER_SECOND))
    while asleep and end - time.monotonic() > LEAST_LEFT + rest.total_seconds():
        if await pause(rest, stop):
            return
        now = await asyncio.to_thread(lambda: {process: used_by(process) for process in asleep})
        for process, seconds in now.items():
            if seconds is None:
                del asleep[process]
            elif seconds - asleep[process] >= enough:
                del asleep[process]
                yield process, end - time.monotonic()
