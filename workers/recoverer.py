"""The recoverer: claims doorbell entries that a dead merger left pending, and parks those that nobody can work off."""

import time
from datetime import timedelta
from typing import Final

import structlog

from broker.codec import ms
from broker.request_log import RequestLog, Ring
from broker.streams import GroupReader
from workers.merger import Merger

log = structlog.get_logger(__name__)

IDLE: Final = timedelta(seconds=5)
"""A merger works an entry off in milliseconds: one held for this long is dead or stuck."""
MOST_DELIVERIES: Final = 10


class Recoverer:
    """Takes over what was left behind."""

    def __init__(self, request_log: RequestLog, merger: Merger, reader: GroupReader) -> None:
        self._log = request_log
        self._merger = merger
        self._reader = reader

    async def recover(self) -> int:
        """One pass: claim, work off, park what was tried too often. Gives how many entries were claimed.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        entries = await self._reader.claim(idle=IDLE)
        if not entries:
            return 0
        log.info("entries claimed", entries=len(entries))
        rings = self._log.rings(entries)
        # A broker that comes and goes wears out nobody's tries: what cannot be worked off now, with the broker there,
        # is parked, and nothing else.
        places = dict.fromkeys(at for ring in rings for at in ring.places)
        left = places.keys() - await self._merger.compact_hosts(list(places))
        undone = [Ring(entry, tuple(at for at in rung_for if at in left)) for entry, rung_for in rings]
        acked = [entry for entry, not_done in undone if not not_done]
        if acked:
            await self._reader.ack(acked, delete=True)
        hopeless = [ring for ring in undone if ring.places and ring.entry.deliveries > MOST_DELIVERIES]
        if hopeless:
            await self._log.park(
                hopeless, reason="could not be compacted; the merger's log says why", now=ms(time.time())
            )
        for entry, not_done in hopeless:
            log.error("entry parked", entry_id=entry.entry_id, hosts=[at.path for at in not_done])
        return len(entries)
