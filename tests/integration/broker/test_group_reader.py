"""A consumer's end of some streams: nothing is lost, nothing is handed to two at once."""

import asyncio
from datetime import timedelta

import pytest

from broker import streams
from broker.connection import Broker
from broker.streams import Entry, GroupReader, consumer_name

STREAMS = ["pcs:{1}:one", "pcs:{2}:two"]
SHORTLY = timedelta(milliseconds=50)
AT_ONCE = timedelta(0)


def reader(broker: Broker, consumer: str = "a", group: str = "g") -> GroupReader:
    return GroupReader(broker, STREAMS, group=group, consumer=consumer)


async def add(broker: Broker, *texts: str, stream: str = STREAMS[0]) -> None:
    async with broker.guarded() as redis:
        for text in texts:
            await redis.xadd(stream, {"text": text})


def texts(entries: list[Entry]) -> list[str]:
    return [entry.fields["text"] for entry in entries]


async def test_entries_that_were_there_before_the_group_are_read(broker: Broker) -> None:
    await add(broker, "a", "b")
    assert texts(await reader(broker).read(count=10, block=SHORTLY)) == ["a", "b"]


async def test_entries_of_several_streams_are_read_together(broker: Broker) -> None:
    await add(broker, "a")
    await add(broker, "b", stream=STREAMS[1])
    found = await reader(broker).read(count=10, block=SHORTLY)
    assert {(entry.stream, entry.fields["text"]) for entry in found} == {(STREAMS[0], "a"), (STREAMS[1], "b")}


async def test_nothing_new_is_nothing_after_the_wait(broker: Broker) -> None:
    assert await reader(broker).read(count=10, block=SHORTLY) == []


async def test_a_waiting_reader_is_woken(broker: Broker) -> None:
    waiting = reader(broker)
    await waiting.prepare()
    reading = asyncio.create_task(waiting.read(count=10, block=timedelta(minutes=1)))
    await asyncio.sleep(0.05)
    await add(broker, "late")
    assert texts(await asyncio.wait_for(reading, 20)) == ["late"]


async def test_an_entry_goes_to_one_consumer_of_a_group_and_to_every_group(broker: Broker) -> None:
    await add(broker, "a", "b", "c")
    first = await reader(broker, "a").read(count=2, block=SHORTLY)
    second = await reader(broker, "b").read(count=10, block=SHORTLY)
    other = await reader(broker, "a", group="other").read(count=10, block=SHORTLY)
    assert (texts(first), texts(second), texts(other)) == (["a", "b"], ["c"], ["a", "b", "c"])


async def test_what_is_acked_is_never_claimed(broker: Broker) -> None:
    await add(broker, "a", "b")
    dead = reader(broker, "dead")
    await dead.ack((await dead.read(count=10, block=SHORTLY))[:1])
    assert texts(await reader(broker, "heir").claim(idle=AT_ONCE)) == ["b"]


async def test_acking_may_delete_what_nobody_else_needs(broker: Broker) -> None:
    await add(broker, "a", "b")
    consumer = reader(broker)
    entries = await consumer.read(count=10, block=SHORTLY)
    await consumer.ack(entries[:1], delete=True)
    await consumer.ack(entries[1:])
    async with broker.guarded() as redis:
        assert [fields["text"] for _, fields in await redis.xrange(STREAMS[0])] == ["b"]


async def test_what_a_dead_consumer_left_is_claimed_with_its_count(broker: Broker) -> None:
    await add(broker, "a")
    await add(broker, "b", stream=STREAMS[1])
    await reader(broker, "dead").read(count=10, block=SHORTLY)
    for deliveries in (2, 3, 4):
        claimed = await reader(broker, f"heir-{deliveries}").claim(idle=AT_ONCE)
        assert sorted(texts(claimed)) == ["a", "b"]
        assert {entry.deliveries for entry in claimed} == {deliveries}


async def test_what_is_in_work_is_not_claimed(broker: Broker) -> None:
    await add(broker, "a")
    await reader(broker, "busy").read(count=10, block=SHORTLY)
    assert await reader(broker, "heir").claim(idle=timedelta(minutes=1)) == []


