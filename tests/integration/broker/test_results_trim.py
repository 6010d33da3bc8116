"""The results stream is trimmed behind its slowest reader, and never before a day has passed."""

import time
from datetime import timedelta

import pytest

from broker import keys
from broker.connection import Broker
from broker.results import KEPT_FOR, Results
from broker.streams import Entry
from tests.support.builders import a_host, a_start
from tests.support.played_host import PlayedHost

SHORTLY = timedelta(milliseconds=50)
MANY = 200


@pytest.fixture
async def told(broker: Broker) -> PlayedHost:
    """A host of which a lot was told just now."""
    host = PlayedHost(broker)
    for _ in range(MANY):
        await host.append(a_start())
    return host


def tomorrow() -> float:
    return time.time() + KEPT_FOR.total_seconds() + 60


def position(entry_id: str) -> tuple[int, int]:
    ms, _, number = entry_id.partition("-")
    return int(ms), int(number)


async def left(host: PlayedHost) -> list[tuple[int, int]]:
    async with host.broker.guarded() as redis:
        return [position(entry_id) for entry_id, _ in await redis.xrange(keys.results(host.at.partition))]


async def read(broker: Broker, group: str, count: int) -> list[Entry]:
    """Some entries, read and acked."""
    reader = Results(broker).reader(group, "c")
    entries = await reader.read(count=count, block=SHORTLY)
    assert len(entries) == count
    await reader.ack(entries)
    return entries


async def test_what_nobody_has_asked_for_is_kept_for_a_day(told: PlayedHost, broker: Broker) -> None:
    assert await Results(broker).trim(now=time.time()) == 0
    assert len(await left(told)) == MANY
    assert await Results(broker).trim(now=tomorrow()) > MANY / 2


async def test_what_was_read_is_kept_for_a_day_too(told: PlayedHost, broker: Broker) -> None:
    await read(broker, "fast", MANY)
    assert await Results(broker).trim(now=time.time()) == 0
    assert len(await left(told)) == MANY


async def test_trimming_never_passes_the_slowest_group(told: PlayedHost, broker: Broker) -> None:
    await read(broker, "fast", MANY)
    slow = await read(broker, "slow", 120)
    assert await Results(broker).trim(now=tomorrow()) > 0
    assert min(await left(told)) <= position(slow[-1].entry_id)
    assert len(await read(broker, "slow", MANY - 120)) == MANY - 120, "everything it had not read is there"


async def test_a_group_that_has_read_nothing_holds_everything(told: PlayedHost, broker: Broker) -> None:
    await read(broker, "fast", MANY)
    await Results(broker).reader("new", "c").prepare()
    assert await Results(broker).trim(now=tomorrow()) == 0
    assert len(await left(told)) == MANY


async def test_trimming_never_passes_what_is_still_pending(told: PlayedHost, broker: Broker) -> None:
    """It was handed to a consumer that may have died: whoever claims it must find it."""
    reader = Results(broker).reader("projectors", "dead")
    entries = await reader.read(count=MANY, block=SHORTLY)
    await reader.ack([*entries[:100], *entries[101:]])
    assert await Results(broker).trim(now=tomorrow()) > 0
    assert min(await left(told)) <= position(entries[100].entry_id)
    (claimed,) = await Results(broker).reader("projectors", "heir").claim(idle=timedelta(0))
    assert claimed.entry_id == entries[100].entry_id


async def test_a_stream_that_is_not_there_is_trimmed_of_nothing(broker: Broker) -> None:
    assert await Results(broker).trim(now=tomorrow()) == 0


async def test_every_event_has_the_documented_fields(broker: Broker) -> None:
    host = PlayedHost(broker, a_host("web-02"))
    await host.submit(pids=[1, 2])
    await host.settle()
    await host.begin()
    await host.submit(command_type="stop", pids=[1])
    await host.settle()
    command = await host.begin()
    await host.complete(command.command_id, execution_time=1.5, samples=3, results_path="/p", error_message="m")
    always = ["v", "state", "tenant", "service", "hostname", "command_id", "generation", "request_ids", "at"]
    sometimes = {
        "reason", "attempt", "execution_time", "samples", "results_path", "started_at", "finished_at",
    }  # fmt: skip
    events = await host.results()
    assert len(events) > 8
    for event in events:
        assert list(event)[: len(always)] == always
        assert set(event) - set(always) <= sometimes
        assert (event["v"], event["tenant"], event["service"], event["hostname"]) == ("1", "default", "web", "web-02")
        assert event["at"].isdecimal()
        assert event["generation"].isdecimal()
