"""One connection, one way to call a script, and what callers see when the server is not there."""

import asyncio
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.exceptions import ResponseError

from broker import connection, keys
from broker.connection import Broker, Call, Script
from broker.errors import BrokerUnavailable, PartitionMismatch, UnsafeSocketFolder
from broker.settings import BrokerSettings
from tests.support.private_broker import PrivateBroker, private_broker
from tests.support.processes import broker_role, started


@pytest.fixture
def own(tmp_path: Path) -> Iterator[PrivateBroker]:
    with private_broker(tmp_path) as server:
        yield server


def a_script(text: str) -> Script:
    return Script("test", text, hashlib.sha1(text.encode()).hexdigest())


ECHO = Call(a_script("return ARGV[1]"), [], ["hello"])
COUNT = Call(a_script("return redis.call('INCR', KEYS[1])"), ["pcs:{1}:count"], [])
BROKEN = Call(a_script("return redis.call('NO_SUCH_COMMAND')"), [], [])


# --- layout -----------------------------------------------------------------------------------------------------------


async def test_the_number_of_partitions_is_fixed_at_first_start(broker_settings: BrokerSettings) -> None:
    async with Broker.opened(broker_settings) as first:
        async with first.guarded() as redis:
            await redis.flushall()
        await first.settle_layout()
        await first.settle_layout()
    async with Broker.opened(broker_settings.model_copy(update={"partitions": 32})) as other:
        with pytest.raises(PartitionMismatch, match="set PCS_PARTITIONS=16") as caught:
            await other.settle_layout()
        assert (caught.value.stored, caught.value.configured) == (16, 32)
        with pytest.raises(PartitionMismatch):
            await other.wait_until_ready()
        async with other.guarded() as redis:
            assert await redis.hgetall(keys.layout()) == {"partitions": "16"}


async def test_a_socket_folder_of_somebody_else_is_refused_before_connecting(tmp_path: Path) -> None:
    settings = BrokerSettings(state_dir=tmp_path)
    settings.socket_path.parent.mkdir(mode=0o700)
    settings.socket_path.parent.chmod(0o722)
    async with Broker.opened(settings) as broker:
        for verb in (broker.ping, broker.settle_layout):
            with pytest.raises(UnsafeSocketFolder):
                await verb()


# --- calling scripts --------------------------------------------------------------------------------------------------


async def test_a_script_the_server_does_not_know_yet_is_run_once(broker: Broker) -> None:
    async with broker.guarded() as redis:
        await redis.script_flush()
    assert await broker.run(COUNT) == 1
    assert await broker.run(COUNT) == 2


async def test_scripts_recover_from_a_flush_in_the_middle_of_a_batch(broker: Broker) -> None:
    assert await broker.run_all([COUNT] * 5) == [1, 2, 3, 4, 5]
    async with broker.guarded() as redis:
        await redis.script_flush()
    assert await broker.run_all([COUNT, ECHO, COUNT]) == [6, "hello", 7]


async def test_no_calls_are_no_round_trip(broker: Broker) -> None:
    assert await broker.run_all([]) == []


@pytest.mark.parametrize("known", [True, False], ids=["script known", "script unknown"])
async def test_one_broken_call_does_not_spoil_the_others(broker: Broker, known: bool) -> None:
    async with broker.guarded() as redis:
        await redis.script_flush()
        if known:
            await redis.script_load(BROKEN.script.text)
    first, broken, last = await broker.run_all([COUNT, BROKEN, COUNT])
    assert (first, last) == (1, 2)
    assert isinstance(broken, ResponseError)


# --- a server that is away --------------------------------------------------------------------------------------------


async def test_a_server_that_was_never_there_is_unavailable(tmp_path: Path) -> None:
    async with Broker.opened(BrokerSettings(state_dir=tmp_path)) as broker:
        with pytest.raises(BrokerUnavailable) as caught:
            await broker.ping()
        assert str(tmp_path) not in str(caught.value), "an address may carry a password"
        for attempt in (broker.run(ECHO), broker.run_all([ECHO])):
            with pytest.raises(BrokerUnavailable):
                await attempt


