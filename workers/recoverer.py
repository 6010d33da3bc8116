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
        """One pass: claim, park what was tried too often, work the rest off. Gives how many entries were claimed.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        entries = await self._reader.claim(idle=IDLE)
        hopeless = [entry for entry in entries if entry.deliveries > MOST_DELIVERIES]
        for at, parked in self._log.places(hopeless).items():
            reason = "could not be compacted; the merger's log says why"
            await self._log.park(at, parked, reason=reason, now=ms(time.time()))
            log.error("entry parked", host=at.path, entries=len(parked))
        hopeful = [entry for entry in entries if entry.deliveries <= MOST_DELIVERIES]
        if hopeful:
            log.info("entries claimed", entries=len(hopeful))
            await self._merger.work_off(self._log.places(hopeful))
        return len(entries)
