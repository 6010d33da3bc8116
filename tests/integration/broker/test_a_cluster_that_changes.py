"""A Redis Cluster whose slots move and whose masters go: what was answered is kept, and nothing runs twice."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from broker import keys, replicas
from broker.connection import Broker
from broker.errors import BrokerUnavailable
from broker.nudges import Nudges
from broker.slot_map import Node, SlotMap, slot_of
from tests.support.builders import NOW, submitted
from tests.support.cluster_hosts import count_on, hosts_of_every_partition, listening, outcomes
from tests.support.faults import LATE, REFUSED, Faults, befallen
from tests.support.persistent_agent import carried_out
from tests.support.played_host import PlayedHost
from tests.support.redis_cluster import RunningCluster, emptied_cluster
from tests.support.repeated_story import RepeatedStory
from tests.support.roles_at_work import before_long, roles_at_work
from workers import merger, projector, recoverer

SOON = 20.0
"""A listener follows a failover within a second; on a busy machine it may have to wait for its turn."""


@pytest.fixture
async def broker(cluster: RunningCluster) -> AsyncIterator[Broker]:
    async with emptied_cluster(cluster) as connected:
        yield connected


# --- slots that move --------------------------------------------------------------------------------------------------


async def test_a_slot_that_moves_is_followed_and_nothing_runs_twice(broker: Broker, cluster: RunningCluster) -> None:
    key, slot = "pcs:{move}:count", slot_of("pcs:{move}:count")
    source = cluster.owner_of(key)
    target = next(node for node in cluster.serving if node is not source)
    source_id, target_id = source.ask("CLUSTER", "MYID"), target.ask("CLUSTER", "MYID")
    assert await broker.run(count_on(key)) == 1
    source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
    target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
    try:
        assert await broker.run_all([count_on(key), count_on(f"{key}2")], replicated=True) == [2, 1], (
            "one asked, one told"
        )
        with pytest.raises(BrokerUnavailable, match="TryAgain"):
            await broker.run(count_on(key, f"{key}2"))  # its keys are on two nodes just now: not executed
        source.ask("MIGRATE", "127.0.0.1", target.port, key, 0, 5000)
        assert await broker.run(count_on(key)) == 3
        assert await broker.run(count_on(key, f"{key}2")) == 4
    finally:
        for node in (target, source, *(node for node in cluster.serving if node not in (source, target))):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", target_id)
    assert await broker.run_all([count_on(key)] * 3) == [5, 6, 7], "moved"
    async with broker.guarded() as redis, redis.pipeline(transaction=True) as pipe:
        pipe.get(key)
        pipe.get(f"{key}2")
        assert await pipe.execute() == ["7", "1"]
    target.ask("FLUSHALL")
    for node in (source, target, *(node for node in cluster.serving if node not in (source, target))):
        node.ask("CLUSTER", "SETSLOT", slot, "NODE", source_id)


async def test_a_look_that_the_end_cuts_short_leaves_no_connection_open(broker: Broker) -> None:
    """Wherever it stands: at the call, or already at closing its own connections."""
    made: list[Any] = []

    def connect(node: Node) -> Any:
        made.append(broker.redis.connect(node))
        return made[-1]

    for steps in range(40):
        slots = SlotMap(broker.redis.slots.primaries, connect)
        looking = asyncio.create_task(slots._look_again())
        slots._looking = looking
        for _ in range(steps):
            time.sleep(0.0005)  # noqa: ASYNC251 - the answers of all nodes come while the loop does something else
            await asyncio.sleep(0)
        await slots.aclose()
        assert looking.done()
    pools = [client.connection_pool for client in made]
    each = [connection for pool in pools for connection in (*pool._available_connections, *pool._in_use_connections)]
    left_open = [connection for connection in each if connection.is_connected]
    for connection in left_open:
        await connection.disconnect()
    assert left_open == []
    assert len(each) > 40, "it hardly ever came to a connection: this test sees nothing"


# --- failover ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica is waited for though it has to wait for its turn on a busy machine: after 0.5 s we go on without it."""
    monkeypatch.setattr(replicas, "WAIT_MS", 4_000)


