"""Hosts of a request with max_concurrency begin in turns, on a real server, whatever becomes of the pacers."""

import asyncio
import time
from collections import Counter

import pytest

from broker import keys
from broker.connection import Broker
from broker.request_store import RequestStore
from broker.rollouts import Rollouts
from broker.roster import Roster
from broker.settings import BrokerSettings
from protocol.lifecycle import OUTCOMES
from tests.support.key_leaks import leaked_keys
from tests.support.mortal_broker import Killed, MortalBroker
from tests.support.processes import started, worker_role
from tests.support.roles_at_work import before_long, roles_at_work
from tests.support.rollouts import PlayedRollout, a_pacer, carry_on, most_open_at_once


async def test_the_hosts_open_at_a_time_double_from_one_to_max_concurrency(broker: Broker) -> None:
    rollout = await PlayedRollout.of(broker, 20, max_concurrency=4)
    widths = []
    while await rollout.pacer.pace():
        widths.append(len(await rollout.open_hosts()))
        await rollout.end_all()
    assert widths == [1, 2, 4, 4, 4, 4, 1]
    assert await rollout.outcomes() == {"completed": 20}
    assert rollout.ended == sorted(rollout.hosts), "the turns go by name"
    assert await Rollouts(broker).all_open() == []
    record = await RequestStore(broker).get(rollout.record.request_id)
    assert record is not None
    assert record.hosts_appended == 20
    assert leaked_keys(broker.settings) == []


async def test_no_host_gets_a_turn_before_there_is_room(broker: Broker) -> None:
    rollout = await PlayedRollout.of(broker, 5, max_concurrency="40%")
    assert await rollout.pacer.pace() == 1
    assert [await rollout.pacer.pace() for _ in range(3)] == [0, 0, 0]
    await rollout.end_all()
    assert await rollout.pacer.pace() == 2
    await rollout.end("web-01")
    await rollout.project()
    assert await rollout.pacer.pace() == 1
    assert await rollout.open_hosts() == ["web-02", "web-03"]


async def test_a_host_has_expires_in_from_its_turn_on(broker: Broker) -> None:
    rollout = await PlayedRollout.of(broker, 2, max_concurrency=1, expires_in=600)
    long_ago = {"accepted_at": repr(rollout.record.accepted_at - 86_400)}
    async with broker.guarded() as redis:
        await redis.hset(keys.request(rollout.record.request_id), mapping=long_ago)
    await rollout.pacer.pace()
    await rollout.end_all()
    assert await rollout.outcomes() == {"completed": 1, "no turn": 1}


async def test_more_errors_than_allowed_halt_it(broker: Broker) -> None:
    rollout = await PlayedRollout.of(broker, 20, max_concurrency=4, max_errors="10%")
    for _ in range(3):
        assert await rollout.pacer.pace() == 1, "an error does not widen the window"
        await rollout.end_all("failed")
    assert await rollout.pacer.pace() == 0
    assert await rollout.outcomes() == {"failed": 3, "cancelled": 17}
    statuses = await RequestStore(broker).statuses(rollout.record.request_id)
    assert {status.get("reason") for status in statuses.values() if status["state"] == "cancelled"} == {
        "halted: 3 of 2 allowed errors"
    }
    assert await rollout.pacer.pace() == 0
    assert await Rollouts(broker).all_open() == []
    rings = {name: await host.rings() for name, host in rollout.hosts.items()}
    assert {name for name, count in rings.items() if count} == set(rollout.ended), "the others are not rung for"
    for name in rollout.ended:
        await rollout.hosts[name].settle()
    assert leaked_keys(broker.settings) == []
    progress = await rollout.progress()
    assert (progress.state, progress.errors, progress.next_turn) == ("halted", 3, 3)


