"""The same code on a Redis Cluster of three masters with a replica each, by its URL."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from broker import keys, scripts
from broker.check_deployment import found_out
from broker.connection import Broker, Call, Script
from broker.errors import BrokerUnavailable, ClusterNotNamed
from broker.fitness import Verdict, fits, judge
from broker.host_registry import HostRegistry
from broker.nudges import Nudges
from broker.request_log import MERGERS, RequestLog
from broker.request_store import RequestStore
from broker.results import Results
from broker.roster import Roster
from broker.settings import BrokerSettings
from broker.token_store import TokenKind, TokenStore
from protocol.audit_chain import Point
from protocol.audit_chain import append as chained
from protocol.names import DEFAULT_TENANT
from tests.support.builders import NOW, submitted
from tests.support.cluster_hosts import count_on, hosts_of_every_partition, listening, outcomes
from tests.support.played_host import PlayedHost
from tests.support.redis_cluster import RunningCluster, emptied_cluster
from tests.support.roles_at_work import before_long, roles_at_work

SHORTLY = timedelta(milliseconds=50)
SOON = 20.0


@pytest.fixture
async def broker(cluster: RunningCluster) -> AsyncIterator[Broker]:
    async with emptied_cluster(cluster) as connected:
        yield connected


async def test_a_request_for_hosts_of_every_partition_goes_all_the_way(broker: Broker, cluster: RunningCluster) -> None:
    for node in cluster.serving:
        node.ask("SCRIPT", "FLUSH")  # each script is unknown to each node at first
    hosts = hosts_of_every_partition(broker)
    for host in hosts:
        host.now = time.time()
    assert len({cluster.owner_of(keys.doorbell(host.at.partition)).port for host in hosts}) == 3
    names = [host.key.host for host in hosts]
    store = RequestStore(broker)
    async with roles_at_work(broker, "merger", "projector", "janitor"):
        record = await submitted(broker, now=time.time(), target_hostnames=names, duration=60)
        for host in hosts:
            await before_long(lambda host=host: host.state(), what="a command")  # type: ignore[misc]  # bound now
            command = await host.begin()
            assert command.command_id == record.command_id
            assert await host.complete(command.command_id) == "recorded"

        async def all_completed() -> bool:
            statuses = await store.statuses(record.request_id)
            return [statuses.get(name, {}).get("state") for name in names] == ["completed"] * len(names)

        await before_long(all_completed, what="the projection")
    assert await outcomes(broker, "completed") == {(name, record.request_id): 1 for name in names}
    assert await RequestLog(broker).append(record.wishes()) == 0, "a repeated submission appends nothing"
    assert await store.get(record.request_id) == record
    assert await store.owner_of(record.command_id) == (DEFAULT_TENANT, "web")


NOTHING = Point(0)
PLAYED = {"submit", "load", "settle", "beat", "complete"}
"""The scripts that a host's story runs by itself."""


def elsewhere(request_id: str) -> list[Call]:
    """A call of each script whose keys are no host's: of a request, a service, the schedules, a role."""
    day = timedelta(days=1)
    return [
        scripts.project(request_id, [scripts.Step("x", "1-1", "completed", True, "1", {})]),
        scripts.swap(request_id),
        scripts.pace(request_id, first=0, candidates=(), ended={}, ttl=day),
        scripts.join(request_id, path="x", ttl=day),
        scripts.sample("default", "web", [scripts.Sampled("x", 1, "any")], forget=0, ttl=day),
        scripts.save_schedule(
            "s", tenant="default", member="s", revision=0, most=9, facts="{}", active=True, reason="", next_fire_at="9",
            forget_failures=False,
        ),
        scripts.take_firing("s", 9, now=9_000),
        scripts.settle_firing("s", 9, revision=1, next_fire_at=99, keep=9),
        scripts.hold("tester", instance="i", ttl_ms=1_000),
        scripts.find_token("d1"),
        scripts.rotate_token("t", before="d1", after="d2", facts="{}", now="2026-01-01", until="2026-01-02"),
        scripts.revoke_token("t", digest="d1", now="2026-01-01"),
        scripts.enrol(
            "default/web/x", enrolment_id="e", max_uses=1, tenant="default", token_id="t", digest="d", facts="{}",
            member="m",
        ),
    ]  # fmt: skip


