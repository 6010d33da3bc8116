"""Which worker roles are at work: each says so after every pass."""

from datetime import timedelta
from typing import Final

from broker import codec, keys
from broker.connection import Broker

API: Final = "api"
"""The role of the processes that hear heartbeats; workers sign under their own names."""
ABSENT_AFTER: Final = timedelta(seconds=15)


class Roster:
    """Who made a pass lately."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def sign(self, role: str, instance: str, *, now: float) -> None:
        """Say that an instance of a role has just made a pass.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis:
            await redis.zadd(keys.roles(), {f"{role}/{instance}": codec.ms(now)})
            await redis.zremrangebyscore(keys.roles(), "-inf", codec.ms(now - 3600))

    async def present(self, *, now: float) -> dict[str, int]:
        """Role -> how many of its instances made a pass lately.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis:
            since = codec.ms(now - ABSENT_AFTER.total_seconds())
            names: list[str] = await redis.zrange(keys.roles(), since, "+inf", byscore=True)
        counts: dict[str, int] = {}
        for name in names:
            role = name.partition("/")[0]
            counts[role] = counts.get(role, 0) + 1
        return counts
