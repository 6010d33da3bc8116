"""Hosts in every partition of a cluster, what was told of them, and nudges heard from every node."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator

from broker import keys
from broker.connection import Broker, Call
from broker.nudges import Nudges
from tests.support.builders import a_host
from tests.support.counting import COUNT_UP
from tests.support.played_host import PlayedHost
from tests.support.redis_cluster import RunningCluster
from tests.support.roles_at_work import before_long


def hosts_of_every_partition(broker: Broker) -> list[PlayedHost]:
    """One host each, in the partitions' order."""
    found: dict[int, PlayedHost] = {}
    number = 0
    while len(found) < broker.partitions:
        host = PlayedHost(broker, a_host(f"web-{number}"))
        found.setdefault(host.at.partition, host)
        number += 1
    return [found[partition] for partition in range(broker.partitions)]


async def outcomes(broker: Broker, *states: str) -> Counter[tuple[str, str]]:
    """(host, request) -> how often one of these states was told of it."""
    found: Counter[tuple[str, str]] = Counter()
    async with broker.guarded() as redis:
        for partition in range(broker.partitions):
            for _, fields in await redis.xrange(keys.results(partition)):
                if fields["state"] in states:
                    found.update((fields["hostname"], request_id) for request_id in fields["request_ids"].split())
    return found


@contextlib.asynccontextmanager
async def listening(nudges: Nudges, cluster: RunningCluster) -> AsyncIterator[Nudges]:
    """Nudges that are listened for at every node, by the nodes' word, which wakes everybody once for each."""
    are_on, wake_all = 0, nudges.wake_all

    def woken() -> None:
        nonlocal are_on
        are_on += 1
        wake_all()

    nudges.wake_all = woken  # type: ignore[method-assign]  # of these alone
    task = asyncio.create_task(nudges.listen())

    async def everywhere() -> bool:
        return are_on >= len(cluster.serving)

    try:
        await before_long(everywhere, what="a listener at every node")
        yield nudges
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def count_on(key: str, *others: str) -> Call:
    """A call that counts how often it ran."""
    return Call(COUNT_UP, [key, *others], [])
