"""The live feed of one process: read while somebody listens, across outages, from where one stood."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

import pytest

from broker import keys
from broker import live as broker_live
from broker.connection import Broker
from broker.live import MOST_CAUGHT_UP, ROOM, SLOW, TOO_OLD, Listener, LiveFeed, Told
from tests.support.private_broker import private_broker
from tests.support.roles_at_work import before_long

FAMILIES = ("results",)


async def tell(broker: Broker, numbers: Iterable[int], *, partition: int = 0) -> None:
    """Entries with these numbers in the results of a partition."""
    await broker.send([("XADD", keys.results(partition), "*", "n", number, "state", "x") for number in numbers])


def all_of(told: Told) -> bool:
    return told.family == "results"


async def hear(feed: LiveFeed, listener: Listener, count: int) -> list[int]:
    """The numbers of the next entries, in the order they came."""
    heard: list[int] = []
    async with asyncio.timeout(20):
        while len(heard) < count:
            for told in await feed.take(listener, within=1.0):
                listener.passed(told)
                heard.append(int(told.fields["n"]))
    return heard


async def test_the_streams_are_read_while_somebody_listens_and_only_then(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = LiveFeed(broker)
    for _ in range(2):
        assert feed.listeners == 0
        async with feed.listening(all_of, FAMILIES) as one, feed.listening(all_of, FAMILIES) as other:
            await tell(broker, [1, 2])
            assert await hear(feed, one, 2) == await hear(feed, other, 2) == [1, 2]
            async with broker.guarded() as redis:
                readers = [each for each in await redis.client_list() if each["cmd"] == "xread"]
            assert len(readers) == 1, "one for all of them"

        async def nobody_reads() -> bool:
            async with broker.guarded() as redis:
                reading = [each for each in await redis.client_list() if each["cmd"] == "xread"]
            return not [each for each in reading if each["flags"] == "b"]

        await before_long(nobody_reads, what="the end of the reading")
    monkeypatch.setattr(broker, "redis", None)  # nothing is asked of the broker any more


async def test_somebody_goes_on_from_where_they_stood_with_what_came_meanwhile_in_between(broker: Broker) -> None:
    feed = LiveFeed(broker)
    async with feed.listening(all_of, FAMILIES) as listener:
        await tell(broker, range(5))
        assert await hear(feed, listener, 5) == list(range(5))
        cursor = listener.cursor
    await tell(broker, range(5, 500), partition=3)
    elsewhere = LiveFeed(broker)
    async with elsewhere.listening(all_of, FAMILIES), asyncio.TaskGroup() as group:  # one that reads already
        group.create_task(tell(broker, range(500, 900), partition=3))
        async with elsewhere.listening(all_of, FAMILIES, after=elsewhere.read_cursor(cursor)) as back:
            assert await hear(elsewhere, back, 895) == list(range(5, 900))


async def test_a_position_ahead_of_this_process_hears_nothing_twice(broker: Broker) -> None:
    """Two processes read at their own pace: a client may come from the quicker one."""
    feed = LiveFeed(broker)
    async with feed.listening(all_of, FAMILIES) as listener:
        await tell(broker, range(3))
        await hear(feed, listener, 3)
        cursor = listener.cursor
    late = LiveFeed(broker)
    async with late.listening(all_of, FAMILIES, after=late.read_cursor(cursor)) as back:
        for told in (Told(0, position, "results", {"n": "9"}) for position in [(1, 0), back.positions[0]]):
            back.hear(told)
        await tell(broker, [3])
        assert await hear(late, back, 1) == [3]


async def test_who_does_not_keep_up_or_missed_too_much_is_told_so_once(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_live, "MOST_CAUGHT_UP", 50)
    feed = LiveFeed(broker)
    async with feed.listening(all_of, FAMILIES) as slow, feed.listening(all_of, FAMILIES) as quick:
        await tell(broker, range(ROOM + 1))
        assert len(await hear(feed, quick, ROOM + 1)) == ROOM + 1
        assert await feed.take(slow, within=1.0) == []
        assert feed.rejoin(slow) == SLOW
        assert feed.rejoin(slow) is None
        assert slow.positions == quick.positions
        await tell(broker, [1])
        assert await hear(feed, slow, 1) == [1]
        cursor = slow.cursor
    await tell(broker, range(51))
    async with feed.listening(all_of, FAMILIES, after=feed.read_cursor(cursor)) as back:
        assert feed.rejoin(back) == TOO_OLD
    assert MOST_CAUGHT_UP >= 10 * ROOM


async def test_what_went_by_unwanted_is_not_looked_through_again(broker: Broker) -> None:
    feed = LiveFeed(broker)
    async with feed.listening(lambda _: False, FAMILIES) as one, feed.listening(all_of, FAMILIES) as all_:
        before = one.cursor
        await tell(broker, range(3))
        await hear(feed, all_, 3)
        feed.note_idle(one)
        assert one.cursor == all_.cursor != before


async def test_an_outage_of_the_broker_ends_no_stream_and_loses_nothing(tmp_path: Path) -> None:
    with private_broker(tmp_path) as server:
        async with Broker.opened(server.settings) as broker:
            feed = LiveFeed(broker)
            async with feed.listening(all_of, FAMILIES) as listener:
                await tell(broker, [1])
                assert await hear(feed, listener, 1) == [1]
                await asyncio.to_thread(server.crash)
                await asyncio.sleep(0.2)
                await asyncio.to_thread(server.come_back)
                await tell(broker, [2])
                assert await hear(feed, listener, 1) == [2]
