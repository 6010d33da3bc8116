"""Which worker roles are at work: each says so after its passes, with what it has measured of itself."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from broker import codec, keys
from broker.connection import Broker

API: Final = "api"
"""The role of the processes that hear heartbeats; workers sign under their own names."""
ABSENT_AFTER: Final = timedelta(seconds=15)
FORGOTTEN_AFTER: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance of a role. `passed_at`: seconds since the epoch, by its own clock; `facts`: what it measured."""

    role: str
    name: str
    passed_at: float
    facts: Mapping[str, Any]

    def is_present(self, *, now: float) -> bool:
        """Whether it made a pass lately."""
        return self.passed_at >= now - ABSENT_AFTER.total_seconds()


class Roster:
    """Who made a pass lately."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def sign(self, role: str, instance: str, *, now: float, facts: Mapping[str, Any] | None = None) -> None:
        """Say that an instance of a role has just made a pass; facts go in as JSON.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        name = f"{role}/{instance}"
        limit = codec.ms(now - FORGOTTEN_AFTER.total_seconds())
        async with self._broker.guarded() as redis:
            await redis.zadd(keys.roles(), {name: codec.ms(now)})
            if facts is not None:
                await redis.hset(keys.role_facts(), name, json.dumps(dict(facts)))
            gone: list[str] = await redis.zrange(keys.roles(), "-inf", limit, byscore=True)
            if gone:
                # Facts first: a name without facts is shown as such, facts without a name would stay for ever.
                await redis.hdel(keys.role_facts(), *gone)
                await redis.zremrangebyscore(keys.roles(), "-inf", limit)

    async def present(self, *, now: float) -> dict[str, int]:
        """Role -> how many of its instances made a pass lately.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        counts: dict[str, int] = {}
        for instance in await self.instances():
            if instance.is_present(now=now):
                counts[instance.role] = counts.get(instance.role, 0) + 1
        return counts

    async def instances(self) -> list[Instance]:
        """Everybody who made a pass within the last hour, by role and name.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis:
            passes: list[tuple[str, float]] = await redis.zrange(keys.roles(), 0, -1, withscores=True)
            facts: dict[str, str] = await redis.hgetall(keys.role_facts())
        found = []
        for name, passed_at in passes:
            role, _, instance = name.partition("/")
            found.append(Instance(role, instance, passed_at / 1000, json.loads(facts.get(name, "{}"))))
        return sorted(found, key=lambda each: (each.role, each.name))
