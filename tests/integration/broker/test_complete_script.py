"""The agent's word that a command has ended: recorded once, applied only to the command it names."""

import pytest

from broker.connection import Broker
from broker.scripts import Idle, Recorded
from tests.support.builders import NOW, a_host
from tests.support.played_host import PlayedHost

SAID = {"execution_time": 59.5, "samples": 1200, "results_path": "/profiles/c1", "error_message": "truncated"}


@pytest.fixture
def host(broker: Broker) -> PlayedHost:
    return PlayedHost(broker)


@pytest.mark.parametrize("status", ["completed", "failed"])
async def test_a_completion_ends_the_command_and_its_requests(host: PlayedHost, status: str) -> None:
    one, two = await host.submit(pids=[1]), await host.submit(pids=[2])
    await host.settle()
    command = await host.begin()
    host.now += 60
    assert await host.complete(command.command_id, status=status, **SAID) is Recorded.RECORDED
    assert await host.state() == status
    assert await host.open_ids() == set()
    assert await host.deadline() is None
    event = (await host.results())[-1]
    assert event == {
        "v": "1", "state": status, "tenant": "default", "service": "web", "hostname": "web-01",
        "command_id": command.command_id, "generation": "1", "request_ids": f"{one.request_id} {two.request_id}",
        "at": "1800000060000", "execution_time": "59.5", "samples": "1200", "results_path": "/profiles/c1",
        "reason": "truncated",
    }  # fmt: skip
    (past,) = await host.history()
    assert (past["command_id"], past["outcome"], past["served"]) == (
        command.command_id, status, f"{one.request_id} {two.request_id}",
    )  # fmt: skip


async def test_moments_of_the_agent_are_recorded(host: PlayedHost) -> None:
    await host.submit()
    await host.settle()
    command = await host.begin()
    await host.complete(command.command_id, started_at="2025-01-08T12:00:00Z", finished_at="2025-01-08T12:01:00Z")
    event = (await host.results())[-1]
    assert event["started_at"] == "2025-01-08T12:00:00+00:00"
    assert event["finished_at"] == "2025-01-08T12:01:00+00:00"


@pytest.mark.parametrize("again", ["completed", "failed"])
async def test_a_repeated_completion_is_recorded_once(host: PlayedHost, again: str) -> None:
    record = await host.submit()
    await host.settle()
    command = await host.begin()
    await host.complete(command.command_id)
    before = await host.results()
    for _ in range(3):
        assert await host.complete(command.command_id, status=again) is Recorded.REPEATED
    assert await host.results() == before
    assert (await host.states_of(record.request_id))[-1] == "completed", "the first word counts"


async def test_a_repeated_completion_is_known_after_the_next_command_came(host: PlayedHost) -> None:
    await host.submit()
    await host.settle()
    command = await host.begin()
    await host.complete(command.command_id)
    await host.submit()
    await host.settle()
    before = await host.results()
    assert await host.complete(command.command_id) is Recorded.REPEATED
    assert await host.results() == before
    assert await host.state() == "pending", "the newer command is untouched"


async def test_an_unknown_id_changes_nothing(host: PlayedHost, broker: Broker) -> None:
    assert await host.complete("never-heard-of") is Recorded.UNKNOWN
    record = await host.submit()
    assert await host.complete(record.command_id) is Recorded.UNKNOWN, "submitted, but never a command of this host"
    await host.settle()
    command = await host.begin()
    before = await host.results()
    assert await host.complete("never-heard-of") is Recorded.UNKNOWN
    assert await PlayedHost(broker, a_host("web-02")).complete(command.command_id) is Recorded.UNKNOWN
    assert await host.results() == before
    assert await host.state() == "running"


async def test_a_completion_for_an_older_generation_never_ends_the_newer_one(host: PlayedHost) -> None:
    first = await host.submit(frequency=11)
    await host.settle()
    older = await host.begin()
    await host.submit(frequency=99)
    await host.settle()
    assert await host.complete(older.command_id, samples=7, results_path="/p") is Recorded.LATE
    assert await host.state() == "pending"
    assert first.request_id in await host.open_ids(), "it goes on in the newer command"
    event = (await host.results())[-1]
    assert (event["state"], event["generation"], event["samples"]) == ("late_completion", "1", "7")
    assert event["request_ids"] == first.request_id, "for the record: whom it worked for"
    assert await host.complete(older.command_id) is Recorded.REPEATED
    assert (await host.results())[-1] == event


