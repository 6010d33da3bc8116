"""The janitor: rings for hosts whose clock has run out, trims what everybody has read, forgets who is long gone."""

import time
from datetime import timedelta
from typing import Final

import structlog

from broker.audit import AuditTrail
from broker.codec import ms
from broker.events import Events
from broker.host_registry import HostRegistry
from broker.request_log import RequestLog
from broker.results import Results
from broker.streams import GroupReader

log = structlog.get_logger(__name__)

RING_EVERY: Final = timedelta(seconds=0.5)
RING_AGAIN: Final = timedelta(seconds=30)
SWEEP_EVERY: Final = timedelta(minutes=1)


class Janitor:
    """Keeps time and order."""

    def __init__(
        self,
        request_log: RequestLog,
        results: Results,
        registry: HostRegistry,
        readers: list[GroupReader],
        *,
        events: Events,
        audit: AuditTrail,
    ) -> None:
        self._log = request_log
        self._results = results
        self._registry = registry
        self._readers = readers
        self._events = events
        self._audit = audit
        self._swept_at = time.monotonic()

    async def ring(self) -> int:
        """One pass of the clocks: compaction looks at each host whose deadline has come. Gives how many hosts.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        rung = await self._log.ring_due(now=ms(time.time()), again_in_ms=ms(RING_AGAIN.total_seconds()))
        if time.monotonic() - self._swept_at >= SWEEP_EVERY.total_seconds():
            self._swept_at = time.monotonic()
            await self.sweep()
        return rung

    async def sweep(self) -> None:
        """One pass of the broom.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        now = time.time()
        trimmed = await self._results.trim(now=now)
        trimmed += await self._events.trim(now=now)
        trimmed += await self._audit.trim(now=now)
        forgotten = await self._registry.forget_silent(now=now)
        gone = [await reader.forget_dead_consumers() for reader in self._readers]
        if trimmed or forgotten or any(gone):
            log.info("swept", entries_trimmed=trimmed, hosts_forgotten=forgotten, consumers_forgotten=sum(gone))
