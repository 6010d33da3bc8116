"""Heartbeats that come together go together, and each gets its own answer, whatever befalls the way."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import msgpack
from redis.exceptions import ResponseError

from broker import keys, pipelined
from broker.calls import Call
from broker.connection import Broker
from broker.errors import BrokerUnavailable
from broker.exchange import BEATS_PER_CALL, CALLS_UNDER_WAY, SENT_AT_ONCE, Exchange
from broker.scripts import Beat, Delivered, Idle
from tests.support.builders import NOW, a_host
from tests.support.played_host import PlayedHost
from tests.support.private_broker import PrivateBroker, private_broker

FACTS = {"ip_address": "10.0.0.1", "agent_version": "1"}


@pytest.fixture
def own(tmp_path: Path) -> Iterator[PrivateBroker]:
    with private_broker(tmp_path) as server:
        yield server


@pytest.fixture
def exchange(broker: Broker) -> Exchange:
    return Exchange(broker)


def beats(count: int, **said: object) -> list[Beat]:
    return [Beat(a_host(f"web-{number:04}"), facts=FACTS, **said) for number in range(count)]  # type: ignore[arg-type]


def beats_in(call: Call) -> int:
    packed = call.args[-1]
    assert isinstance(packed, bytes)
    return len(msgpack.decode(packed))


async def scripts_run(broker: Broker) -> int:
    async with broker.guarded() as redis:
        stats = await redis.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("evalsha", "eval"))


async def facts_of(broker: Broker, beat: Beat) -> dict[str, str]:
    async with broker.guarded() as redis:
        facts: dict[str, str] = await redis.hgetall(keys.host(broker.place(beat.host)))
    return facts


async def test_beats_that_come_together_are_a_call_whatever_partitions_their_hosts_are_in(
    broker: Broker, exchange: Exchange
) -> None:
    assert len({broker.place(beat.host).partition for beat in beats(BEATS_PER_CALL)}) > 1
    many = beats(5 * BEATS_PER_CALL)
    assert await asyncio.gather(*(exchange.ask(beat, now=NOW) for beat in many)) == [Idle(0)] * len(many)
    before = await scripts_run(broker)  # from here on nobody is asked what they are
    assert await asyncio.gather(*(exchange.ask(beat, now=NOW) for beat in many)) == [Idle(0)] * len(many)
    assert await scripts_run(broker) - before <= len(many) / SENT_AT_ONCE
    for beat in many:
        assert (await facts_of(broker, beat))["ip_address"] == "10.0.0.1"


async def test_a_process_that_is_new_to_a_host_need_not_tell_its_facts(broker: Broker, exchange: Exchange) -> None:
    beat = beats(1)[0]
    await exchange.ask(beat, now=NOW)
    before = await scripts_run(broker)
    assert await Exchange(broker).ask(beat, now=NOW) == Idle(0)
    assert await scripts_run(broker) - before == 1


async def test_no_more_than_some_calls_are_under_way(
    broker: Broker, exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat = beats(1)[0]
    sent: list[Any] = []
    monkeypatch.setattr(broker.lines, "send", sent.extend)
    asked = []
    for _ in range(CALLS_UNDER_WAY + 8):
        asked.append(exchange.ask(beat, now=NOW))
        await asyncio.sleep(0)  # the turn in which it would be sent
    assert len(sent) == CALLS_UNDER_WAY
    sent[0][1]([[0, 0]])
    await asyncio.sleep(0)
    for _, answered in sent[1:-1]:
        answered([[0, 0]])
    sent[-1][1]([[0, 0]] * 8)
    assert await asyncio.gather(*asked) == [Idle(0)] * len(asked), "the rest went together"


async def test_many_beats_of_one_turn_are_sent_before_it_is_over(
    broker: Broker, exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(broker.lines, "send", sent.extend)
    asked = [exchange.ask(beat, now=NOW) for beat in beats(1) * (SENT_AT_ONCE + 1)]
    assert [beats_in(call) for call, _ in sent] == [SENT_AT_ONCE]
    await asyncio.sleep(0)
    assert [beats_in(call) for call, _ in sent] == [SENT_AT_ONCE, 1]
    for call, answered in sent:
        answered([[0, 0]] * beats_in(call))
    assert await asyncio.gather(*asked) == [Idle(0)] * len(asked)


async def test_no_call_has_more_beats_than_the_server_should_do_at_once(
    broker: Broker, exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(broker.lines, "send", sent.extend)
    asked = [exchange.ask(beat, now=NOW) for beat in beats(1) * (CALLS_UNDER_WAY * SENT_AT_ONCE + 2 * BEATS_PER_CALL)]
    assert len(sent) == CALLS_UNDER_WAY, "the others wait"
    while sent:
        call, answered = sent.pop(0)
        assert beats_in(call) <= BEATS_PER_CALL
        answered([[0, 0]] * beats_in(call))
        await asyncio.sleep(0)
    assert await asyncio.gather(*asked) == [Idle(0)] * len(asked)


async def test_each_gets_its_own_answer(broker: Broker, exchange: Exchange) -> None:
    hosts = [PlayedHost(broker, a_host(f"web-{number:04}")) for number in range(60)]
    records = {}
    for host in hosts[::7]:
        records[host.key] = await host.submit()
        await host.settle()
    answers = await asyncio.gather(*(exchange.ask(Beat(host.key, facts=FACTS), now=NOW) for host in hosts))
    for host, answer in zip(hosts, answers, strict=True):
        if host.key in records:
            assert isinstance(answer, Delivered)
            assert answer.command_id == records[host.key].command_id
        else:
            assert answer == Idle(0)


async def test_who_is_cancelled_takes_nobodys_answer_along(broker: Broker, exchange: Exchange) -> None:
    hosts = [PlayedHost(broker, a_host(f"web-{number:04}")) for number in range(40)]
    for host in hosts[1::2]:
        await host.submit()
        await host.settle()
    asked = [exchange.ask(Beat(host.key, facts=FACTS), now=NOW) for host in hosts]
    for one in asked[::2]:
        one.cancel()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(answer, asyncio.CancelledError) for answer in answers[::2])
    assert all(isinstance(answer, Delivered) for answer in answers[1::2])
    assert len({answer.command_id for answer in answers[1::2] if isinstance(answer, Delivered)}) == 20


async def test_a_key_of_another_type_is_that_hosts_trouble_alone(broker: Broker, exchange: Exchange) -> None:
    some = beats(64)
    async with broker.guarded() as redis:
        await redis.set(keys.command(broker.place(some[3].host)), "no hash")
    answers = await asyncio.gather(*(exchange.ask(beat, now=NOW) for beat in some), return_exceptions=True)
    assert isinstance(answers[3], ResponseError)
    assert [*answers[:3], *answers[4:]] == [Idle(0)] * 63


async def test_scripts_the_server_has_forgotten_are_sent_again(broker: Broker, exchange: Exchange) -> None:
    for _ in range(2):
        async with broker.guarded() as redis:
            await redis.script_flush()
        assert await asyncio.gather(*(exchange.ask(beat, now=NOW) for beat in beats(50))) == [Idle(0)] * 50


# --- facts ------------------------------------------------------------------------------------------------------------


async def test_facts_go_along_only_when_they_are_new(broker: Broker, exchange: Exchange) -> None:
    first = beats(1)[0]
    await exchange.ask(first, now=NOW)
    async with broker.guarded() as redis:  # what is sent again would be mended by that
        await redis.hset(keys.host(broker.place(first.host)), "ip_address", "as it was")
    await exchange.ask(Beat(first.host, facts=FACTS, agent_time="later"), now=NOW + 30)
    kept = await facts_of(broker, first)
    assert kept["ip_address"] == "as it was"
    assert (kept["agent_time"], kept["last_beat"]) == ("later", str(round(NOW + 30) * 1000))
    await exchange.ask(Beat(first.host, facts={**FACTS, "agent_version": "2"}), now=NOW + 60)
    assert (await facts_of(broker, first))["ip_address"] == "10.0.0.1"


async def test_a_server_that_came_back_empty_asks_for_the_facts(broker: Broker, exchange: Exchange) -> None:
    some = beats(30)
    await asyncio.gather(*(exchange.ask(beat, now=NOW) for beat in some))
    async with broker.guarded() as redis:
        await redis.flushall()
    assert await asyncio.gather(*(exchange.ask(beat, now=NOW) for beat in some)) == [Idle(0)] * 30
    for beat in some:
        assert FACTS.items() <= (await facts_of(broker, beat)).items()


async def test_what_another_process_was_told_meanwhile_does_not_stay(broker: Broker, exchange: Exchange) -> None:
    ours = beats(1)[0]
    theirs = Beat(ours.host, facts={**FACTS, "ip_address": "10.0.0.2"})
    await exchange.ask(ours, now=NOW)
    await Exchange(broker).ask(theirs, now=NOW)
    await exchange.ask(ours, now=NOW)
    assert (await facts_of(broker, ours))["ip_address"] == "10.0.0.1"


async def test_a_beat_without_facts_keeps_the_host_from_being_forgotten(broker: Broker, exchange: Exchange) -> None:
    first = beats(1)[0]
    await exchange.ask(first, now=NOW)
    async with broker.guarded() as redis:
        await redis.expire(keys.host(broker.place(first.host)), 1_000)
        await exchange.ask(first, now=NOW + 4_000)
        assert await redis.ttl(keys.host(broker.place(first.host))) > 600_000


async def test_a_beat_that_must_tell_its_facts_takes_no_attempt(broker: Broker, exchange: Exchange) -> None:
    host = PlayedHost(broker)
    await exchange.ask(Beat(host.key, facts=FACTS), now=NOW)
    await host.submit()
    await host.settle()
    async with broker.guarded() as redis:
        await redis.delete(keys.host(host.at))
    answer = await exchange.ask(Beat(host.key, facts=FACTS), now=NOW)
    assert isinstance(answer, Delivered)
    assert answer.attempt == 1


# --- the way breaks ---------------------------------------------------------------------------------------------------


async def test_without_a_server_everybody_hears_so_at_once_and_all_is_well_when_it_is_back(own: PrivateBroker) -> None:
    async with Broker.opened(own.settings) as broker:
        exchange = Exchange(broker)
        assert await exchange.ask(beats(1)[0], now=NOW) == Idle(0)
        own.crash()
        for _ in range(3):
            asked = [exchange.ask(beat, now=NOW) for beat in beats(100)]
            answers = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 10)
            assert all(isinstance(answer, BrokerUnavailable) for answer in answers)
        own.come_back()
        assert await asyncio.gather(*(exchange.ask(beat, now=NOW) for beat in beats(100))) == [Idle(0)] * 100


async def test_a_server_that_hangs_is_given_up_on_and_late_answers_go_to_nobody(
    own: PrivateBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Broker.opened(own.settings) as broker:
        exchange = Exchange(broker)
        host = PlayedHost(broker, a_host("web-0001"))
        await host.submit()
        await host.settle()
        assert await exchange.ask(beats(1)[0], now=NOW) == Idle(0)
        with own.asleep(), monkeypatch.context() as impatient:  # one that is awake has all the time it needs
            impatient.setattr(pipelined, "COMMAND_TIMEOUT_SECONDS", 0.5)
            asked = [exchange.ask(beat, now=NOW) for beat in beats(50)]
            answers = await asyncio.gather(*asked, return_exceptions=True)
            assert [type(answer) for answer in answers] == [BrokerUnavailable] * 50
        await asyncio.sleep(0.2)
        answers = await asyncio.gather(*(exchange.ask(beat, now=NOW) for beat in beats(50)))
        assert isinstance(answers[1], Delivered)
        assert [*answers[:1], *answers[2:]] == [Idle(0)] * 49


async def test_who_waits_when_the_broker_is_closed_is_told(own: PrivateBroker) -> None:
    async with Broker.opened(own.settings) as broker:
        exchange = Exchange(broker)
        await exchange.ask(beats(1)[0], now=NOW)
        with own.asleep():
            asked = exchange.ask(beats(1)[0], now=NOW)
            await asyncio.sleep(0.1)
            await broker.close()
            with pytest.raises(BrokerUnavailable):
                await asked


async def test_a_beat_that_tells_nothing_of_its_host_is_answered(broker: Broker, exchange: Exchange) -> None:
    for _ in range(2):
        assert await asyncio.wait_for(exchange.ask(Beat(a_host()), now=NOW), 10) == Idle(0)
