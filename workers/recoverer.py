"""The recoverer: claims doorbell entries that a dead merger left pending, and parks those that nobody can work off."""

import time
from datetime import timedelta
from typing import Final

import structlog

from broker.codec import ms
from broker.request_log import RequestLog
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
        rung = self._log.places(entries)
        # A broker that comes and goes wears out nobody's tries: what cannot be worked off now, with the broker there,
        # is parked, and nothing else.
        done = set(await self._merger.compact_hosts(list(rung)))
        acked = [entry for at in done for entry in rung[at]]
        if acked:
            await self._reader.ack(acked, delete=True)
        for at, held in rung.items():
            hopeless = [entry for entry in held if entry.deliveries > MOST_DELIVERIES and at not in done]
            if hopeless:
                reason = "could not be compacted; the merger's log says why"
                await self._log.park(at, hopeless, reason=reason, now=ms(time.time()))
                log.error("entry parked", host=at.path, entries=len(hopeless))
        return len(entries)
