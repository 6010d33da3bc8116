"""What a dead merger left behind is taken over, and what nobody can work off is put aside."""

import asyncio
import time
from collections import Counter
from datetime import timedelta

import pytest

from broker import keys
from broker.command_store import CommandStore
from broker.connection import Broker
from broker.request_log import MERGERS, RequestLog
from broker.settings import BrokerSettings
from tests.support.builders import a_host, submitted
from tests.support.played_host import PlayedHost
from tests.support.processes import Role, started, worker_role
from tests.support.roles_at_work import before_long
from workers import recoverer as recoverer_module
from workers.merger import Merger
from workers.recoverer import MOST_DELIVERIES, Recoverer

SHORTLY = timedelta(milliseconds=50)


def a_recoverer(broker: Broker, name: str = "heir") -> Recoverer:
    log = RequestLog(broker)
    reader = log.reader(name)
    return Recoverer(log, Merger(log, CommandStore(broker), reader), reader)


async def held(broker: Broker) -> int:
    """Doorbell entries that a merger has got and not acked."""
    total = 0
    async with broker.guarded() as redis, redis.pipeline(transaction=False) as pipe:
        for partition in range(broker.partitions):
            pipe.xpending(keys.doorbell(partition), MERGERS)
        for answer in await pipe.execute(raise_on_error=False):
            total += answer["pending"] if isinstance(answer, dict) else 0
    return total


async def told(broker: Broker, state: str) -> Counter[str]:
    """Host name -> how often it was told to have come into this state."""
    hosts: Counter[str] = Counter()
    async with broker.guarded() as redis:
        for partition in range(broker.partitions):
            entries = await redis.xrange(keys.results(partition))
            hosts.update(fields["hostname"] for _, fields in entries if fields["state"] == state)
    return hosts


async def kill_with_entries_in_hand(merger: Role, broker: Broker) -> int:
    """SIGKILL, at a moment when it has read entries and not acked them. Gives how many."""
    for _ in range(5_000):
        merger.pause()
        if in_hand := await held(broker):
            merger.kill()
            return in_hand
        merger.resume()
        await asyncio.sleep(0.003)
    raise AssertionError("the merger never had anything in hand")


async def test_a_killed_mergers_entries_are_taken_over_and_each_request_stands_once(
    broker: Broker, broker_settings: BrokerSettings
) -> None:
    hosts = [f"web-{number:04}" for number in range(1_000)]
    await submitted(broker, now=time.time(), target_hostnames=hosts)
    with started(worker_role(broker_settings.state_dir, "merger")) as merger:
        assert await kill_with_entries_in_hand(merger, broker) > 0
    with started(worker_role(broker_settings.state_dir, "merger", "recoverer")):

        async def done() -> bool:
            return len(await told(broker, "pending")) == len(hosts) and await held(broker) == 0

        await before_long(done, within=60, what="taking over")
    assert await told(broker, "pending") == Counter(hosts), "exactly once"
    commands = [await PlayedHost(broker, a_host(host)).command() for host in hosts]
    assert {(command["state"], command["generation"]) for command in commands} == {("pending", "1")}
    async with broker.guarded() as redis:
        assert sum([await redis.xlen(keys.doorbell(partition)) for partition in range(broker.partitions)]) == 0


async def test_what_a_living_merger_has_in_hand_is_left_to_it(broker: Broker) -> None:
    host = PlayedHost(broker)
    await host.submit()
    await RequestLog(broker).reader("busy").read(count=10, block=SHORTLY)
    assert await a_recoverer(broker).recover() == 0
    assert await held(broker) == 1


async def test_a_recoverer_works_off_what_it_claims(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recoverer_module, "IDLE", timedelta(0))
    host = PlayedHost(broker)
    host.now = time.time()
    record = await host.submit()
    await RequestLog(broker).reader("dead").read(count=10, block=SHORTLY)
    assert await a_recoverer(broker).recover() == 1
    assert await held(broker) == 0
    assert (await host.take()).command_id == record.command_id


async def test_two_recoverers_make_one_command(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recoverer_module, "IDLE", timedelta(0))
    hosts = [PlayedHost(broker, a_host(f"web-{number}")) for number in range(30)]
    for host in hosts:
        host.now = time.time()
        await host.submit()
    await RequestLog(broker).reader("dead").read(count=100, block=SHORTLY)
    await asyncio.gather(*(a_recoverer(broker, f"heir-{number}").recover() for number in range(3)))
    assert await told(broker, "pending") == Counter(host.key.host for host in hosts)


@pytest.mark.parametrize("poison", ["bad data", "no host", "no path"])
async def test_what_nobody_can_work_off_is_parked_after_ten_tries(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, poison: str
) -> None:
    monkeypatch.setattr(recoverer_module, "IDLE", timedelta(0))
    bad = PlayedHost(broker, a_host("web-02"))
    async with broker.guarded() as redis:
        if poison == "bad data":
            await redis.hset(keys.open_requests(bad.at), "r", "{not JSON")
        named = {"bad data": {"hosts": bad.at.path}, "no host": {"colour": "red"}, "no path": {"hosts": "a/b"}}
        await redis.xadd(keys.doorbell(bad.at.partition), named[poison])
    log = RequestLog(broker)
    merger = Merger(log, CommandStore(broker), reader := log.reader("m"))
    assert await merger.work_off(log.rings(await reader.read(count=10, block=SHORTLY))) == 0
    recoverer = a_recoverer(broker)
    for _ in range(MOST_DELIVERIES - 1):
        assert await recoverer.recover() == 1
    good = PlayedHost(broker)
    good.now = time.time()
    await good.submit()
    await reader.read(count=10, block=SHORTLY)
    assert await held(broker) == 2

    assert await recoverer.recover() == 2, "the eleventh delivery of one, the second of the other"
    assert await held(broker) == 0
    assert await good.state() == "pending"
    async with broker.guarded() as redis:
        ((_, letter),) = await redis.xrange(keys.dead_letters(bad.at.partition))
    assert letter["host"] == named[poison].get("hosts", "")
    assert (letter["attempts"], letter["reason"]) == ("11", "could not be compacted; the merger's log says why")
    assert await recoverer.recover() == 0