async def test_every_script_runs_on_every_node(broker: Broker, cluster: RunningCluster) -> None:
    for node in cluster.serving:
        node.ask("SCRIPT", "FLUSH")
    known = {script.name: script for script in all_scripts()}
    assert {path.stem for path in Path(scripts.__file__).parent.glob("*.lua")} == {*known, "common"}
    of_hosts: set[str] = set(PLAYED)
    for host in hosts_of_every_partition(broker):
        record = await host.submit()
        await host.settle()
        await host.complete((await host.begin()).command_id)
        entry = (await _doorbell(broker, host))[0]
        now, partition = int(host.now * 1000), host.at.partition
        calls = [
            scripts.due(partition, now=now, most=5, again_in_ms=1000),
            scripts.park(
                partition, [host.at.path], group=MERGERS, entry_id=entry, reason="a test", deliveries=1, now=now
            ),
            scripts.cancel(partition, record.request_id, [host.at], reason="a test", entry="{}", remembered_s=60),
            scripts.lose(host.at, silent_since=now, reason="a test", now=now),
            scripts.speak(host.at, by=scripts.Credential(), now=now),
            scripts.keep_inventory(host.at, scripts.PackedInventory("a digest", "{}"), ttl=timedelta(days=1)),
            scripts.move(host.at, record.request_id, entry="{}"),
            scripts.states([host.at]),
            scripts.append_audit(partition, chained([{"id": "a"}], after=NOTHING), after=NOTHING),
            scripts.look_audit(partition, after="0-0", most=9),
            scripts.trim_audit(partition, first_kept="0-1"),
            scripts.hush(host.at._replace(path="default/web/"), grace=1, known=2, quiet=2, now=now),
            scripts.replay(partition, "1-1", how="done", remember="x", ttl_s=60),
            scripts.advance(keys.doorbell(partition), group=MERGERS, to="0-1"),
        ]
        of_hosts |= {call.script.name for call in calls}
        assert not [answer for answer in await broker.run_all(calls) if isinstance(answer, Exception)]
    others = elsewhere(record.request_id)
    assert not [answer for answer in await broker.run_all(others) if isinstance(answer, Exception)]
    assert of_hosts | {call.script.name for call in others} == set(known)
    shas = [known[name].sha for name in of_hosts]
    for node in cluster.serving:
        assert node.ask("SCRIPT", "EXISTS", *shas) == [True] * len(shas)


def all_scripts() -> list[Script]:
    """Every Lua script of ours."""
    return [each for name in vars(scripts) if isinstance(each := getattr(scripts, name), Script)]


async def _doorbell(broker: Broker, host: PlayedHost) -> list[str]:
    reader = RequestLog(broker).reader("parker")
    await reader.prepare()
    async with broker.guarded() as redis:
        return [entry_id for entry_id, _ in await redis.xrange(keys.doorbell(host.at.partition))]


async def test_a_nudge_wakes_held_beats_of_every_node(broker: Broker, cluster: RunningCluster) -> None:
    hosts = hosts_of_every_partition(broker)
    async with listening(Nudges(broker), cluster) as nudges:
        with contextlib.ExitStack() as stack:
            waiters = [stack.enter_context(nudges.waiter(host.at.path)) for host in hosts]
            for host in hosts:
                await host.submit()
            assert not any(woken.is_set() for woken in waiters)
            for host in hosts:
                await host.settle()
            await asyncio.wait_for(asyncio.gather(*(woken.wait() for woken in waiters)), SOON)


