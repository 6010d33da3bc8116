"""Whose turn it is to be sampled: every host of a service has its turn before any has a second one."""

import asyncio
import heapq
import random
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Final

from broker import codec, keys, scripts
from broker.connection import Broker
from broker.scripts import Sampled

FORGOTTEN_AFTER: Final = timedelta(days=30)
TRIES: Final = 10
"""Each try that fails is a sample that somebody else took meanwhile."""

_chance: Final = random.Random()  # noqa: S311 - whose turn it is among equals is no secret


def least_recent(hosts: Iterable[str], last: Mapping[str, int], count: int, *, chance: random.Random) -> list[str]:
    """`count` of the hosts: those that were sampled least recently, or never, come first; ties by chance."""
    return heapq.nsmallest(count, hosts, key=lambda host: (last.get(host, -1), chance.random()))


class Samples:
    """Remembers, for each service, when each of its hosts was sampled last."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def choose(
        self, tenant: str, service: str, hosts: Iterable[str], count: int, *, now: float, dry_run: bool = False
    ) -> list[str]:
        """Choose `count` of these hosts and note it, but for a dry run. `now` is in seconds since the epoch.

        Raises:
            BrokerUnavailable: the server cannot be reached; the turn may be noted all the same.
        """
        key, named = keys.sampled(tenant, service), list(hosts)
        for attempt in range(1, TRIES + 1):
            async with self._broker.guarded() as redis:
                scored: list[tuple[str, float]] = await redis.zrange(key, 0, -1, withscores=True)
            last = {host: int(moment) for host, moment in scored}
            # In a thread: among 100,000 hosts it takes a tenth of a second, and this loop serves heartbeats.
            chosen = await asyncio.to_thread(least_recent, named, last, count, chance=_chance)
            if dry_run:
                return chosen
            # Behind every moment noted so far, also when this process's clock is behind another's. A sample may take
            # the last hosts of one round and the first of the next: they keep that order.
            first = max(codec.ms(now), 1 + max(last.values(), default=0))
            ranks = {before: rank for rank, before in enumerate(sorted({last.get(host, -1) for host in chosen}))}
            taken = [
                Sampled(
                    host,
                    first + ranks[last.get(host, -1)],
                    "any" if attempt == TRIES else str(last.get(host, "")),
                )
                for host in chosen
            ]
            forget = codec.ms(now - FORGOTTEN_AFTER.total_seconds())
            call = scripts.sample(tenant, service, taken, forget=forget, ttl=FORGOTTEN_AFTER)
            if await self._broker.run(call) == "noted":
                break
        return chosen