@pytest.mark.usefixtures("_patient")
async def test_a_submission_is_with_a_replica_when_it_is_answered(broker: Broker, cluster: RunningCluster) -> None:
    host = PlayedHost(broker)
    await host.submit()
    replica = cluster.replica_of(cluster.owner_of(keys.requests(host.at)))
    with replica.client as client:
        assert client.execute_command("READONLY")
        assert client.xlen(keys.requests(host.at)) == 1


async def test_a_submission_is_accepted_when_the_replica_does_not_follow(
    broker: Broker, cluster: RunningCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    host = PlayedHost(broker)
    owner = cluster.owner_of(keys.requests(host.at))
    replica = cluster.replica_of(owner)

    def waits() -> int:
        return int(owner.ask("INFO", "commandstats").get("cmdstat_wait", {"calls": 0})["calls"])

    replica.role.pause()
    try:
        assert await host.append((await submitted(broker, now=NOW)).wishes().popitem()[1]) == 0
        assert "no replica has confirmed" in capsys.readouterr().out
        before = waits()
        assert before > 0
        await host.submit()
        assert waits() == before, "and is not waited for again and again"
    finally:
        replica.role.resume()
    cluster.wait_until_whole()


@pytest.mark.usefixtures("_patient")
async def test_a_failover_in_the_middle_loses_nothing_that_was_answered(
    broker: Broker, cluster: RunningCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for role in (recoverer, projector):
        monkeypatch.setattr(role, "IDLE", timedelta(seconds=1))
    hosts = hosts_of_every_partition(broker)
    for host in hosts:
        host.now = time.time()
    accepted: list[tuple[str, str]] = []
    async with roles_at_work(broker, "merger", "recoverer", "projector"), listening(Nudges(broker), cluster) as nudges:
        first = await submitted(broker, now=time.time(), target_hostnames=[host.key.host for host in hosts])
        accepted += [(host.key.host, first.request_id) for host in hosts]
        victim = cluster.owner_of(keys.doorbell(0))
        hit = [host for host in hosts if cluster.owner_of(keys.doorbell(host.at.partition)) is victim]
        victim.role.kill()
        end = time.monotonic() + 30
        for host in hosts:  # requests go on, whoever is refused comes again
            while True:
                try:
                    record = await host.submit(frequency=97)
                except BrokerUnavailable:
                    assert time.monotonic() < end, "the failover was never followed"
                    await asyncio.sleep(0.05)
                else:
                    accepted.append((host.key.host, record.request_id))
                    break
        assert cluster.owner_of(keys.doorbell(0)) is not victim, "there was no failover"
        ran = await asyncio.gather(*(carried_out(host) for host in hosts))
        assert all(ran)
        assert [times for host_ran in ran for times in host_ran.values()] == [1] * sum(map(len, ran)), (
            "nothing ran twice"
        )
        with nudges.waiter(hit[0].at.path) as woken:
            await hit[0].submit()
            await asyncio.wait_for(woken.wait(), SOON)

        async def all_ended() -> bool:
            return {*accepted} <= {*await outcomes(broker, "completed")}

        await before_long(all_ended, what="the end of every accepted request")
    told = await outcomes(broker, "completed", "failed", "expired", "stopped", "superseded")
    assert {request: told[request] for request in accepted} == dict.fromkeys(accepted, 1)
    victim.role.restart()
    cluster.wait_until_whole()


async def test_on_a_cluster_too_every_request_ends_once_whatever_is_refused_or_late(
    cluster: RunningCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for role in (merger, projector):
        monkeypatch.setattr(role, "BLOCK", timedelta(milliseconds=20))
    for role in (recoverer, projector):
        monkeypatch.setattr(role, "IDLE", timedelta(milliseconds=20))
    faults = Faults(5, refused=0.05, late=0.08)
    async with emptied_cluster(cluster), Broker.opened(cluster.settings) as fresh, befallen(fresh, faults) as broker:
        story = RepeatedStory(broker, 5, hosts=4)
        await story.play(requests=4)
        with faults.off():
            await story.check()
    assert faults.counts[REFUSED] > 5
    assert faults.counts[LATE] > 5
