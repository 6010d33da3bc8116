"""A heartbeat, in one atomic step: the host is remembered, acks are taken, an unacked command is handed out."""

import json
from typing import Any

import pytest

from broker import keys
from broker.codec import config_of
from broker.connection import Broker
from broker.scripts import MOST_ATTEMPTS, Delivered, Idle
from tests.support.builders import NOW, a_host
from tests.support.played_host import PlayedHost


@pytest.fixture
def host(broker: Broker) -> PlayedHost:
    return PlayedHost(broker)


def told(answer: Delivered) -> dict[str, Any]:
    """The command as the agent reads it."""
    stored: dict[str, Any] = json.loads(answer.command)
    assert stored["at"] > 0, "when it was installed"
    return {"command_type": stored["command_type"], "combined_config": config_of(answer.command)}


async def test_an_idle_host_is_remembered(host: PlayedHost, broker: Broker) -> None:
    assert await host.beat() == Idle(0)
    async with broker.guarded() as redis:
        facts = await redis.hgetall(keys.host(host.at))
        ttl = await redis.ttl(keys.host(host.at))
        beat = await redis.zscore(keys.beats(host.at.partition), host.at.path)
    assert facts.pop("digest")
    assert facts.pop("renewed_at") == "1800000000000"
    assert facts == {"last_beat": "1800000000000", "ip_address": "192.168.1.100", "agent_time": ""}
    assert 604_700 < ttl <= 604_800
    assert beat == NOW * 1000
    assert await host.results() == [], "a heartbeat that changes nothing tells nothing"


async def test_a_command_is_handed_out(host: PlayedHost) -> None:
    record = await host.submit(duration=90, pids=[3, 1], additional_args={"max_processes": 10})
    await host.settle()
    answer = await host.beat()
    assert isinstance(answer, Delivered)
    assert (answer.command_id, answer.generation, answer.attempt) == (record.command_id, 1, 1)
    assert told(answer) == {
        "command_type": "start",
        "combined_config": {
            "duration": 90, "frequency": 11, "profiling_mode": "cpu", "continuous": False, "pids": [1, 3],
            "max_processes": 10,
        },
    }  # fmt: skip
    assert await host.state() == "delivered"
    assert await host.states_of(record.request_id) == ["submitted", "pending", "delivered"]


async def test_a_command_for_another_host_is_not_handed_out(host: PlayedHost, broker: Broker) -> None:
    await host.submit()
    await host.settle()
    for other in (a_host("web-02"), a_host(service="shop"), a_host("Web-01")):
        assert await PlayedHost(broker, other).beat() == Idle(0)


async def test_a_command_that_is_not_acked_is_handed_out_again(host: PlayedHost) -> None:
    record = await host.submit()
    await host.settle()
    attempts = [(await host.take()).attempt for _ in range(3)]
    assert attempts == [1, 2, 3]
    assert await host.states_of(record.request_id) == ["submitted", "pending", "delivered"], "told once"


@pytest.mark.parametrize("how", ["last", "received", "executed"])
async def test_each_field_that_names_a_command_acks_it(host: PlayedHost, how: str) -> None:
    record = await host.submit()
    await host.settle()
    command = await host.take()
    named = command.command_id
    match how:
        case "last":
            assert await host.beat(last=named) == Idle(1)
        case "received":
            assert await host.beat(received=["older", named, "newer"]) == Idle(1)
        case _:
            assert await host.beat(executed=["older", named]) == Idle(1)
    assert await host.state() == "received"
    assert await host.beat() == Idle(1), "what is received is not handed out again, whatever the agent forgot"
    assert await host.states_of(record.request_id) == ["submitted", "pending", "delivered", "received"]


async def test_naming_other_commands_acks_nothing(host: PlayedHost) -> None:
    await host.submit()
    await host.settle()
    await host.take()
    assert isinstance(await host.beat(last="other", received=["a", "b"], executed=["c"]), Delivered)


async def test_a_thousand_ids_of_each_kind_are_read(host: PlayedHost) -> None:
    await host.submit()
    await host.settle()
    command = await host.take()
    many = [f"id-{number}" for number in range(999)]
    assert await host.beat(received=many, executed=[*many, command.command_id]) == Idle(1)


async def test_a_run_begins_by_the_agents_word(host: PlayedHost) -> None:
    record = await host.submit(duration=60)
    await host.settle()
    command = await host.take()
    host.now += 1
    await host.beat(last=command.command_id, received=[command.command_id])
    host.now += 1
    await host.beat(last=command.command_id, begun=True)
    stored = await host.command()
    assert (stored["state"], stored["running_at"]) == ("running", "1800000002000")
    assert await host.states_of(record.request_id) == ["submitted", "pending", "delivered", "received", "running"]
    assert await host.deadline() == NOW + 2 + 60 + 30


async def test_a_run_may_begin_in_the_beat_that_acks_it(host: PlayedHost) -> None:
    record = await host.submit()
    await host.settle()
    command = await host.take()
    await host.beat(last=command.command_id, begun=True)
    assert (await host.states_of(record.request_id))[-2:] == ["received", "running"]


async def test_a_run_of_another_command_begins_nothing(host: PlayedHost) -> None:
    await host.submit()
    await host.settle()
    command = await host.take()
    await host.beat(last="older", begun=True, received=[command.command_id])
    assert await host.state() == "received"


