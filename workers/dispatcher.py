"""The dispatcher: hands jobs that were asked for to rq, and stays with each until its effect is there.

rq may lose a job (a worker killed, its server flushed). The entry that asked for it is acked only when the work is
done, so the job is queued again until it is.
"""

import asyncio
import time
from datetime import timedelta
from typing import Final

import structlog

from broker.request_store import RequestStore
from broker.streams import Entry, GroupReader
from broker.uploads import Pushes, Uploads
from workers.job_queue import JobQueue

log = structlog.get_logger(__name__)

BLOCK: Final = timedelta(milliseconds=300)
"""How long uploads wait to be looked at, at most: whoever took a profile wants to see it."""
ANOTHER_JOB_EVERY_SECONDS: Final = 10
"""One that died with its worker is known to be dead after half a minute: what is uploaded meanwhile has the next one.

Any number of them may be at work at once: each upload is taken by one.
"""
TENDED_EVERY_SECONDS: Final = 120
PUSHED_EVERY_SECONDS: Final = 10
LOOK_AGAIN: Final = timedelta(seconds=3)


class Dispatcher:
    """From asked-for to done."""

    def __init__(
        self, store: RequestStore, queue: JobQueue, reader: GroupReader, uploads: Uploads, pushes: Pushes | None = None
    ) -> None:
        """`pushes` None: profiles are pushed nowhere."""
        self._store = store
        self._queue = queue
        self._reader = reader
        self._uploads = uploads
        self._pushes = pushes
        self._tended = self._pushed = 0

    async def dispatch(self) -> int:
        """One pass: hand new entries to rq, look after the older ones. Gives how many jobs were made sure of.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        fresh = await self._reader.read(count=100, block=BLOCK)
        overdue = await self._reader.claim(idle=LOOK_AGAIN)
        done = [entry for entry in (*fresh, *overdue) if await self._is_done(entry)]
        if done:
            await self._reader.ack(done, delete=True)
        waiting = [entry for entry in (*fresh, *overdue) if entry not in done]
        for entry in waiting:
            job_id = await asyncio.to_thread(self._queue.ensure, entry.fields["job"], entry.fields["request_id"])
            log.info("job asked for", job_id=job_id, deliveries=entry.deliveries)
        await self._tend()
        await self._push()
        return len(waiting) + await self._index()

    async def _tend(self) -> None:
        """Have stored profiles tended from time to time. Several dispatchers ask several times: it may be repeated."""
        turn = int(time.time()) // TENDED_EVERY_SECONDS
        if turn != self._tended:
            await asyncio.to_thread(self._queue.ensure, "tend", str(turn))
            self._tended = turn

    async def _index(self) -> int:
        """Have uploads indexed, where some wait: one job takes all there are."""
        if not (await self._uploads.lag()).behind:
            return 0
        turn = int(time.time()) // ANOTHER_JOB_EVERY_SECONDS
        await asyncio.to_thread(self._queue.ensure, "index", str(turn))
        return 1

    async def _push(self) -> None:
        """Have profiles pushed, where some wait: once a turn, as who does not take them now may not in a second."""
        turn = int(time.time()) // PUSHED_EVERY_SECONDS
        if self._pushes is not None and turn != self._pushed and (await self._pushes.lag()).behind:
            await asyncio.to_thread(self._queue.ensure, "push", str(turn))
            self._pushed = turn

    async def _is_done(self, entry: Entry) -> bool:
        record = await self._store.get(entry.fields["request_id"])
        if record is None:
            log.error("job for an unknown request dropped", request_id=entry.fields["request_id"])
            return True
        if entry.fields["job"] == "cancel":
            return await self._store.are_cancels_appended(record.request_id)
        return record.hosts_appended >= len(record.targets)
