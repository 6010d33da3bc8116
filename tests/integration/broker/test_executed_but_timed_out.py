"""Any call to Redis may fail before or after it was executed: whoever repeats it gets one outcome."""

import os
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from broker import keys
from broker.command_store import CommandStore
from broker.connection import Broker, Call
from broker.errors import BrokerUnavailable
from broker.request_log import RequestLog
from broker.scripts import Beat
from broker.settings import BrokerSettings
from broker.streams import GroupReader
from tests.support.builders import NOW, a_host, a_start
from tests.support.counting import COUNT_UP
from tests.support.faults import LATE, REFUSED, Faults, befallen
from tests.support.repeated_story import RepeatedStory
from tests.support.servers import emptied
from workers import merger, projector, recoverer

SHORTLY = timedelta(milliseconds=2)
COUNT = Call(COUNT_UP, ["pcs:{0}:count"], [])
OTHER = Call(COUNT_UP, ["pcs:{1}:count"], [])


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in nobody's hands is taken over at once, and nobody waits for work."""
    for role in (merger, projector):
        monkeypatch.setattr(role, "BLOCK", SHORTLY)
    for role in (recoverer, projector):
        monkeypatch.setattr(role, "IDLE", timedelta(0))


@pytest.fixture(autouse=True)
async def _kept_in_memory(broker_settings: BrokerSettings) -> AsyncIterator[None]:
    """Nothing is lost here by killing the server: it need not wait for the disk."""
    async with Broker.opened(broker_settings) as plain, plain.guarded() as redis:
        await redis.config_set("appendfsync", "no")
        yield
        await redis.config_set("appendfsync", "always")


@pytest.mark.parametrize("seed", range(int(os.environ.get("FAULT_SEEDS", "8"))))
async def test_every_request_ends_once_whatever_is_refused_or_late(broker_settings: BrokerSettings, seed: int) -> None:
    settings = broker_settings.model_copy(update={"partitions": 4})
    faults = Faults(seed, refused=0.08, late=0.12)
    async with emptied(settings), Broker.opened(settings) as fresh, befallen(fresh, faults) as broker:
        story = RepeatedStory(broker, seed)
        await story.play()
        with faults.off():
            await story.check()
    assert faults.counts[REFUSED] > 5
    assert faults.counts[LATE] > 5


async def counted(settings: BrokerSettings) -> tuple[int, int]:
    async with Broker.opened(settings) as broker, broker.guarded() as redis:
        return int(await redis.get(COUNT.keys[0]) or 0), int(await redis.get(OTHER.keys[0]) or 0)


async def counted_in_a_transaction(broker: Broker) -> None:
    async with broker.guarded() as redis, redis.pipeline(transaction=True) as pipe:
        pipe.incr(COUNT.keys[0])
        await pipe.execute()


async def test_what_is_refused_was_not_executed_and_what_is_late_was_once(broker_settings: BrokerSettings) -> None:
    async with emptied(broker_settings) as plain:
        await plain.run(COUNT)
        await CommandStore(plain).exchange(Beat(a_host()), now=NOW - 60)
        for wanted, executed in ((Faults(1, refused=1, late=0), 1), (Faults(1, refused=0, late=1), 2)):
            async with Broker.opened(broker_settings) as fresh, befallen(fresh, wanted) as broker:
                with pytest.raises(BrokerUnavailable):
                    await broker.run(COUNT)
            assert (await counted(broker_settings))[0] == executed


async def test_calls_on_a_line_meet_the_faults_as_others_do(broker_settings: BrokerSettings) -> None:
    async with emptied(broker_settings) as plain:
        await plain.run(COUNT)
        await CommandStore(plain).exchange(Beat(a_host()), now=NOW - 60)
        for wanted, executed in ((Faults(1, refused=1, late=0), 1), (Faults(1, refused=0, late=1), 2)):
            async with Broker.opened(broker_settings) as fresh, befallen(fresh, wanted) as broker:
                with pytest.raises(BrokerUnavailable):
                    await broker.run_on_line(COUNT)
                with pytest.raises(BrokerUnavailable):
                    await CommandStore(broker).exchange(Beat(a_host()), now=NOW)
            assert (await counted(broker_settings))[0] == executed
            async with plain.guarded() as redis:
                last_beat = await redis.hget(keys.host(plain.place(a_host())), "last_beat")
            assert float(last_beat) / 1000 == (NOW if executed == 2 else NOW - 60)


async def test_commands_transactions_pipelines_and_reads_meet_the_faults(
    broker_settings: BrokerSettings,
) -> None:
    async with emptied(broker_settings) as plain:
        await plain.run(COUNT)
        await RequestLog(plain).append({a_host(): a_start()})
        stream = keys.doorbell(plain.place(a_host()).partition)
        heir = GroupReader(plain, [stream], group="g", consumer="heir")
        await heir.prepare()
        async with Broker.opened(broker_settings) as fresh, befallen(fresh, Faults(3, refused=0, late=1)) as broker:
            with pytest.raises(BrokerUnavailable):
                async with broker.guarded() as redis:
                    await redis.hset("pcs:{2}:h", "a", "b")
            with pytest.raises(BrokerUnavailable):
                await counted_in_a_transaction(broker)
            with pytest.raises(BrokerUnavailable):
                await broker.run_all([COUNT] * 3)
            lost = GroupReader(broker, [stream], group="g", consumer="lost")
            lost._prepared.add(stream)
            with pytest.raises(BrokerUnavailable):
                await lost.read(count=10, block=SHORTLY)
        async with plain.guarded() as redis:
            assert await redis.hget("pcs:{2}:h", "a") == "b"
        assert 3 <= (await counted(broker_settings))[0] <= 5, "a pipeline is executed up to some command, or wholly"
        assert len(await heir.claim(idle=timedelta(0))) == 1, "what was handed out and never heard of is claimed"


async def test_the_same_seed_makes_the_same_faults() -> None:
    def story(seed: int) -> list[str]:
        faults = Faults(seed)
        return [faults.next() for _ in range(200)]

    assert story(7) == story(7) != story(8)
    assert {*story(7)} == {REFUSED, LATE, "well"}


async def test_a_client_that_repeats_by_itself_is_caught(broker_settings: BrokerSettings) -> None:
    """The test of the test: with redis-py's own retries the same call counts again and again."""
    async with emptied(broker_settings) as plain:
        await plain.run(COUNT)
        async with Broker.opened(broker_settings) as fresh, befallen(fresh, Faults(1, refused=0, late=1)) as broker:
            broker.redis.connection_pool.connection_kwargs["retry"]._retries = 3
            with pytest.raises(BrokerUnavailable):
                await broker.run(COUNT)
        assert (await counted(broker_settings))[0] > 2