async def test_a_server_that_crashes_is_unavailable_and_is_used_again_when_it_is_back(own: PrivateBroker) -> None:
    async with Broker.opened(own.settings) as broker:
        await broker.settle_layout()
        assert await broker.run(COUNT) == 1
        own.crash()
        for attempt in (broker.ping(), broker.run(COUNT), broker.run_all([COUNT]), broker.settle_layout()):
            with pytest.raises(BrokerUnavailable):
                await attempt
        own.come_back()
        assert await broker.run(COUNT) == 2, "what was answered is there, and no attempt was made twice"
        await broker.settle_layout()


async def test_a_server_that_hangs_is_unavailable_and_nothing_is_done_twice(
    own: PrivateBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trap: a client that repeats after a timeout makes two entries of one."""
    monkeypatch.setattr(connection, "COMMAND_TIMEOUT_SECONDS", 0.5)
    async with Broker.opened(own.settings) as broker:
        await broker.run(COUNT)
        began = time.monotonic()
        with own.asleep():
            with pytest.raises(BrokerUnavailable):
                await broker.run(COUNT)
            with pytest.raises(BrokerUnavailable):
                await broker.run_all([COUNT])
        assert time.monotonic() - began < 3
        async with broker.guarded() as redis:
            assert int(await redis.get("pcs:{1}:count")) <= 3


async def test_a_server_that_takes_no_writes_is_unavailable(broker: Broker) -> None:
    async with broker.guarded() as redis:
        await redis.config_set("maxmemory", "1")
        try:
            with pytest.raises(BrokerUnavailable, match="OutOfMemoryError"):
                await broker.run(COUNT)
            with pytest.raises(BrokerUnavailable):
                await broker.run_all([COUNT])
        finally:
            await redis.config_set("maxmemory", "0")
    assert await broker.run(COUNT) == 1


async def test_a_server_that_misses_its_replicas_is_unavailable(broker: Broker) -> None:
    async with broker.guarded() as redis:
        await redis.config_set("min-replicas-to-write", "1")
        try:
            for attempt in (broker.run(COUNT), broker.run_all([COUNT]), broker.settle_layout()):
                with pytest.raises(BrokerUnavailable):
                    await attempt
        finally:
            await redis.config_set("min-replicas-to-write", "0")
    assert await broker.run(COUNT) == 1


async def test_a_wrong_answer_is_no_absence(broker: Broker) -> None:
    with pytest.raises(ResponseError):
        await broker.run(BROKEN)


async def test_roles_start_in_any_order(tmp_path: Path) -> None:
    async with Broker.opened(BrokerSettings(state_dir=tmp_path)) as broker:
        waiting = asyncio.create_task(broker.wait_until_ready())
        await asyncio.sleep(0.3)
        assert not waiting.done()
        with started(broker_role(tmp_path)):
            await asyncio.wait_for(waiting, 40)
            assert await broker.run(ECHO) == "hello"


async def test_many_callers_share_the_connection(broker: Broker) -> None:
    answers = await asyncio.gather(*(broker.run(COUNT) for _ in range(300)))
    assert sorted(answers) == list(range(1, 301))


# --- the end ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", range(8))
async def test_a_call_that_is_under_way_when_the_broker_is_closed_leaves_no_connection_open(
    broker_settings: BrokerSettings, steps: int
) -> None:
    """Nobody waits for it any more: its connection may be on the way up, and comes after the end."""
    broker = Broker(broker_settings)
    calls = [asyncio.create_task(client.ping()) for client in (broker.redis, broker.blocking)]
    for _ in range(steps):
        await asyncio.sleep(0)
    await broker.close()
    await asyncio.gather(*calls, return_exceptions=True)
    for client in (broker.redis, broker.blocking):
        pool = client.connection_pool
        assert [each for each in (*pool._available_connections, *pool._in_use_connections) if each.is_connected] == []


# --- cancelling -------------------------------------------------------------------------------------------------------


async def test_a_task_that_asks_again_and_again_ends_at_once_whenever_it_is_cancelled(broker: Broker) -> None:
    async def ask() -> None:
        while True:
            async with broker.guarded() as redis:
                await redis.get("nothing")
            await asyncio.sleep(0)

    for turns in range(300):  # each at another point of asking
        asking = asyncio.create_task(ask())
        for _ in range(turns % 40):
            await asyncio.sleep(0)
        asking.cancel()
        _, pending = await asyncio.wait([asking], timeout=10)
        assert not pending, f"it goes on after it was cancelled in turn {turns % 40}"