async def test_a_run_begins_once(host: PlayedHost) -> None:
    record = await host.submit()
    await host.settle()
    command = await host.begin()
    host.now += 5
    assert await host.beat(last=command.command_id, begun=True) == Idle(1)
    assert (await host.command())["running_at"] == "1800000000000"
    assert (await host.states_of(record.request_id)).count("running") == 1


async def test_a_run_carries_out_the_stop_it_was_narrowed_by(host: PlayedHost) -> None:
    start = await host.submit(pids=[1, 2])
    await host.settle()
    await host.begin()
    stop = await host.submit(command_type="stop", pids=[1])
    await host.settle()
    assert (await host.states_of(stop.request_id))[-1] == "pending"
    await host.begin()
    assert (await host.states_of(stop.request_id))[-1] == "completed"
    assert await host.open_ids() == {start.request_id}
    assert await host.state() == "running"


# --- stops ------------------------------------------------------------------------------------------------------------


async def a_stop_is_handed_out(host: PlayedHost) -> Delivered:
    await host.submit(command_type="stop")
    await host.settle()
    command = await host.take()
    assert told(command) == {"command_type": "stop", "combined_config": {"stop_level": "host"}}
    return command


@pytest.mark.parametrize("how", ["last", "executed"])
async def test_a_stop_is_done_once_the_agent_names_it_as_carried_out(host: PlayedHost, how: str) -> None:
    command = await a_stop_is_handed_out(host)
    if how == "last":
        assert await host.beat(last=command.command_id) == Idle(1)
    else:
        assert await host.beat(executed=[command.command_id]) == Idle(1)
    assert await host.state() == "completed"
    assert await host.open_ids() == set()


async def test_a_stop_that_was_only_received_is_offered_again_after_a_moment(host: PlayedHost) -> None:
    command = await a_stop_is_handed_out(host)
    host.now += 1
    assert await host.beat(received=[command.command_id]) == Idle(1)
    assert await host.state() == "received"
    host.now += 5
    again = await host.beat(received=[command.command_id])
    assert isinstance(again, Delivered)
    assert again.attempt == 2
    assert await host.beat(last=command.command_id) == Idle(1)
    assert await host.state() == "completed"


async def test_a_stop_that_was_received_and_forgotten_is_offered_again(host: PlayedHost) -> None:
    command = await a_stop_is_handed_out(host)
    await host.beat(received=[command.command_id])
    assert isinstance(await host.beat(), Delivered), "an agent that lost its ledger carries the stop out"


async def test_a_stop_makes_room_for_what_waits_behind_it(host: PlayedHost, broker: Broker) -> None:
    command = await a_stop_is_handed_out(host)
    async with broker.guarded() as redis:
        await redis.delete(keys.doorbell(host.at.partition))
    waiting = await host.submit()
    assert await host.rings() == 1
    await host.beat(last=command.command_id)
    assert await host.rings() == 2, "compaction is rung for again"
    await host.settle()
    assert (await host.take()).command_id == waiting.command_id


# --- giving up --------------------------------------------------------------------------------------------------------


async def test_after_ten_attempts_without_an_ack_a_command_is_undeliverable(host: PlayedHost) -> None:
    record = await host.submit()
    await host.settle()
    for attempt in range(1, MOST_ATTEMPTS + 1):
        assert (await host.take()).attempt == attempt
    assert await host.beat() == Idle(1)
    assert await host.state() == "undeliverable"
    event = (await host.results())[-1]
    assert (event["state"], event["request_ids"]) == ("undeliverable", record.request_id)
    assert event["reason"] == "handed out 10 times without an ack"
    assert await host.open_ids() == set()
    assert await host.beat() == Idle(1), "and is not offered again"


async def test_an_ack_after_the_tenth_attempt_is_in_time(host: PlayedHost) -> None:
    await host.submit()
    await host.settle()
    for _ in range(MOST_ATTEMPTS):
        command = await host.take()
    await host.beat(received=[command.command_id])
    assert await host.state() == "received"


async def test_a_finished_command_is_never_offered_again(host: PlayedHost) -> None:
    await host.submit()
    await host.settle()
    command = await host.begin()
    await host.complete(command.command_id)
    for _ in range(3):
        assert await host.beat() == Idle(1), "whatever the agent forgot"


async def test_what_an_agent_sends_only_when_it_changes_is_kept(host: PlayedHost, broker: Broker) -> None:
    await host.beat()
    async with broker.guarded() as redis:
        await redis.hset(keys.host(host.at), "capabilities", '{"perf": true}')
    await host.beat()
    async with broker.guarded() as redis:
        assert await redis.hget(keys.host(host.at), "capabilities") == '{"perf": true}'


async def test_a_host_with_thousands_of_open_requests_still_ends_them_all(host: PlayedHost, broker: Broker) -> None:
    """Lua gives up unpacking some 8,000 values at once; whoever floods a host must not jam it."""
    first = await host.submit()
    await host.settle()
    flood = [f"r{number}" for number in range(9_000)]
    async with broker.guarded() as redis:
        await redis.hset(keys.open_requests(host.at), mapping=dict.fromkeys(flood, "{}"))
        await redis.hset(keys.command(host.at), "request_ids", " ".join([first.request_id, *flood]))
    command = await host.begin()
    await host.complete(command.command_id)
    assert await host.open_ids() == set()
