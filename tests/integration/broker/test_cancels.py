"""Withdrawing a request on the real server: whatever it is part of, and nobody else's harm."""

import pytest

from broker import keys
from broker.connection import Broker
from broker.request_log import RequestLog
from broker.scripts import Delivered, Idle
from protocol.lifecycle import OUTCOMES
from tests.support.builders import a_host
from tests.support.played_host import PlayedHost


@pytest.fixture
def host(broker: Broker) -> PlayedHost:
    return PlayedHost(broker)


async def outcomes_of(host: PlayedHost, request_id: str) -> list[str]:
    return [state for state in await host.states_of(request_id) if state in OUTCOMES]


@pytest.mark.parametrize("progress", ["submitted", "pending", "delivered", "running"])
async def test_a_request_ends_cancelled_wherever_it_stands(host: PlayedHost, progress: str) -> None:
    record = await host.submit()
    if progress != "submitted":
        await host.settle()
    if progress == "delivered":
        await host.take()
    if progress == "running":
        await host.begin()
    await host.cancel(record.request_id, reason="by mistake")
    await host.settle()
    assert await outcomes_of(host, record.request_id) == ["cancelled"]
    told = [event for event in await host.results() if event["state"] == "cancelled" and event["request_ids"]]
    assert told[0]["reason"] == "by mistake"
    answer = await host.beat()
    if progress in {"submitted", "pending"}:
        assert isinstance(answer, Idle)
    else:
        assert isinstance(answer, Delivered)
        assert '"stop"' in answer.command


async def test_the_stop_that_nobody_asked_for_ends_and_leaves_the_host_free(host: PlayedHost) -> None:
    record = await host.submit()
    await host.settle()
    await host.begin()
    await host.cancel(record.request_id)
    await host.settle()
    async with host.broker.guarded() as redis:
        assert 0 < await redis.ttl(keys.command(host.at)) <= 604_800
    stop = await host.take()
    await host.beat(last=stop.command_id)
    assert await host.state() == "completed"
    again = await host.submit()
    await host.settle()
    assert (await host.take()).command_id == again.command_id


async def test_anothers_request_goes_on_with_its_remaining_seconds(host: PlayedHost) -> None:
    mine = await host.submit(duration=60)
    theirs = await host.submit(duration=600, frequency=99)
    await host.settle()
    await host.begin()
    host.now += 20
    await host.cancel(theirs.request_id)
    await host.settle()
    command = await host.begin()
    assert '"duration":40' in command.command
    assert '"frequency":11' in command.command
    await host.complete(command.command_id)
    assert await outcomes_of(host, mine.request_id) == ["completed"]
    assert await outcomes_of(host, theirs.request_id) == ["cancelled"]


async def test_a_cancel_that_is_repeated_ends_it_once(host: PlayedHost) -> None:
    record = await host.submit()
    await host.settle()
    for _ in range(3):
        await host.cancel(record.request_id)
        await host.settle()
    assert await outcomes_of(host, record.request_id) == ["cancelled"]


async def test_a_cancel_after_the_end_changes_nothing(host: PlayedHost) -> None:
    record = await host.submit()
    await host.settle()
    command = await host.begin()
    await host.complete(command.command_id)
    await host.cancel(record.request_id)
    await host.settle()
    assert await outcomes_of(host, record.request_id) == ["completed"]


async def test_what_is_appended_after_the_cancel_ends_at_once(broker: Broker) -> None:
    """A fan-out that was under way: the hosts to come have it end, and never hear of it."""
    first, later = PlayedHost(broker), PlayedHost(broker, a_host("web-77"))
    record = await first.submit(target_hostnames=[first.key.host])
    await RequestLog(broker).cancel(record.request_id, [first.key], reason="enough")
    wish = next(iter(record.wishes().values()))
    await RequestLog(broker).append({later.key: wish}, piece=1)
    assert await later.states_of(record.request_id) == ["submitted", "cancelled"]
    assert (await later.load()).entries == {}
    assert await later.rings() == 0


async def test_a_host_that_fell_silent_loses_what_it_held_and_takes_up_what_waits(host: PlayedHost) -> None:
    record = await host.submit()
    waiting = await host.submit(profiling_mode="wall", expires_in=86_400)
    await host.settle()
    await host.begin()
    assert not await host.lose(), "it has just beaten"
    host.now += 300
    assert await host.lose()
    assert not await host.lose(), "once"
    assert await outcomes_of(host, record.request_id) == ["lost"]
    await host.settle()
    assert await outcomes_of(host, waiting.request_id) == []
    assert (await host.take()).command_id == waiting.command_id


async def test_what_was_never_handed_out_is_not_lost(host: PlayedHost) -> None:
    record = await host.submit()
    await host.settle()
    await host.beat()
    await host.beat(received=[record.command_id])
    host.now += 300
    assert await host.lose()
    again = await host.submit()
    await host.settle()
    host.now += 300
    assert not await host.lose()
    assert await outcomes_of(host, again.request_id) == []


async def test_an_agent_back_at_work_on_what_was_lost_is_told_to_stop(host: PlayedHost) -> None:
    record = await host.submit(continuous=True)
    await host.settle()
    taken = await host.begin()
    host.now += 300
    assert await host.lose()
    await host.settle()
    assert await host.rings() == 1, "of the submission: nobody looks after a host that is silent"
    assert isinstance(await host.beat(last=taken.command_id), Idle)
    assert await host.rings() == 1, "it does not say that it is at work"
    for _ in range(3):
        assert isinstance(await host.beat(last=taken.command_id, begun=True), Idle)
    assert await host.rings() == 2, "once"
    await host.settle()
    stop = await host.beat(last=taken.command_id, begun=True)
    assert isinstance(stop, Delivered)
    assert '"stop"' in stop.command
    assert isinstance(await host.beat(last=stop.command_id, executed=[stop.command_id]), Idle)
    assert await host.state() == "completed"
    assert await outcomes_of(host, record.request_id) == ["lost"]


async def test_an_agent_back_at_work_is_given_what_came_meanwhile_and_no_stop(host: PlayedHost) -> None:
    await host.submit(continuous=True)
    await host.settle()
    taken = await host.begin()
    host.now += 300
    await host.lose()
    newer = await host.submit()
    await host.settle()
    answer = await host.beat(last=taken.command_id, begun=True)
    assert isinstance(answer, Delivered)
    assert answer.command_id == newer.command_id


async def test_a_stop_that_was_lost_on_its_way_is_followed_by_another(host: PlayedHost) -> None:
    record = await host.submit(continuous=True)
    await host.settle()
    taken = await host.begin()
    await host.cancel(record.request_id)
    await host.settle()
    lost = await host.take()
    host.now += 300
    assert await host.lose()
    assert isinstance(await host.beat(last=taken.command_id, begun=True), Idle)
    await host.settle()
    again = await host.take()
    assert again.generation == lost.generation + 1
    assert '"stop"' in again.command
