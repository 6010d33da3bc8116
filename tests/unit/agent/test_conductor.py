import asyncio
from pathlib import Path

import pytest

from agent.history import Received, Record, Started
from agent.ledger import Ledger, LedgerFull
from tests.support.agents import soon
from tests.support.conducting import conducting
from tests.support.fake_capture import NOW, a_profile
from tests.support.fake_server import start, stop


async def test_a_start_is_in_the_ledger_before_anything_samples(tmp_path: Path) -> None:
    async with conducting(tmp_path) as case:
        assert case.obey("c1", start())
        assert b'"c1"' in (tmp_path / "ledger").read_bytes()
        assert case.capture.requests == []
        await case.sampling()
        assert case.conductor.begun == "c1"


async def test_a_redelivered_command_runs_once(tmp_path: Path) -> None:
    async with conducting(tmp_path, a_profile(5)) as case:
        case.obey("c1", start())
        await case.ended("c1")
        assert not case.obey("c1", start())
        assert not case.obey("c1", stop())
        await asyncio.sleep(0.05)
        assert len(case.capture.requests) == 1
        assert case.books.acks.executed == ("c1",)


async def test_a_stop_ends_the_run_and_both_are_reported_in_order(tmp_path: Path) -> None:
    async with conducting(tmp_path) as case:
        case.obey("c1", start())
        await case.sampling()
        case.obey("s1", stop())
        stopped = await case.ended("s1")
        run = await case.ended("c1")
        assert (run.status, run.samples, run.error_message) == ("completed", 3, None)
        assert (stopped.status, stopped.error_message) == ("completed", None)
        assert not stopped.only_says_started
        assert [completion.command_id for completion in case.books.unsent] == ["c1", "s1"]


async def test_a_stop_is_named_last_only_when_it_is_carried_out(tmp_path: Path) -> None:
    async with conducting(tmp_path) as case:
        case.obey("c1", start())
        await case.sampling()
        case.obey("s1", stop())
        assert case.books.history.last_command_id == "c1"
        await case.ended("s1")
        assert case.books.history.last_command_id == "s1"


async def test_a_start_supersedes_the_run_before_it(tmp_path: Path) -> None:
    async with conducting(tmp_path) as case:
        case.obey("c1", start())
        await case.sampling()
        case.obey("c2", start(frequency=49))
        await case.sampling(2)
        first = await case.ended("c1")
        assert (first.status, first.error_message) == ("completed", "superseded by c2")
        assert case.capture.requests[-1].frequency_hz == 49
        assert case.conductor.begun == "c2"


async def test_commands_that_come_in_a_burst_are_taken_one_after_the_other(tmp_path: Path) -> None:
    async with conducting(tmp_path) as case:
        case.obey("c1", start())
        case.obey("c2", start())
        case.obey("s1", stop())
        case.obey("c3", start())
        await case.sampling()
        await soon(lambda: case.conductor.begun == "c3")
        ended = {completion.command_id: completion.status for completion in case.books.unsent}
        assert ended == {"c1": "completed", "c2": "completed", "s1": "completed"}


async def test_a_process_stop_leaves_the_other_process_running(tmp_path: Path) -> None:
    async with conducting(tmp_path) as case:
        case.obey("c1", start(pids=[1, 2]))
        await case.sampling()
        case.obey("s1", stop(stop_level="process", pids=[1]))
        await case.ended("s1")
        await case.sampling(2)
        assert case.capture.requests[-1].pids == frozenset({2})
        case.obey("s2", stop(stop_level="process", pids=[2]))
        assert (await case.ended("c1")).samples == 6


async def test_a_command_that_makes_no_sense_fails_and_the_next_one_runs(tmp_path: Path) -> None:
    async with conducting(tmp_path, a_profile(1)) as case:
        case.obey("c1", start(frequency=10**9))
        failed = await case.ended("c1")
        assert failed.status == "failed"
        assert "frequency" in (failed.error_message or "")
        case.obey("c2", start())
        assert (await case.ended("c2")).status == "completed"


async def test_without_the_ledger_nothing_is_carried_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with conducting(tmp_path) as case:

        def full(record: Record) -> None:
            raise LedgerFull(28, "the ledger cannot be written: No space left on device")

        monkeypatch.setattr(case.ledger, "record", full)
        case.obey("c1", start())
        failed = await case.ended("c1")
        assert failed.status == "failed"
        assert "No space left on device" in (failed.error_message or "")
        assert not case.obey("c1", start())
        assert case.capture.requests == []


async def test_a_shut_down_keeps_samples_and_refuses_what_has_not_begun(tmp_path: Path) -> None:
    async with conducting(tmp_path) as case:
        case.obey("c1", start())
        await case.sampling()
        case.obey("c2", start())
        await case.conductor.drain()
        first, second = await case.ended("c1"), await case.ended("c2")
        assert (first.status, first.samples) == ("completed", 3)
        assert "shut down" in (first.error_message or "")
        assert (second.status, second.error_message) == ("failed", "the agent was shut down before it began")


