"""Counting in the broker what somebody does: how much passes, what is left, and when there is room again."""

import asyncio

import pytest
import redis

from broker import keys
from broker.connection import Broker
from broker.limits import WindowLimits
from broker.quotas import Quota
from broker.slot_map import slot_of
from tests.support.key_leaks import leaked_keys


@pytest.fixture
def limits(broker: Broker) -> WindowLimits:
    return WindowLimits(broker)


async def test_so_much_passes_and_no_more(limits: WindowLimits) -> None:
    taken = [await limits.take("reads", "t-1", Quota(3, 60)) for _ in range(5)]
    assert [one.passed for one in taken] == [True, True, True, False, False]
    assert [one.left for one in taken] == [2, 1, 0, 0, 0]
    assert 50 <= taken[-1].seconds <= 61, "the window in which they were taken: then the first of them fades"


async def test_neither_lanes_nor_tokens_nor_sizes_share_a_count(limits: WindowLimits) -> None:
    assert (await limits.take("reads", "t-1", Quota(1, 60))).passed
    assert not (await limits.take("reads", "t-1", Quota(1, 60))).passed
    assert (await limits.take("stops", "t-1", Quota(1, 60))).passed
    assert (await limits.take("reads", "t-2", Quota(1, 60))).passed
    assert (await limits.take("reads", "t-1", Quota(2, 60))).passed


async def test_several_at_once_count_as_several_or_not_at_all(limits: WindowLimits) -> None:
    assert (await limits.take("submissions", "t-1", Quota(10, 60), cost=8)).left == 2
    refused = await limits.take("submissions", "t-1", Quota(10, 60), cost=3)
    assert (refused.passed, refused.left) == (False, 2)
    assert (await limits.take("submissions", "t-1", Quota(10, 60), cost=2)).passed


async def test_whoever_waits_as_long_as_told_gets_through(limits: WindowLimits) -> None:
    quota = Quota(4, 1)
    for _ in range(3):
        while (taken := await limits.take("reads", "t-1", quota)).passed:
            pass
        await asyncio.sleep(taken.seconds + 0.005)
        assert (await limits.take("reads", "t-1", quota)).passed


async def test_processes_count_together_in_one_slot_and_leave_nothing_behind(broker: Broker) -> None:
    for _ in range(2):
        assert (await WindowLimits(broker).take("reads", "{0}:odd", Quota(2, 60))).passed
    assert not (await WindowLimits(broker).take("reads", "{0}:odd", Quota(2, 60))).passed
    name = "reads/{0}:odd/2/60/second"
    assert slot_of(keys.window(name)) == slot_of(keys.window_before(name)) != slot_of("{0}")
    assert leaked_keys(broker.settings) == []
    with redis.Redis.from_url(broker.settings.url) as client:
        assert client.exists(keys.window(name)) == 1


async def test_a_check_is_one_round_trip(limits: WindowLimits, broker: Broker) -> None:
    await limits.take("reads", "t-1", Quota(9, 60))
    sent: list[int] = []
    send = broker.send

    async def counted(commands: list[object], **given: bool) -> list[object]:
        sent.append(len(commands))
        return await send(commands, **given)  # type: ignore[arg-type]  # passed on as they come

    broker.send = counted  # type: ignore[method-assign, assignment]  # to count what goes out
    await limits.take("reads", "t-1", Quota(9, 60))
    assert [count for count in sent if count] == [2]
