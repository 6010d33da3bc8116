"""Chains, live events and limits on a Redis Cluster: partitions lie on several nodes, and all is as on one server."""

import asyncio
from collections.abc import AsyncIterator
from uuid import NAMESPACE_URL, uuid5

import pytest

from broker import keys
from broker.audit import AuditTrail
from broker.connection import Broker
from broker.limits import WindowLimits
from broker.live import LiveFeed
from broker.quotas import Quota
from tests.support.audit import an_act, check_chain, records_of
from tests.support.redis_cluster import RunningCluster, emptied_cluster

FAMILIES = ("results", "audit")


@pytest.fixture
async def broker(cluster: RunningCluster) -> AsyncIterator[Broker]:
    async with emptied_cluster(cluster) as connected:
        yield connected


def tenants_of_every_partition(trail: AuditTrail, partitions: int) -> list[str]:
    found: dict[int, str] = {}
    number = 0
    while len(found) < partitions:
        found.setdefault(trail.partition_of(f"tenant-{number}"), f"tenant-{number}")
        number += 1
    return list(found.values())


async def test_each_tenant_has_its_chain_wherever_it_lies(broker: Broker) -> None:
    trails = [AuditTrail(broker) for _ in range(2)]
    tenants = tenants_of_every_partition(trails[0], broker.partitions)
    await asyncio.gather(*(trail.write(*(an_act(tenant) for tenant in tenants)) for trail in trails for _ in range(5)))
    for tenant in tenants:
        assert await check_chain(broker, tenant) == 10
        assert {record["tenant"] for record in await records_of(broker, tenant)} == {tenant}


async def test_live_events_come_from_every_node_and_go_on_from_a_cursor(broker: Broker) -> None:
    feed, trail = LiveFeed(broker), AuditTrail(broker)
    tenants = tenants_of_every_partition(trail, broker.partitions)

    async def happen() -> None:
        await broker.send([
            ("XADD", keys.results(at), "*", "tenant", "default", "state", "x") for at in range(broker.partitions)
        ])  # fmt: skip
        await trail.write(*(an_act(tenant) for tenant in tenants))

    async def hear(cursor: str | None) -> tuple[set[int], str]:
        after = feed.read_cursor(cursor) if cursor else None
        async with feed.listening(lambda _: True, FAMILIES, after=after) as listener, asyncio.timeout(20):
            if after is None:
                await happen()
            streams: list[int] = []
            while len(streams) < 2 * broker.partitions:
                for told in await feed.take(listener, within=1.0):
                    listener.passed(told)
                    streams.append(told.stream)
            assert len(set(streams)) == len(streams), "each once"
            return set(streams), listener.cursor

    first, cursor = await hear(None)
    await happen()
    second, _ = await hear(cursor)
    assert first == second


async def test_a_limit_holds_for_all_processes_wherever_its_window_lies(
    cluster: RunningCluster, broker: Broker
) -> None:
    """Each token's two counters are on one node; the tokens are on all of them."""
    quota = Quota(5, 60)
    names = [str(uuid5(NAMESPACE_URL, str(number))) for number in range(12)]
    windows = {name: f"submissions/{name}/{quota.amount}/{quota.seconds}/second" for name in names}
    processes = [WindowLimits(broker) for _ in range(2)]
    for name in names:
        taken = await asyncio.gather(*(each.take("submissions", name, quota) for each in processes for _ in range(4)))
        assert sum(one.passed for one in taken) == quota.amount, "no more than one server would let pass"
        assert all(50 <= one.seconds <= 61 for one in taken if not one.passed)
        assert (await processes[0].take("stops", name, quota)).passed, "another lane has a window of its own"
    answers = await broker.send([("EXISTS", keys.window(window)) for window in windows.values()])
    assert answers == [1] * len(names), "counted under the keys of the one server"
    counted = [len(node.ask("KEYS", "*submissions/*:window")) for node in cluster.serving]
    assert min(counted) > 0, "tokens of this test are on every node"
    assert sum(counted) == len(names)
