"""What happens to tokens elsewhere: each process that remembers tokens reads their changes, once a second.

A stream and not a channel: a reader that was away for a moment hears what it has missed.
"""

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Any, Final

import structlog

from broker import keys
from broker.connection import Broker
from broker.errors import BrokerUnavailable

log = structlog.get_logger(__name__)

LOOK_EVERY_SECONDS: Final = 1.0
MOST_AT_ONCE: Final = 1_000
LONG_AWAY_SECONDS: Final = 60.0
"""After such a break the stream may have been trimmed past our place, or belong to another server: anything may be."""

Heard = Callable[[Collection[str] | None], None]
"""Is told the ids of tokens that were rotated or revoked; None: any may have been."""


class TokenChanges:
    """The changes of tokens, as one process hears them."""

    def __init__(self, broker: Broker, *, rotated: Callable[[str], None] | None = None) -> None:
        """Hear nothing yet. `rotated` is told the digest of each new secret of a token."""
        self._broker = broker
        self._rotated = rotated
        self._last_id: str | None = None
        self._heard_at = float("-inf")

    @property
    def silence(self) -> float:
        """Seconds since we last knew of every change."""
        return time.monotonic() - self._heard_at

    async def look(self, heard: Heard) -> None:
        """Tell what has changed since the last look; at the first one: anything may have.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        if self._last_id is None or self.silence > LONG_AWAY_SECONDS:
            async with self._broker.guarded() as redis:
                newest: list[tuple[str, Any]] = await redis.xrevrange(keys.token_changes(), count=1)
            self._last_id = newest[0][0] if newest else "0-0"
            heard(None)
        while True:
            asked_at = time.monotonic()
            async with self._broker.guarded() as redis:
                entries: list[tuple[str, dict[str, str]]] = await redis.xrange(
                    keys.token_changes(), min=f"({self._last_id}", count=MOST_AT_ONCE
                )
            if entries:
                self._last_id = entries[-1][0]
                heard({fields["token"] for _, fields in entries})
                for _, fields in entries:
                    if self._rotated is not None and (digest := fields.get("digest")):
                        self._rotated(digest)
            if len(entries) < MOST_AT_ONCE:
                self._heard_at = asked_at
                return

    async def follow(self, heard: Heard) -> None:
        """Look every second, across restarts of the broker, until cancelled."""
        while True:
            try:
                await self.look(heard)
            except BrokerUnavailable as error:
                log.debug("changes of tokens not heard", reason=error.reason)
            await asyncio.sleep(LOOK_EVERY_SECONDS)
