"""Waking held heartbeats: fast when all is well, and never the only way when it is not."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.connection import Broker
from broker.nudges import Nudges
from tests.support.builders import a_host
from tests.support.played_host import PlayedHost
from tests.support.private_broker import private_broker

SOON = 20.0
"""It comes within milliseconds; on a busy machine who listens may have to wait for its turn."""


@contextlib.asynccontextmanager
async def listening(nudges: Nudges) -> AsyncIterator[None]:
    """Nudges that are being listened for, by the server's word."""
    task = asyncio.create_task(nudges.listen())
    try:
        with nudges.waiter("whoever") as woken:
            await asyncio.wait_for(woken.wait(), SOON)
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def nudges(broker: Broker) -> AsyncIterator[Nudges]:
    listener = Nudges(broker)
    async with listening(listener):
        yield listener


async def test_an_install_wakes_who_waits_for_the_host(broker: Broker, nudges: Nudges) -> None:
    host = PlayedHost(broker)
    with nudges.waiter(host.at.path) as woken, nudges.waiter("default/web/web-02") as other:
        await host.submit()
        assert not woken.is_set()
        await host.settle()
        await asyncio.wait_for(woken.wait(), SOON)
        assert not other.is_set()


async def test_hosts_of_every_partition_are_woken(broker: Broker, nudges: Nudges) -> None:
    hosts = [PlayedHost(broker, a_host(f"web-{number}")) for number in range(400)]
    assert len({host.at.partition for host in hosts}) == broker.partitions
    with contextlib.ExitStack() as stack:
        waiters = [stack.enter_context(nudges.waiter(host.at.path)) for host in hosts]
        for host in hosts:
            await host.submit()
            await host.settle()
        await asyncio.wait_for(asyncio.gather(*(woken.wait() for woken in waiters)), SOON)


async def test_everybody_who_waits_for_a_host_is_woken(broker: Broker) -> None:
    nudges = Nudges(broker)
    with nudges.waiter("a") as one, nudges.waiter("a") as two, nudges.waiter("b") as other:
        assert nudges.held == 3
        nudges.wake("a")
        assert (one.is_set(), two.is_set(), other.is_set()) == (True, True, False)
        nudges.wake_all()
        assert other.is_set()
    assert nudges.held == 0


async def test_a_nudge_for_nobody_wakes_nobody(broker: Broker) -> None:
    nudges = Nudges(broker)
    nudges.wake("nobody")
    with nudges.waiter("nobody") as woken:
        assert not woken.is_set()


async def test_who_went_away_is_not_held_any_more(broker: Broker) -> None:
    nudges = Nudges(broker)
    with pytest.raises(TimeoutError), nudges.waiter("a") as woken:
        await asyncio.wait_for(woken.wait(), 0.01)
    assert nudges.held == 0


async def test_closing_answers_everybody_now_and_holds_nobody_more(broker: Broker) -> None:
    nudges = Nudges(broker)
    with nudges.waiter("a") as held:
        nudges.close()
        assert held.is_set()
    assert nudges.closing
    with nudges.waiter("b") as late:
        assert late.is_set()


async def test_after_the_server_was_away_everybody_asks_again(tmp_path: Path) -> None:
    """Whatever was published meanwhile was missed."""
    with private_broker(tmp_path) as server:
        async with Broker.opened(server.settings) as broker:
            nudges = Nudges(broker)
            async with listening(nudges):
                host = PlayedHost(broker)
                with nudges.waiter(host.at.path) as woken:
                    server.crash()
                    await asyncio.sleep(0.1)
                    assert not woken.is_set(), "nothing to ask yet"
                    server.come_back()
                    await asyncio.wait_for(woken.wait(), SOON)
                with nudges.waiter(host.at.path) as woken:
                    await host.submit()
                    await host.settle()
                    await asyncio.wait_for(woken.wait(), SOON)