async def test_what_is_held_stays_with_who_has_it_and_what_was_taken_over_or_acked_does_not(broker: Broker) -> None:
    await add(broker, "a", "b", "c")
    await add(broker, "d", stream=STREAMS[1])
    slow, heir = reader(broker), reader(broker, "heir")
    entries = await slow.read(count=10, block=SHORTLY)
    assert texts(await slow.hold(entries, idle=AT_ONCE)) == texts(entries)
    taken_over = await heir.claim(idle=AT_ONCE, count=1)  # of each stream
    assert {entry.deliveries for entry in taken_over} == {2}, "holding is no delivery"
    left = [entry for entry in entries if entry.fields["text"] in "bc"]
    assert texts(await slow.hold(entries, idle=timedelta(minutes=1))) == []
    await slow.ack(left[:1])
    assert texts(await slow.hold(left, idle=AT_ONCE)) == ["c"]


async def test_a_claimed_entry_is_in_work_again(broker: Broker) -> None:
    await add(broker, "a")
    (entry,) = await reader(broker, "dead").read(count=10, block=SHORTLY)
    idle = timedelta(minutes=1)  # the five claims take less than that, however busy the machine is
    async with broker.guarded() as redis:
        await redis.xclaim(entry.stream, "g", "dead", min_idle_time=0, message_ids=[entry.entry_id], idle=61_000)
    claims = await asyncio.gather(*(reader(broker, f"heir-{number}").claim(idle=idle) for number in range(5)))
    assert sum(len(claimed) for claimed in claims) == 1


async def test_an_entry_that_is_gone_is_not_claimed(broker: Broker) -> None:
    await add(broker, "a", "b")
    entries = await reader(broker, "dead").read(count=10, block=SHORTLY)
    async with broker.guarded() as redis:
        await redis.xdel(STREAMS[0], entries[0].entry_id)
    assert texts(await reader(broker, "heir").claim(idle=AT_ONCE)) == ["b"]


async def test_a_claim_takes_no_more_than_it_is_told(broker: Broker) -> None:
    await add(broker, *"abcdef")
    await reader(broker, "dead").read(count=10, block=SHORTLY)
    assert texts(await reader(broker, "heir").claim(idle=AT_ONCE, count=4)) == list("abcd")


async def test_consumers_that_are_long_silent_are_forgotten(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    await add(broker, "a")
    await reader(broker, "holds one").read(count=1, block=SHORTLY)
    await reader(broker, "silent").read(count=1, block=SHORTLY)
    ours = reader(broker, "ours")
    await ours.read(count=1, block=SHORTLY)
    assert await ours.forget_dead_consumers() == 0, "nobody has been silent for an hour"
    monkeypatch.setattr(streams, "CONSUMER_FORGOTTEN_AFTER", timedelta(milliseconds=10))
    await asyncio.sleep(0.02)
    assert await ours.forget_dead_consumers() >= 1
    async with broker.guarded() as redis:
        left = {row["name"] for row in await redis.xinfo_consumers(STREAMS[0], "g")}
    assert left == {"holds one", "ours"}, "who holds an entry is kept until somebody has claimed it"


@pytest.mark.parametrize("verb", ["read", "claim", "forget"])
async def test_a_server_that_came_back_empty_gets_its_groups_anew(broker: Broker, verb: str) -> None:
    consumer = reader(broker)
    await consumer.read(count=1, block=SHORTLY)
    async with broker.guarded() as redis:
        await redis.flushall()
    match verb:
        case "read":
            assert await consumer.read(count=1, block=SHORTLY) == []
        case "claim":
            assert await consumer.claim(idle=AT_ONCE) == []
        case _:
            assert await consumer.forget_dead_consumers() == 0
    await add(broker, "after")
    assert texts(await consumer.read(count=1, block=SHORTLY)) == ["after"]


async def test_a_reader_that_waits_while_the_server_is_emptied_reads_on(broker: Broker) -> None:
    consumer = reader(broker)
    await consumer.prepare()
    reading = asyncio.create_task(consumer.read(count=1, block=timedelta(seconds=2)))
    await asyncio.sleep(0.05)
    async with broker.guarded() as redis:
        await redis.flushall()
    assert await asyncio.wait_for(reading, 20) == []
    await add(broker, "after")
    found = await consumer.read(count=1, block=SHORTLY) or await consumer.read(count=1, block=SHORTLY)
    assert texts(found) == ["after"]


async def test_dead_consumers_of_a_group_that_nobody_made_are_none(broker: Broker) -> None:
    assert await reader(broker).forget_dead_consumers() == 0


def test_no_two_processes_share_a_name() -> None:
    assert len({consumer_name() for _ in range(100)}) == 100
