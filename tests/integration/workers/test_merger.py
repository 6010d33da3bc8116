"""The merger: what was rung for is compacted, stored, and only then acked."""

import asyncio
import json
import time
from collections import Counter

import pytest

from broker import keys
from broker.command_store import CommandStore
from broker.connection import Broker
from broker.request_log import MERGERS, RequestLog
from broker.streams import GroupReader
from protocol.names import HostKey
from tests.support.builders import a_host, a_start, submitted
from tests.support.played_host import PlayedHost
from workers.merger import Merger


def a_host_now(broker: Broker, name: str = "web-01") -> PlayedHost:
    """A host whose story is told by the wall clock, as the merger's is."""
    host = PlayedHost(broker, a_host(name))
    host.now = time.time()
    return host


def a_merger(broker: Broker, name: str = "m") -> tuple[Merger, GroupReader]:
    log = RequestLog(broker)
    reader = log.reader(name)
    return Merger(log, CommandStore(broker), reader), reader


@pytest.fixture
def merger(broker: Broker) -> Merger:
    return a_merger(broker)[0]


async def unacked(broker: Broker) -> int:
    """Doorbell entries that were handed out and are not done."""
    total = 0
    async with broker.guarded() as redis:
        for partition in range(broker.partitions):
            total += (await redis.xpending(keys.doorbell(partition), MERGERS))["pending"]
    return total


async def unread_or_unacked(broker: Broker) -> int:
    total = 0
    async with broker.guarded() as redis:
        for partition in range(broker.partitions):
            total += await redis.xlen(keys.doorbell(partition))
    return total


async def test_a_pass_turns_a_request_into_a_command(broker: Broker, merger: Merger) -> None:
    host = a_host_now(broker)
    record = await host.submit(duration=5)
    assert await merger.merge() == 1
    assert (await host.take()).command_id == record.command_id
    assert await unread_or_unacked(broker) == 0, "what is done is gone from the doorbell"


async def test_two_starts_in_one_gap_arrive_as_one_command(broker: Broker, merger: Merger) -> None:
    host = a_host_now(broker)
    await host.submit(duration=60, frequency=99, pids=[1, 2])
    newer = await host.submit(duration=120, frequency=11, pids=[3])
    await merger.merge()
    command = await host.take()
    config = json.loads(command.command)["combined_config"]
    assert (config["duration"], config["frequency"], config["pids"]) == (120, 99, [1, 2, 3])
    assert (command.command_id, command.generation) == (newer.command_id, 1)


async def test_a_pass_without_work_waits_and_does_nothing(broker: Broker, merger: Merger) -> None:
    assert await merger.merge() == 0
    async with broker.guarded() as redis:
        assert not [key async for key in redis.scan_iter("pcs:*:command:*")]


async def test_a_ring_for_nothing_is_acked(broker: Broker, merger: Merger) -> None:
    host = a_host_now(broker)
    async with broker.guarded() as redis:
        await redis.xadd(keys.doorbell(host.at.partition), {"hosts": host.at.path})
    assert await merger.merge() == 1
    assert await unread_or_unacked(broker) == 0
    assert await host.command() == {}


async def test_a_request_for_many_hosts_reaches_each_once(broker: Broker, merger: Merger) -> None:
    hosts = [f"web-{number:04}" for number in range(600)]
    record = await submitted(broker, now=time.time(), target_hostnames=hosts)
    while await unread_or_unacked(broker):
        await merger.merge()
    told: Counter[str] = Counter()
    async with broker.guarded() as redis:
        for partition in range(broker.partitions):
            for _, event in await redis.xrange(keys.results(partition)):
                if event["state"] == "pending":
                    assert event["request_ids"] == record.request_id
                    told[event["hostname"]] += 1
    assert told == Counter(hosts)


async def test_any_number_of_mergers_make_one_command(broker: Broker) -> None:
    hosts = [a_host_now(broker, f"web-{number}") for number in range(20)]
    mergers = [a_merger(broker, f"m{number}")[0] for number in range(4)]
    for _ in range(3):
        for host in hosts:
            await host.append(a_start(expires_at=time.time() + 60))
        await asyncio.gather(*(merger.merge() for merger in mergers))
    while await unread_or_unacked(broker):
        await asyncio.gather(*(merger.merge() for merger in mergers))
    for host in hosts:
        assert len(await host.open_ids()) == 3
        assert [event["state"] for event in await host.results()].count("pending") == 3, "each request, once"


async def test_mergers_that_compact_the_same_hosts_at_once_store_once(broker: Broker) -> None:
    hosts = [a_host_now(broker, f"web-{number}") for number in range(20)]
    for host in hosts:
        await host.submit()
    merger, _ = a_merger(broker)
    places = [host.at for host in hosts]
    settled = await asyncio.gather(*(merger.compact_hosts(places) for _ in range(5)))
    assert all(set(done) == set(places) for done in settled)
    for host in hosts:
        assert [event["state"] for event in await host.results()] == ["submitted", "pending"]
        assert (await host.command())["generation"] == "1"


@pytest.mark.parametrize("damage", ["no JSON", "no hash", "a field too many"])
async def test_one_hosts_bad_data_does_not_hold_up_the_others(broker: Broker, merger: Merger, damage: str) -> None:
    good, bad = a_host_now(broker), a_host_now(broker, "web-02")
    await bad.submit()
    await good.submit()
    async with broker.guarded() as redis:
        match damage:
            case "no JSON":
                await redis.hset(keys.open_requests(bad.at), "r", "{not JSON")
            case "no hash":
                await redis.set(keys.open_requests(bad.at), "text")
            case _:
                await redis.hset(keys.open_requests(bad.at), "r", '{"colour": "red"}')
    assert await merger.merge() == 1
    assert await good.state() == "pending"
    assert await bad.state() is None
    assert await unacked(broker) == 1, "it comes again until it is mended, or parked"


@pytest.mark.parametrize("fields", [{"colour": "red"}, {"hosts": "default/web"}, {"hosts": ""}])
async def test_an_entry_that_names_no_host_does_not_hold_up_the_others(
    broker: Broker, merger: Merger, fields: dict[str, str]
) -> None:
    host = a_host_now(broker)
    async with broker.guarded() as redis:
        await redis.xadd(keys.doorbell(host.at.partition), fields)
    await host.submit()
    assert await merger.merge() == 1
    assert await host.state() == "pending"
    assert await unacked(broker) == 1


async def test_a_repeated_compaction_changes_nothing(broker: Broker, merger: Merger) -> None:
    host = a_host_now(broker)
    await host.submit(additional_args={"max_processes": None, "x": {"y": None}}, pids=[1])
    await host.submit(command_type="stop", pids=[4])
    await merger.merge()
    before = (await host.command(), await host.results())
    for _ in range(3):
        assert await merger.compact_hosts([host.at]) == [host.at]
    assert (await host.command(), await host.results()) == before


async def test_hosts_of_other_tenants_and_services_are_kept_apart(broker: Broker, merger: Merger) -> None:
    one = a_host_now(broker)
    two = PlayedHost(broker, HostKey("default", "shop", "web-01"))
    await one.submit()
    await merger.merge()
    assert await one.state() == "pending"
    assert await two.state() is None