async def test_fleet_tokens_and_roster_are_kept_across_nodes(broker: Broker) -> None:
    hosts = hosts_of_every_partition(broker)
    for host in hosts:
        await host.beat()
    registry = HostRegistry(broker)
    assert sorted(await registry.live(DEFAULT_TENANT, "web", since=NOW - 1)) == sorted(host.key for host in hosts)
    known = [host.key async for host in registry.all_of(DEFAULT_TENANT)]
    assert sorted(known) == sorted(host.key for host in hosts)
    assert await registry.forget_silent(now=NOW + 8 * 86_400) == len(hosts)
    tokens = TokenStore(broker)
    token = await tokens.add("secret", kind=TokenKind.OPERATOR, tenant="t", services=("*",))
    rotated = await tokens.rotate(token, "another secret", overlap=timedelta(seconds=60))
    assert rotated is not None
    assert [each async for each in tokens.all_of("t")] == [rotated]
    assert (await tokens.revoke(token.token_id, tenant="t")) is not None
    await Roster(broker).sign("merger", "a", now=NOW)
    assert await Roster(broker).present(now=NOW) == {"merger": 1}
    assert await Results(broker).trim(now=time.time()) == 0


async def test_the_cluster_fits_and_the_check_leaves_nothing_behind(broker: Broker, cluster: RunningCluster) -> None:
    before = [node.ask("DBSIZE") for node in cluster.serving]
    facts = await found_out(broker, has_queue_of_its_own=True)
    rows = judge(facts)
    assert fits(rows)
    # A busy machine may answer slowly: that is told, and no reason not to use it.
    assert {row.name for row in rows if row.verdict is not Verdict.OK} - {"latency"} == {"fsync"}
    assert sum(node.partitions for node in facts.nodes) == broker.partitions
    assert [node.ask("DBSIZE") for node in cluster.serving] == before


async def test_a_url_that_speaks_of_one_server_is_refused_on_a_node(cluster: RunningCluster) -> None:
    url = f"redis://127.0.0.1:{cluster.nodes[0].port}"
    async with Broker.opened(BrokerSettings(redis_url=SecretStr(url))) as broker:
        with pytest.raises(ClusterNotNamed, match=r"redis\+cluster://"):
            await broker.wait_until_ready()


async def test_a_cluster_that_is_not_there_is_unavailable() -> None:
    settings = BrokerSettings(redis_url=SecretStr("redis+cluster://127.0.0.1:1,127.0.0.1:2"))
    async with Broker.opened(settings) as broker:
        for attempt in (
            broker.ping(),
            broker.run(count_on("a")),
            broker.settle_layout(),
            HostRegistry(broker).live("t", "s", since=0),
        ):
            with pytest.raises(BrokerUnavailable):
                await attempt


# --- readers ----------------------------------------------------------------------------------------------------------


async def test_what_a_cancelled_reader_had_been_given_is_claimed(broker: Broker) -> None:
    hosts = hosts_of_every_partition(broker)
    log = RequestLog(broker)
    cancelled = log.reader("cancelled")
    reading = asyncio.create_task(cancelled.read(count=1, block=timedelta(seconds=5)))
    await asyncio.sleep(0.1)
    for host in hosts:
        await host.submit()
    taken = await reading
    reading = asyncio.create_task(cancelled.read(count=1, block=timedelta(seconds=5)))
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await asyncio.sleep(0.1)
    heir = log.reader("heir")
    found: set[str] = set()

    async def has_all() -> bool:
        """A server that is late may hand an entry to the cancelled one while the heir is looking."""
        found.update(entry.stream for entry in await heir.claim(idle=timedelta(0)))
        found.update(entry.stream for entry in await heir.read(count=100, block=SHORTLY))
        return found == {keys.doorbell(host.at.partition) for host in hosts}

    await before_long(has_all, what="what the cancelled one had been given")
    assert len(taken) == 1


async def test_two_readers_of_a_group_share_what_comes(broker: Broker) -> None:
    hosts = hosts_of_every_partition(broker)
    readers = [RequestLog(broker).reader(name) for name in ("a", "b")]
    for host in hosts:
        for _ in range(3):
            await host.submit()
    seen: Counter[tuple[str, str]] = Counter()
    while sum(seen.values()) < 3 * len(hosts):
        both = await asyncio.gather(*(reader.read(count=4, block=SHORTLY) for reader in readers))
        for reader, entries in zip(readers, both, strict=True):
            assert len(entries) <= 4
            seen.update((entry.stream, entry.entry_id) for entry in entries)
            await reader.ack(entries, delete=True)
    assert set(seen.values()) == {1}
    assert await readers[0].read(count=4, block=timedelta(milliseconds=20)) == []
