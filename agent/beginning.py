"""The moment at which a run is to begin, by the host's clock."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from agent.waiting import pause

PREPARE: Final = timedelta(seconds=5)
"""How long before the moment processes are looked for and perf is started, which then waits for a word."""
LOOK_EVERY: Final = timedelta(seconds=1)
"""How often the clock is looked at: while we wait, somebody may set it."""
LATE: Final = timedelta(seconds=1)
"""What begins later than this after its moment is told so: profiles of other hosts may not fit it."""


@dataclass(frozen=True)
class Beginning:
    """When a run may begin to sample.

    Attributes:
        moment: not before.
        released: set once what ran until then has let go of its targets. A profiler that sees every process, and
            attaches to none, need not wait for that.
    """

    moment: datetime
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def comes(self, *unless: asyncio.Event) -> bool:
        """Wait for the moment and until the targets are free; False when one of the events is set before."""
        if await until(self.moment, *unless):
            return False
        await _first(self.released, *unless)
        return self.released.is_set() and not any(event.is_set() for event in unless)


async def until(moment: datetime, *unless: asyncio.Event, clock: Callable[[], float] = time.time) -> bool:
    """Wait for a moment of the wall clock, or until one of the events is set; say whether one was.

    It never gives back control before the moment, however the clock is set meanwhile.
    """
    while (left := moment.timestamp() - clock()) > 0:
        if await pause(min(timedelta(seconds=left), LOOK_EVERY), *unless):
            return True
    return any(event.is_set() for event in unless)


def lateness(began: datetime, moment: datetime) -> str | None:
    """What to say of a run that began after its moment; None when it was on time."""
    late = began - moment
    if late <= LATE:
        return None
    return f"it began {late.total_seconds():.1f} s after its start_at, {moment.astimezone(UTC).isoformat()}"


async def _first(*events: asyncio.Event) -> None:
    waiters = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiter in waiters:
            waiter.cancel()
        await asyncio.gather(*waiters, return_exceptions=True)
