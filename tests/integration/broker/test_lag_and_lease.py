"""How far a group is behind, a position that only moves forward, and a lease."""

from datetime import timedelta

import pytest

from broker import keys, scripts
from broker.connection import Broker
from broker.lag import Lag, lag_of, overdue, total
from broker.lease import Lease
from broker.results import Results
from tests.support.builders import NOW, a_host
from tests.support.played_host import PlayedHost

SHORTLY = timedelta(milliseconds=20)
STREAM = keys.results(0)


async def filled(broker: Broker, *milliseconds: int) -> None:
    async with broker.guarded() as redis:
        for at in milliseconds:
            await redis.xadd(STREAM, {"k": "v"}, f"{at}-1")


async def lag(broker: Broker, group: str = "g", *, only_held: bool = False) -> Lag:
    (found,) = await lag_of(broker, [STREAM], group, only_held=only_held)
    return found


async def test_what_is_unread_and_what_is_unacked_is_behind(broker: Broker) -> None:
    reader = Results(broker).reader("g", "c")
    assert await reader.lag() == Lag(), "nothing is there"
    await filled(broker, 1000, 2000, 3000, 4000)
    assert await lag(broker) == Lag(4, 1000), "the group is not there"
    entries = await reader.read(count=2, block=SHORTLY)
    assert await lag(broker) == Lag(4, 1000)
    assert await lag(broker, only_held=True) == Lag(2, 1000)
    await reader.ack(entries[:1])
    assert await lag(broker) == Lag(3, 2000)
    await reader.ack(entries)
    assert await reader.lag() == Lag(2, 3000)
    assert await lag(broker, only_held=True) == Lag()


async def test_a_lag_that_the_server_lost_count_of_is_counted(broker: Broker) -> None:
    reader = Results(broker).reader("g", "c")
    await reader.prepare()
    await filled(broker, *range(1000, 1010))
    async with broker.guarded() as redis:
        await redis.xdel(STREAM, "1005-1")
    assert await lag(broker) == Lag(9, 1000)


async def test_the_lag_on_several_streams_is_the_sum_and_the_oldest() -> None:
    assert total([Lag(2, 70), Lag(), Lag(3, 50)]) == Lag(5, 50)
    assert Lag(1, 2_000).age(now=5.5) == 3.5
    assert Lag().age(now=5.5) == 0


async def test_hosts_that_nobody_was_rung_for_are_overdue(broker: Broker) -> None:
    for name, seconds in (("web-01", 10), ("web-02", 20)):
        host = PlayedHost(broker, a_host(name))
        await host.submit(expires_in=seconds)
        await host.settle()
    assert await overdue(broker, now=NOW + 9) == Lag()
    assert await overdue(broker, now=NOW + 15) == Lag(1, int(NOW + 10) * 1000)
    assert await overdue(broker, now=NOW + 25) == Lag(2, int(NOW + 10) * 1000)


@pytest.mark.parametrize("trimmed", [0, 2])
async def test_a_position_moves_forward_alone_and_the_lag_stays_known(broker: Broker, trimmed: int) -> None:
    await filled(broker, *range(1000, 1010))
    async with broker.guarded() as redis:
        await redis.xtrim(STREAM, maxlen=10 - trimmed, approximate=False)
    await Results(broker).reader("g", "c").prepare()
    assert await broker.run(scripts.advance(STREAM, group="g", to="1004-1")) == 5 - trimmed
    assert await lag(broker) == Lag(5, 1005)
    for back in ("1004-1", "1003-9", "0-0"):
        assert await broker.run(scripts.advance(STREAM, group="g", to=back)) == 0
    assert await lag(broker) == Lag(5, 1005)
    assert await broker.run(scripts.advance(STREAM, group="g", to="1009-1")) == 5
    await filled(broker, 2000)
    async with broker.guarded() as redis:
        (row,) = await redis.xinfo_groups(STREAM)
    assert (row["lag"], row["entries-read"]) == (1, 10), "the server counts it itself"


async def test_a_group_that_is_not_there_is_not_moved(broker: Broker) -> None:
    assert await broker.run(scripts.advance(STREAM, group="g", to="5-0")) == 0
    await filled(broker, 1000)
    assert await broker.run(scripts.advance(STREAM, group="g", to="5000-0")) == 0


async def test_a_lease_is_held_by_one_until_it_runs_out(broker: Broker) -> None:
    lasts = timedelta(minutes=1)
    one, two = Lease(broker, "r", "one", lasts=lasts), Lease(broker, "r", "two", lasts=lasts)
    assert not one.is_sure
    assert await one.hold()
    assert one.is_sure
    assert not await two.hold()
    assert await one.hold(), "and renewed by its holder"
    async with broker.guarded() as redis:
        assert 0 < await redis.pttl(keys.lease("r")) <= 60_000
        assert await redis.pexpire(keys.lease("r"), 0), "its time is over"
    assert await two.hold()
    assert not await one.hold()
    assert not one.is_sure