async def test_after_a_restart_nothing_runs_again_and_everything_is_reported(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger") as before:
        before.record(Received(command_id="ran", kind="start", at=NOW))
        before.record(Started(command_id="ran", at=NOW))
        before.record(Received(command_id="maybe", kind="start", at=NOW))
        before.record(Received(command_id="halt", kind="stop", at=NOW))
    async with conducting(tmp_path) as case:
        case.books.close_the_past()
        reported = {completion.command_id: completion for completion in case.books.unsent}
        assert {command_id: completion.status for command_id, completion in reported.items()} == {
            "ran": "failed",
            "maybe": "failed",
            "halt": "completed",
        }
        assert reported["ran"].error_message == "the agent was restarted while it ran"
        for command_id in reported:
            assert not case.obey(command_id, start())
        assert case.capture.requests == []


async def test_a_completion_the_server_lost_is_sent_again(tmp_path: Path) -> None:
    async with conducting(tmp_path, a_profile(1)) as case:
        case.obey("c1", start())
        await case.ended("c1")
        case.books.settle("c1")
        assert case.books.unsent == []
        case.obey("c1", start())
        assert [completion.command_id for completion in case.books.unsent] == ["c1"]
        case.books.settle("c1")
        assert case.books.unsent == []


async def test_every_step_asks_for_a_heartbeat(tmp_path: Path) -> None:
    async with conducting(tmp_path, a_profile(1)) as case:
        case.obey("c1", start())
        assert case.announced == 1
        await case.ended("c1")
        assert case.announced == 3


async def test_a_one_off_run_lets_the_continuous_one_rest_which_goes_on_with_what_remained(tmp_path: Path) -> None:
    async with conducting(tmp_path) as case:
        case.obey("always", start(continuous=True, duration=60), generation=None)
        await case.sampling()
        case.obey("once", start(duration=1), generation=None)
        await case.sampling(2)
        assert case.conductor.has_begun("always"), "it rests, and has not ended"
        once = await case.ended("once")
        assert (once.status, once.samples) == ("completed", 3)
        await case.sampling(3)
        assert case.found("always") is None
        durations = [request.duration.total_seconds() for request in case.capture.requests]
        assert (durations[0], durations[1]) == (60, 1)
        assert 58 < durations[2] < 60, "the rest of its window, without the time that it rested"
        case.obey("s1", stop(), generation=None)
        always = await case.ended("always")
        assert (always.status, always.samples) == ("completed", 6)


async def test_another_one_off_run_does_not_wake_the_one_that_rests(tmp_path: Path) -> None:
    async with conducting(tmp_path) as case:
        case.obey("always", start(continuous=True), generation=None)
        await case.sampling()
        case.obey("one", start(), generation=None)
        await case.sampling(2)
        case.obey("two", start(duration=1), generation=None)
        assert (await case.ended("one")).error_message == "superseded by two"
        await case.ended("two")
        await case.sampling(4)
        assert [request.duration.total_seconds() for request in case.capture.requests[1:3]] == [60, 1]


async def test_a_continuous_run_begins_when_the_one_off_run_is_over(tmp_path: Path) -> None:
    async with conducting(tmp_path) as case:
        case.obey("once", start(duration=1), generation=None)
        await case.sampling()
        case.obey("always", start(continuous=True), generation=None)
        await asyncio.sleep(0.1)
        assert len(case.capture.requests) == 1
        await case.ended("once")
        await case.sampling(2)
        await soon(lambda: case.conductor.begun == "always")


async def test_runs_that_share_no_profiler_go_on_together_and_a_stop_ends_both(tmp_path: Path) -> None:
    async with conducting(tmp_path) as case:
        case.obey("always", start(continuous=True), generation=None)
        await case.sampling()
        case.obey("once", start(profiling_mode="allocation"), generation=None)
        await soon(lambda: case.conductor.has_begun("once"))
        assert case.conductor.has_begun("always")
        assert case.found("always") is None
        case.obey("s1", stop(), generation=None)
        await case.ended("s1")
        assert case.found("always") is not None
        assert case.found("once") is not None
        assert not case.conductor.is_busy


async def test_a_run_that_rests_can_be_stopped(tmp_path: Path) -> None:
    async with conducting(tmp_path) as case:
        case.obey("always", start(continuous=True), generation=None)
        await case.sampling()
        case.obey("once", start(), generation=None)
        await case.sampling(2)
        case.obey("s1", stop(), generation=None)
        await case.ended("s1")
        assert (await case.ended("always")).samples == 3
        assert (await case.ended("once")).samples == 3
