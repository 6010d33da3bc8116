"""A lease: of all instances of a role one works, the others stand by and take over when it is gone."""

import time
from datetime import timedelta
from typing import Final

from broker import scripts
from broker.connection import Broker

LASTS: Final = timedelta(seconds=30)


class Lease:
    """One instance's claim on a role. It saves double work; it is no fence: a process can be paused while it holds."""

    def __init__(self, broker: Broker, role: str, instance: str, *, lasts: timedelta = LASTS) -> None:
        self._broker = broker
        self._role = role
        self._instance = instance
        self._lasts = lasts
        self._held_until = 0.0

    @property
    def is_sure(self) -> bool:
        """Whether it was held a moment ago, and half of its life is left: enough for one more step."""
        return time.monotonic() < self._held_until - self._lasts.total_seconds() / 2

    async def hold(self) -> bool:
        """Take it or renew it; whether this instance holds it now.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        asked_at = time.monotonic()
        ttl_ms = int(self._lasts.total_seconds() * 1000)
        answer = await self._broker.run(scripts.hold(self._role, instance=self._instance, ttl_ms=ttl_ms))
        held = int(answer) == 1
        self._held_until = asked_at + self._lasts.total_seconds() if held else 0.0
        return held