async def test_a_stopped_runs_completion_is_recorded_once_and_changes_no_outcome(host: PlayedHost) -> None:
    record = await host.submit()
    await host.settle()
    run = await host.begin()
    await host.submit(command_type="stop")
    await host.settle()
    assert await host.complete(run.command_id, samples=12) is Recorded.LATE
    assert await host.complete(run.command_id, samples=12) is Recorded.REPEATED
    states = await host.states_of(record.request_id)
    assert states[-2:] == ["stopped", "late_completion"]


@pytest.mark.parametrize("outcome", ["expired", "timed_out", "undeliverable"])
async def test_a_completion_after_the_clocks_have_spoken_is_late(host: PlayedHost, outcome: str) -> None:
    record = await host.submit(duration=60)
    await host.settle()
    match outcome:
        case "expired":
            command = await host.take()
            host.now += 900
            await host.settle()
        case "timed_out":
            command = await host.begin()
            host.now += 90
            await host.settle()
        case _:
            command = await host.take()
            while await host.beat() != Idle(1):
                pass
    assert (await host.states_of(record.request_id))[-1] == outcome
    assert await host.complete(command.command_id) is Recorded.LATE
    assert await host.complete(command.command_id) is Recorded.REPEATED
    assert (await host.states_of(record.request_id))[-2:] == [outcome, "late_completion"]


@pytest.mark.parametrize("progress", ["pending", "delivered", "received"])
async def test_a_completion_may_overtake_what_came_before_it(host: PlayedHost, progress: str) -> None:
    record = await host.submit()
    await host.settle()
    if progress != "pending":
        await host.take()
    if progress == "received":
        await host.beat(received=[record.command_id])
    assert await host.state() == progress
    assert await host.complete(record.command_id, execution_time=3) is Recorded.RECORDED
    assert await host.state() == "completed"


async def test_a_stop_is_done_by_its_completion(host: PlayedHost) -> None:
    await host.submit(command_type="stop")
    await host.settle()
    command = await host.take()
    assert await host.complete(command.command_id, execution_time=0) is Recorded.RECORDED
    assert await host.state() == "completed"


async def test_a_completion_makes_room_for_what_waits(host: PlayedHost) -> None:
    await host.submit()
    waiting = await host.submit(profiling_mode="wall")
    await host.settle()
    command = await host.begin()
    before = await host.rings()
    await host.complete(command.command_id)
    assert await host.rings() == before + 1
    await host.settle()
    assert (await host.take()).command_id == waiting.command_id


# --- agents in the field say `completed` when a profiler starts -------------------------------------------------------


async def test_a_completion_that_only_says_started_begins_the_run(host: PlayedHost) -> None:
    record = await host.submit(duration=60)
    await host.settle()
    command = await host.take()
    assert await host.complete(command.command_id, execution_time=0) is Recorded.STARTED
    assert await host.state() == "running"
    assert (await host.states_of(record.request_id))[-1] == "running"
    assert await host.deadline() == NOW + 60, "the execution clock closes it"
    assert await host.complete(command.command_id, execution_time=0) is Recorded.REPEATED


async def test_the_clock_completes_a_run_of_which_only_the_start_was_said(host: PlayedHost) -> None:
    record = await host.submit(duration=60)
    await host.settle()
    command = await host.take()
    await host.complete(command.command_id, execution_time=0)
    host.now += 60
    await host.settle()
    assert await host.state() == "completed"
    assert (await host.states_of(record.request_id))[-1] == "completed"
    assert await host.complete(command.command_id, execution_time=61) is Recorded.REPEATED


async def test_a_true_completion_ends_such_a_run_before_the_clock(host: PlayedHost) -> None:
    await host.submit(duration=60)
    await host.settle()
    command = await host.take()
    await host.complete(command.command_id, execution_time=0)
    host.now += 30
    assert await host.complete(command.command_id, status="failed", error_message="killed") is Recorded.RECORDED
    assert await host.state() == "failed"


async def test_it_says_nothing_new_of_a_run_that_was_told_to_have_begun(host: PlayedHost) -> None:
    await host.submit(duration=60)
    await host.settle()
    command = await host.begin()
    assert await host.complete(command.command_id, execution_time=0) is Recorded.REPEATED
    host.now += 60
    await host.settle()
    assert await host.state() == "running", "an agent that reports its runs has its grace"


async def test_failed_after_no_time_at_all_is_the_end(host: PlayedHost) -> None:
    await host.submit()
    await host.settle()
    command = await host.take()
    assert await host.complete(command.command_id, status="failed", execution_time=0) is Recorded.RECORDED
    assert await host.state() == "failed"
