"""Whatever happens to hosts and requests, nothing of them stays for ever."""

import time

from broker import keys
from broker.connection import Broker
from broker.request_store import RequestStore
from broker.results import Change, Results
from broker.scripts import MOST_ATTEMPTS
from broker.settings import BrokerSettings
from broker.streams import Entry
from broker.token_store import TokenKind, TokenStore, new_secret
from tests.support.builders import a_host
from tests.support.key_leaks import MEANT_TO_STAY, leaked_keys
from tests.support.played_host import PlayedHost


async def every_fate(broker: Broker) -> list[PlayedHost]:
    """Hosts whose requests have ended in each way this version knows."""
    hosts = [PlayedHost(broker, a_host(f"web-{number}")) for number in range(9)]
    for host in hosts:
        await host.submit(duration=60)
        await host.settle()
    ran, failed, stopped, narrowed, expired, timed_out, undeliverable, queued, late = hosts

    await ran.complete((await ran.begin()).command_id)
    await failed.complete((await failed.take()).command_id, status="failed")

    run = await stopped.begin()
    await stopped.submit(command_type="stop")
    await stopped.settle()
    await stopped.complete(run.command_id, samples=3)
    await stopped.beat(last=(await stopped.take()).command_id)

    await narrowed.begin()
    await narrowed.submit(command_type="stop", pids=[4])
    await narrowed.settle()
    await narrowed.complete((await narrowed.begin()).command_id)

    expired.now += 900
    await expired.settle()
    await timed_out.begin()
    timed_out.now += 90
    await timed_out.settle()
    for _ in range(MOST_ATTEMPTS + 1):
        await undeliverable.beat()

    first = await queued.begin()
    await queued.submit(profiling_mode="wall")
    await queued.settle()
    await queued.complete(first.command_id)
    await queued.settle()
    await queued.complete((await queued.begin()).command_id)

    await late.submit(expires_in=1)
    await late.complete((await late.begin()).command_id)
    late.now += 5
    await late.settle()
    return hosts


async def test_a_full_story_leaves_no_key_of_a_host_or_a_request_for_ever(
    broker: Broker, broker_settings: BrokerSettings
) -> None:
    hosts = await every_fate(broker)
    store, results = RequestStore(broker), Results(broker)
    async with broker.guarded() as redis:
        for partition in range(broker.partitions):
            entries = await redis.xrange(keys.results(partition))
            await results.project(Change.of(Entry("", entry_id, fields)) for entry_id, fields in entries)
    await store.ticket(tenant="t", token_id="i", idempotency_key="k", body_digest="d", now=time.time())
    await TokenStore(broker).add(new_secret(), kind=TokenKind.AGENT, tenant="t", services=("*",))

    assert leaked_keys(broker_settings) == []
    for host in hosts:
        assert await host.open_ids() == set()
        assert await host.deadline() is None, "no clock runs for a host with nothing to do"
        async with broker.guarded() as redis:
            assert not await redis.exists(keys.requests(host.at))


async def test_an_open_command_is_the_only_thing_that_stays_while_it_is_open(
    broker: Broker, broker_settings: BrokerSettings
) -> None:
    host = PlayedHost(broker)
    await host.submit()
    await host.settle()
    assert leaked_keys(broker_settings) == sorted([keys.command(host.at), keys.open_requests(host.at)])


async def test_the_checker_sees_a_leak(broker: Broker, broker_settings: BrokerSettings) -> None:
    async with broker.guarded() as redis:
        await redis.set("pcs:{3}:forgotten:web-01", "x")
        await redis.set("pcs:{3}:fleeting:web-01", "x", ex=60)
    assert leaked_keys(broker_settings) == ["pcs:{3}:forgotten:web-01"]


def test_no_key_that_may_stay_can_name_a_host_or_a_request() -> None:
    at = keys.place(a_host(), 16)
    for key in (keys.command(at), keys.host(at), keys.request("r"), keys.request_hosts("r"), keys.late(at)):
        assert not any(pattern in key for pattern in MEANT_TO_STAY)