async def test_what_runs_when_it_is_halted_goes_on(broker: Broker) -> None:
    rollout = await PlayedRollout.of(broker, 6, max_concurrency=2, max_errors=0)
    await rollout.pacer.pace()
    await rollout.end_all()
    await rollout.pacer.pace()
    await rollout.end("web-01", "failed")
    await rollout.project()
    await rollout.pacer.pace()
    assert await rollout.open_hosts() == ["web-02"]
    assert await rollout.outcomes() == {"completed": 1, "failed": 1, "submitted": 1, "cancelled": 3}
    assert await Rollouts(broker).all_open() == [rollout.record.request_id], "until the last host has ended"
    await rollout.end_all()
    await rollout.pacer.pace()
    assert await rollout.outcomes() == {"completed": 2, "failed": 1, "cancelled": 3}
    assert await Rollouts(broker).all_open() == []


async def test_without_max_errors_nothing_halts_it(broker: Broker) -> None:
    rollout = await PlayedRollout.of(broker, 4, max_concurrency=4)
    while await rollout.pacer.pace():
        await rollout.end_all("failed")
    assert await rollout.outcomes() == {"failed": 4}


# --- pacers that die --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dies_after", [False, True], ids=["before a call", "after a call"])
@pytest.mark.parametrize("failing", [0, 2], ids=["to its end", "halted"])
async def test_pacers_killed_at_every_call_lose_nothing_and_begin_nothing_twice(
    broker: Broker, dies_after: bool, failing: int
) -> None:
    rollout = await PlayedRollout.of(broker, 7, max_concurrency=2, max_errors=1)
    mortal = MortalBroker(broker.settings, dies_after=dies_after)
    killed = failed = passes = 0
    try:
        while await Rollouts(broker).all_open():
            passes += 1
            assert passes < 20, "a host was left behind"
            for life in range(60):  # each pacer lives a call longer, until one comes through
                mortal.calls_to_live = life
                try:
                    await a_pacer(mortal).pace()
                    break
                except Killed:
                    killed += 1
                assert len(await rollout.open_hosts()) <= 2
            for name in await rollout.open_hosts():
                failed += 1
                await rollout.end(name, "failed" if failed <= failing else "completed")
            await rollout.project()
    finally:
        await mortal.close()
    assert killed > 20
    told = await rollout.told()
    assert {name: states.count("submitted") for name, states in told.items()} == dict.fromkeys(rollout.hosts, 1)
    assert all(len(OUTCOMES & set(states)) == 1 for states in told.values())
    expected = {"failed": 2, "cancelled": 5} if failing else {"completed": 7}
    assert await rollout.outcomes() == expected


async def test_two_pacers_of_which_one_is_killed_keep_to_max_concurrency(
    broker: Broker, broker_settings: BrokerSettings
) -> None:
    ended, held = 0, dict[str, str]()
    with started(worker_role(broker_settings.state_dir, "pacer")) as first:

        async def at_work() -> bool:
            return (await Roster(broker).present(now=time.time())).get("pacer") == 1

        await before_long(at_work, within=40, what="the pacer that will be killed")
        rollout = await PlayedRollout.of(broker, 20, max_concurrency=4, max_errors=0)
        async with roles_at_work(broker, "merger", "projector", "pacer"):
            while ended < 20:
                # Until there were four at once, who is quick waits for the others; from then on each ends as it likes.
                ended += await carry_on(rollout.hosts, held, until_held={0: 1, 1: 2, 3: 4}.get(ended, 1))
                if ended >= 6 and first.process.poll() is None:
                    first.kill()
                await asyncio.sleep(0.005)

            async def over() -> bool:
                return not await Rollouts(broker).all_open()

            await before_long(over, what="the end of the rollout")
    told = await rollout.told()
    assert Counter(states.count("submitted") for states in told.values()) == {1: 20}
    assert Counter(tuple(OUTCOMES & set(states)) for states in told.values()) == {("completed",): 20}
    assert await most_open_at_once(broker, rollout.record.request_id) == 4
