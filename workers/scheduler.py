"""The scheduler: sees to it that the next firing of each schedule is a job of rq's, and that none is forgotten.

rq may lose its jobs (its server flushed, a worker killed, a scheduler gone with its lock). What is due is in the
broker, and stays there until a firing is settled: each pass makes sure of its job anew. Jobs have unique ids and a
firing is taken in one step, so that any number of schedulers and workers fire once.
"""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from broker.schedule_store import ScheduleStore
from workers.job_queue import JobQueue

log = structlog.get_logger(__name__)

PASS_EVERY: Final = timedelta(seconds=0.25)
HORIZON: Final = timedelta(minutes=2)
"""Firings within this are handed to rq's scheduler."""
OVERDUE: Final = timedelta(seconds=1)
"""rq's scheduler queues a job within a pass or two of its moment; after this, we do."""
LOOK_AGAIN: Final = timedelta(seconds=3)
LOOK_AGAIN_BEFORE: Final = timedelta(seconds=30)
"""How often a job that is not due yet is looked for: one that is lost is found once it is overdue, anyhow."""
MOST: Final = 1_000
MOST_A_PASS: Final = 100
"""More than this would hold up rq's scheduler, whose turn comes once a pass."""


class Scheduler:
    """Keeps rq supplied with the firings that come next."""

    def __init__(self, store: ScheduleStore, queue: JobQueue) -> None:
        self._store = store
        self._queue = queue
        self._seen: dict[tuple[str, int, bool], float] = {}
        """Firing, and whether it was overdue -> when its job was last made sure of (s, monotonic)."""

    async def schedule(self, *, now: float | None = None) -> int:
        """One pass. Gives how many jobs were made sure of. `now` is in seconds since the epoch, by default the clock's.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        at = time.time() if now is None else now
        coming = await self._store.due(until=at + HORIZON.total_seconds(), most=MOST)
        left = await self._store.under_way(since=at - LOOK_AGAIN.total_seconds(), most=MOST)
        overdue_before = at - OVERDUE.total_seconds()
        firings = {(schedule_id, due, due < overdue_before) for schedule_id, due in coming}
        firings |= {(schedule_id, due, True) for schedule_id, due in left}
        self._seen = {
            firing: seen for firing, seen in self._seen.items() if firing in firings and not _is_old(firing, seen)
        }
        fresh = sorted(firings - self._seen.keys(), key=lambda firing: firing[1])[:MOST_A_PASS]
        for schedule_id, due, is_overdue in fresh:
            moment = None if is_overdue else datetime.fromtimestamp(due, UTC)
            job_id = await asyncio.to_thread(self._queue.ensure, "schedule", f"{schedule_id}-{due}", at=moment)
            self._seen[schedule_id, due, is_overdue] = time.monotonic()
            if is_overdue:
                log.info("overdue firing queued", job_id=job_id, late_seconds=round(at - due, 1))
        await asyncio.to_thread(self._queue.enqueue_due)
        return len(fresh)


def _is_old(firing: tuple[str, int, bool], seen: float) -> bool:
    """Whether it is time to look for the firing's job again."""
    _, _, is_overdue = firing
    pause = LOOK_AGAIN if is_overdue else LOOK_AGAIN_BEFORE
    return time.monotonic() - seen >= pause.total_seconds()
