"""A host that nobody knows joins where it may, and is no host at all where it may not."""

from datetime import timedelta

import pytest

from broker import keys
from broker.connection import Broker
from broker.host_registry import FORGOTTEN_AFTER, HostRegistry
from broker.scripts import Contested, Credential, Idle, New
from tests.support.played_host import PlayedHost
from tests.support.servers import everything_in

SHARED, OTHER = Credential("t-shared", "s"), Credential("t-other", "s")


@pytest.fixture
def host(broker: Broker) -> PlayedHost:
    return PlayedHost(broker)


async def test_nothing_is_kept_of_one_that_may_not_join(host: PlayedHost) -> None:
    before = everything_in(host.broker.settings)
    for _ in range(2):
        assert await host.beat_as(SHARED, may_join=False) == New()
    assert everything_in(host.broker.settings) == before
    assert await HostRegistry(host.broker).get(host.key) is None


async def test_one_that_has_joined_is_asked_no_more(host: PlayedHost) -> None:
    assert await host.beat_as(SHARED) == Idle(0)
    assert await host.beat_as(SHARED, may_join=False) == Idle(0)
    assert isinstance(await host.beat_as(OTHER, may_join=False), Contested)


async def test_one_whose_key_is_gone_is_known_by_the_set(host: PlayedHost) -> None:
    assert await host.beat_as(SHARED) == Idle(0)
    async with host.broker.guarded() as redis:
        await redis.delete(keys.host(host.at))
    assert await host.beat_as(SHARED, may_join=False) == Idle(0)


async def test_one_that_was_forgotten_is_new_again(host: PlayedHost) -> None:
    assert await host.beat_as(SHARED) == Idle(0)
    later = host.now + (FORGOTTEN_AFTER + timedelta(minutes=1)).total_seconds()
    async with host.broker.guarded() as redis:
        await redis.delete(keys.host(host.at))  # as it expires
    assert await HostRegistry(host.broker).forget_silent(now=later)
    assert await host.beat_as(SHARED, may_join=False) == New()
