"""A decision is stored whole, and only on the facts it was taken on."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from broker import keys
from broker.codec import origin_of
from broker.command_store import CommandStore
from broker.connection import Broker
from broker.request_store import RequestStore
from broker.scripts import Settled
from protocol.lifecycle import OUTCOMES
from tests.support.builders import NOW, a_host
from tests.support.played_host import PlayedHost


@pytest.fixture
def host(broker: Broker) -> PlayedHost:
    return PlayedHost(broker)


async def outcomes(host: PlayedHost) -> Counter[str]:
    """Request id -> how many outcomes were told of it."""
    told = [event["request_ids"].split() for event in await host.results() if event["state"] in OUTCOMES]
    return Counter(request_id for ids in told for request_id in ids)


async def test_a_decision_takes_the_entries_and_installs_the_command(host: PlayedHost, broker: Broker) -> None:
    record = await host.submit()
    await host.settle()
    stored = await host.command()
    assert (stored["id"], stored["generation"], stored["state"]) == (record.command_id, "1", "pending")
    assert (stored["request_ids"], origin_of(stored["reply"]).installed_at) == (record.request_id, 1_800_000_000_000)
    assert not {"attempts", "stop_ids"} & stored.keys(), "nothing is stored of what there is none of"
    assert await host.open_ids() == {record.request_id}
    assert await host.deadline() == NOW + 900
    async with broker.guarded() as redis:
        assert not await redis.exists(keys.requests(host.at)), "an empty stream keeps its memory"
        assert await redis.ttl(keys.command(host.at)) == -1, "an open command does not vanish"


async def test_two_mergers_with_the_same_reading_store_once(host: PlayedHost) -> None:
    await host.submit()
    loaded = await host.load()
    decision = host.decide(loaded)
    assert await host.store(loaded, decision)
    assert not await host.store(loaded, decision)
    assert (await host.command())["generation"] == "1"
    assert [event["state"] for event in await host.results()] == ["submitted", "pending"]


async def test_many_mergers_at_once_tell_each_outcome_once(host: PlayedHost, broker: Broker) -> None:
    first = await host.submit()
    await host.settle()
    await host.begin()
    stop, start = await host.submit(command_type="stop"), await host.submit(frequency=99)
    loaded = await host.load()
    decision = host.decide(loaded)
    stored = await asyncio.gather(*(host.store(loaded, decision) for _ in range(20)))
    assert sum(stored) == 1
    assert await outcomes(host) == {first.request_id: 1}
    await host.begin()
    assert await outcomes(host) == {first.request_id: 1, stop.request_id: 1}
    assert await host.open_ids() == {start.request_id}


async def test_two_mergers_that_only_close_requests_tell_each_outcome_once(host: PlayedHost) -> None:
    """Nothing is installed here: the fence must be moved all the same."""
    record = await host.submit(expires_in=1)
    host.now += 5
    loaded = await host.load()
    decision = host.decide(loaded)
    assert decision.install is None
    assert await host.store(loaded, decision)
    assert not await host.store(loaded, decision)
    assert await outcomes(host) == {record.request_id: 1}


MOVES = ["offered", "offered again", "acked", "begun", "completed", "failed", "started as of old", "settled"]


@pytest.mark.parametrize("move", MOVES)
async def test_a_decision_on_facts_that_have_moved_is_not_stored(host: PlayedHost, move: str) -> None:
    record = await host.submit()
    await host.settle()
    if move in {"offered again", "acked", "begun"}:
        await host.take()
    await host.submit(command_type="stop")
    loaded = await host.load()
    decision = host.decide(loaded)
    match move:
        case "offered" | "offered again":
            await host.take()
        case "acked":
            await host.beat(received=[record.command_id])
        case "begun":
            await host.beat(last=record.command_id, begun=True)
        case "completed" | "failed":
            await host.complete(record.command_id, status=move)
        case "started as of old":
            await host.complete(record.command_id, execution_time=0)
        case _:
            await host.settle()
    before = (await host.command(), await host.results(), await host.open_ids())
    assert not await host.store(loaded, decision)
    assert (await host.command(), await host.results(), await host.open_ids()) == before, "nothing of it was stored"
    await host.settle()  # taken anew, it is


async def test_a_stop_that_is_offered_again_moves_the_fence(host: PlayedHost) -> None:
    await host.submit(command_type="stop")
    await host.settle()
    await host.take()
    loaded = await host.load()
    await host.take()
    assert not await host.store(loaded, host.decide(loaded))


async def test_a_beat_that_changes_nothing_does_not_hold_a_merger_up(host: PlayedHost) -> None:
    await host.submit()
    await host.settle()
    await host.begin()
    await host.submit(frequency=99)
    loaded = await host.load()
    await host.beat()
    await host.beat(last="other")
    assert await host.store(loaded, host.decide(loaded))


async def test_what_came_after_the_reading_stays_and_is_rung_for(host: PlayedHost, broker: Broker) -> None:
    await host.submit(pids=[1])
    loaded = await host.load()
    late = await host.submit(pids=[2])
    async with broker.guarded() as redis:
        await redis.delete(keys.doorbell(host.at.partition))
    assert await host.store(loaded, host.decide(loaded))
    assert await host.rings() == 1
    assert len((await host.load()).entries) == 1
    await host.settle()
    assert late.request_id in (await host.command())["request_ids"].split()


async def test_more_entries_than_one_bite_are_taken_in_several(host: PlayedHost, broker: Broker) -> None:
    async with broker.guarded() as redis:
        record = await host.submit()
        ((_, entry),) = await redis.xrange(keys.requests(host.at))
        for number in range(1_500):
            text = entry["request"].replace(record.request_id, f"r{number}").replace(record.command_id, f"c{number}")
            await redis.xadd(keys.requests(host.at), {"request": text})
    await host.settle()
    assert len(await host.open_ids()) == 1_000
    assert await host.rings() == 2, "one by the submission, one for the rest"
    assert len((await host.load()).entries) == 501
    await host.settle()
    assert len(await host.open_ids()) == 1_501


async def test_a_superseded_command_goes_into_the_history(host: PlayedHost) -> None:
    first = await host.submit()
    await host.settle()
    await host.submit(frequency=99)
    await host.settle()
    (past,) = await host.history()
    assert (past["command_id"], past["generation"], past["outcome"]) == (first.command_id, "1", "superseded")
    assert past["served"] == first.request_id
    closed = [event for event in await host.results() if event["state"] == "superseded"]
    assert [(event["command_id"], event["request_ids"], event["reason"]) for event in closed] == [
        (first.command_id, "", "by generation 2")
    ], "its requests are told of one by one: some end, some go on"


async def test_history_and_its_like_end_some_day(host: PlayedHost, broker: Broker) -> None:
    for frequency in range(1, 131):
        await host.submit(frequency=frequency)
        await host.settle()
    assert len(await host.history()) == 100
    async with broker.guarded() as redis:
        assert 0 < await redis.ttl(keys.history(host.at)) <= 604_800


async def test_an_ended_command_is_forgotten_some_day_and_an_open_one_is_not(host: PlayedHost, broker: Broker) -> None:
    async def ttl() -> Any:
        async with broker.guarded() as redis:
            return await redis.ttl(keys.command(host.at))

    record = await host.submit()
    await host.settle()
    await host.complete(record.command_id)
    assert 0 < await ttl() <= 604_800
    await host.submit()
    await host.settle()
    assert await ttl() == -1
    host.now += 900
    await host.settle()
    assert 0 < await ttl() <= 604_800


async def test_a_host_that_never_had_a_command_leaves_no_counter_behind(host: PlayedHost, broker: Broker) -> None:
    await host.submit(expires_in=1)
    host.now += 5
    await host.settle()
    assert await host.command() == {"revision": "1"}
    async with broker.guarded() as redis:
        assert 0 < await redis.ttl(keys.command(host.at)) <= 604_800


async def test_the_generation_goes_on_from_command_to_command(host: PlayedHost) -> None:
    for generation in range(1, 6):
        record = await host.submit()
        await host.settle()
        command = await host.take()
        assert command.generation == generation
        await host.complete(record.command_id)


async def test_who_joins_a_run_is_served_by_it(host: PlayedHost) -> None:
    await host.submit(duration=600)
    await host.settle()
    command = await host.begin()
    newcomer = await host.submit(duration=5)
    await host.settle()
    assert await host.states_of(newcomer.request_id) == ["submitted", "running"]
    assert (await host.results())[-1]["command_id"] == command.command_id
    await host.complete(command.command_id)
    assert (await host.states_of(newcomer.request_id))[-1] == "completed"


async def test_an_install_nudges_who_holds_a_heartbeat_and_a_join_does_not(host: PlayedHost, broker: Broker) -> None:
    async with broker.guarded_blocking() as redis, redis.pubsub(ignore_subscribe_messages=True) as channel:
        await channel.ssubscribe(keys.nudge(host.at.partition))
        await channel.get_message(timeout=1)
        await host.submit(duration=600)
        await host.settle()
        await host.begin()
        await host.submit(duration=5)
        await host.settle()
        await host.submit(duration=6, frequency=99)
        await host.settle()
        heard = []
        while message := await channel.get_message(timeout=0.3):
            heard.append(message["data"])
        assert heard == [host.at.path, host.at.path]
        await channel.aclose()


async def test_an_id_that_no_request_brought_along_has_an_owner_too(host: PlayedHost, broker: Broker) -> None:
    """Agents in the field complete a command by its id alone, without the service."""
    await host.submit()
    await host.submit(frequency=99, expires_in=5)
    await host.settle()
    first = await host.take()
    host.now += 6
    await host.settle()
    derived = await host.take()
    assert derived.command_id != first.command_id
    assert await RequestStore(broker).owner_of(derived.command_id) == ("default", "web")
    async with broker.guarded() as redis:
        assert 0 < await redis.ttl(keys.command_owner(derived.command_id)) <= 604_800


async def test_one_host_that_cannot_be_read_does_not_hold_up_the_others(broker: Broker) -> None:
    good, bad = PlayedHost(broker), PlayedHost(broker, a_host("web-02"))
    await good.submit()
    await bad.submit()
    async with broker.guarded() as redis:
        await redis.set(keys.open_requests(bad.at), "no hash")
    store = CommandStore(broker)
    loaded = await store.load_all([bad.at, good.at])
    assert list(loaded) == [good.at]


async def test_one_decision_that_cannot_be_stored_does_not_hold_up_the_others(broker: Broker) -> None:
    good, bad = PlayedHost(broker), PlayedHost(broker, a_host("web-02"))
    settled: list[Settled] = []
    for host in (bad, good):
        await host.submit()
        loaded = await host.load()
        settled.append(Settled(host.at, host.key, loaded, host.decide(loaded)))
    async with broker.guarded() as redis:
        await redis.set(keys.open_requests(bad.at), "no hash")
    assert await CommandStore(broker).settle_all(settled, now=NOW) == {bad.at: False, good.at: True}
    assert await good.state() == "pending"
