"""Appending a request for hosts: once, whole, and with a ring for each."""

from collections import Counter
from typing import Any

from broker import keys
from broker.codec import read_request
from broker.connection import Broker
from broker.request_log import HOSTS_PER_CALL, RequestLog
from protocol.names import HostKey
from tests.support.builders import NOW, a_host, a_start
from tests.support.played_host import PlayedHost


async def lengths(broker: Broker, hosts: list[HostKey]) -> list[int]:
    """How many entries each host's stream holds."""
    async with broker.guarded() as redis, redis.pipeline(transaction=False) as pipe:
        for host in hosts:
            pipe.xlen(keys.requests(broker.place(host)))
        found: list[int] = await pipe.execute()
    return found


async def in_all_partitions(broker: Broker, key: Any) -> int:
    async with broker.guarded() as redis, redis.pipeline(transaction=False) as pipe:
        for partition in range(broker.partitions):
            pipe.xlen(key(partition))
        return sum(await pipe.execute())


async def rung_for(broker: Broker) -> Counter[str]:
    rung: Counter[str] = Counter()
    async with broker.guarded() as redis:
        for partition in range(broker.partitions):
            for _, fields in await redis.xrange(keys.doorbell(partition)):
                assert len(fields["hosts"].split(" ")) <= 50, "one that cannot be worked off holds up so many"
                rung.update(fields["hosts"].split(" "))
    return rung


async def test_a_submitted_request_waits_in_its_hosts_stream(broker: Broker) -> None:
    host, wish = PlayedHost(broker), a_start(pids=frozenset({7}), additional_args={"a": None})
    assert await host.append(wish) == 1
    (entry,) = (await host.load()).entries.values()
    assert read_request(entry) == wish
    assert await host.rings() == 1
    (event,) = await host.results()
    assert event == {
        "v": "1", "state": "submitted", "tenant": "default", "service": "web", "hostname": "web-01",
        "command_id": wish.command_id, "generation": "0", "request_ids": wish.request_id, "at": "1800000000000",
    }  # fmt: skip


async def test_a_repeated_submission_appends_nothing(broker: Broker) -> None:
    host, wish = PlayedHost(broker), a_start()
    assert await host.append(wish) == 1
    assert await host.append(wish) == 0
    assert await lengths(broker, [host.key]) == [1]
    assert await host.rings() == 1
    assert await host.states_of(wish.request_id) == ["submitted"]


async def test_a_repeated_submission_appends_nothing_after_it_was_taken_up(broker: Broker) -> None:
    host, wish = PlayedHost(broker), a_start()
    await host.append(wish)
    await host.settle()
    assert await host.append(wish) == 0
    assert await lengths(broker, [host.key]) == [0]


async def test_pieces_of_one_request_are_told_apart(broker: Broker) -> None:
    """A large request comes in pieces; the first host of each may be in the same partition."""
    log, wish = RequestLog(broker), a_start()
    hosts = [a_host(f"web-{number}") for number in range(40)]
    assert await log.append(dict.fromkeys(hosts[:20], wish), piece=0) == 20
    assert await log.append(dict.fromkeys(hosts[20:], wish), piece=1) == 20
    assert await log.append(dict.fromkeys(hosts[20:], wish), piece=1) == 0
    assert await lengths(broker, hosts) == [1] * 40


async def test_very_many_hosts_are_each_appended_and_rung_for_once(broker: Broker) -> None:
    hosts = [a_host(f"web-{number:04}") for number in range(broker.partitions * HOSTS_PER_CALL // 4)]
    hosts += [host for number in range(60_000) if broker.place(host := a_host(f"one-{number}")).partition == 3][:450]
    wishes = dict.fromkeys(hosts, a_start())
    log = RequestLog(broker)
    assert await log.append(wishes) == len(hosts)
    assert await log.append(dict(reversed(wishes.items()))) == 0, "whoever repeats the call makes the same batches"
    assert set(await lengths(broker, hosts)) == {1}
    assert await rung_for(broker) == Counter(broker.place(host).path for host in hosts)
    assert await in_all_partitions(broker, keys.results) == len(hosts)


async def test_a_call_that_was_cut_short_goes_on_where_it_stopped(broker: Broker) -> None:
    wish = a_start()
    hosts = [a_host(f"web-{number}") for number in range(50)]
    log = RequestLog(broker)
    await log.append(dict.fromkeys(hosts, wish))
    async with broker.guarded() as redis:  # as if the call had broken off before this partition
        lost = [host for host in hosts if broker.place(host).partition == 7]
        await redis.delete(keys.submitted(7, wish.request_id, "0.0"), keys.doorbell(7))
        for host in lost:
            await redis.delete(keys.requests(broker.place(host)))
    assert lost
    assert await log.append(dict.fromkeys(hosts, wish)) == len(lost)
    assert await lengths(broker, hosts) == [1] * 50


async def test_a_batchs_marker_is_forgotten_after_a_day(broker: Broker) -> None:
    host, wish = PlayedHost(broker), a_start()
    await host.append(wish)
    async with broker.guarded() as redis:
        ttl = await redis.ttl(keys.submitted(host.at.partition, wish.request_id, "0.0"))
    assert 86_390 < ttl <= 86_400


async def test_a_name_with_every_odd_character_is_one_host(broker: Broker) -> None:
    host = PlayedHost(broker, HostKey("default", 'a/b {c}:"d"', "wëb\\01 %2F 🙂"))
    wish = a_start()
    await host.append(wish)
    await host.settle()
    assert (await host.take()).command_id == wish.command_id
    assert {event["hostname"] for event in await host.results()} == {host.key.host}
    assert {event["service"] for event in await host.results()} == {host.key.service}


async def test_requests_stand_in_the_order_of_their_arrival(broker: Broker) -> None:
    host = PlayedHost(broker)
    wishes = [a_start(accepted_at=NOW - number) for number in range(5)]
    for wish in wishes:
        await host.append(wish)
    entries = [read_request(text) for text in (await host.load()).entries.values()]
    assert entries == wishes
