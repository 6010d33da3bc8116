"""Starts with a moment, as the agent keeps them: what runs goes on until then, and nothing begins before."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from agent import beginning
from agent.beginning import lateness, until
from agent.history import History, Received, Record, Started
from agent.planner import RunView, StartRun, StopRun, plan
from agent.replies import Defaults, Reply
from agent.reports import RESTARTED_BEFORE
from protocol.commands import StartConfig
from tests.support.agents import soon
from tests.support.conducting import Case, conducting
from tests.support.fake_capture import NOW as SAMPLED_AT
from tests.support.fake_capture import a_profile
from tests.support.fake_server import start, stop

NOW = datetime(2026, 1, 2, tzinfo=UTC)
MOMENT = NOW + timedelta(minutes=1)
RUNS, WAITS = RunView("runs", pids=None, continuous=True), RunView("waits", pids=None, waits=True)


def ahead(**time: float) -> dict[str, Any]:
    return start(start_at=(datetime.now(UTC) + timedelta(**time)).isoformat())


def planned(command: dict[str, Any], *runs: RunView, generation: int | None = 1) -> tuple[Any, ...]:
    return plan(
        Reply(command_id="new", command=command, generation=generation), history=History(), runs=runs, hostname="h",
        defaults=Defaults(), profilers_of=lambda _: frozenset({"perf"}),
    )  # fmt: skip


def test_the_ledger_holds_what_awaits_its_moment_and_what_runs_is_left_alone_until_then() -> None:
    receive, run = planned(start(start_at=MOMENT.isoformat()), RUNS)
    assert receive.awaits.start_at == MOMENT
    assert run == StartRun("new", receive.awaits, replaces=("runs",))


def test_what_waits_is_superseded_at_once_by_whatever_comes() -> None:
    _, stopped, run = planned(start(start_at=MOMENT.isoformat()), RUNS, WAITS)
    assert (stopped, run.replaces) == (StopRun("waits", superseded_by="new"), ("runs",))
    _, *stops, run = planned(start(), RUNS, WAITS)
    assert [each.command_id for each in stops] == ["runs", "waits"]
    assert (run.replaces, run.pauses) == ((), ())


def test_without_generations_what_would_rest_rests_at_the_moment() -> None:
    runs = RunView("runs", pids=None, continuous=True, profilers=frozenset({"perf"}))
    _, run = planned(start(start_at=MOMENT.isoformat()), runs, generation=None)
    assert (run.replaces, run.pauses) == ((), ("runs",))


@pytest.mark.parametrize(
    ("records", "seconds", "awaits"),
    [(1, 59, True), (1, 60, False), (2, 59, False)],
    ids=["before the moment", "at the moment", "begun by a clock that was set back since"],
)
def test_a_restart_leaves_the_wait_as_long_as_it_cannot_have_begun(records: int, seconds: int, awaits: bool) -> None:
    config = StartConfig(duration=5, frequency=11, start_at=MOMENT)
    written: list[Record] = [
        Received(command_id="c", kind="start", at=NOW, awaits=config), Started(command_id="c", at=NOW),
    ]  # fmt: skip
    history = History.of(written[:records])
    again = History.of(history.records(at=NOW))
    assert [each.still_awaits(NOW + timedelta(seconds=seconds)) for each in again] == [awaits]


def test_a_second_after_its_moment_is_late() -> None:
    assert lateness(MOMENT + timedelta(seconds=1), MOMENT) is None
    assert lateness(MOMENT + timedelta(seconds=2.5), MOMENT) == (
        "it began 2.5 s after its start_at, 2026-01-02T00:01:00+00:00"
    )


@pytest.mark.parametrize(
    ("clock", "looks"),
    [([0, 20, 60], 3), ([0, 20, -40, 59, 60], 5), ([0, 3600], 2), ([61], 1)],
    ids=["it goes on", "it is set back", "it is set forward", "it is past the moment"],
)
async def test_the_clock_may_be_set_while_we_wait(
    clock: list[float], looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beginning, "LOOK_EVERY", timedelta(milliseconds=1))
    looked = count(1)
    shown = (NOW.timestamp() + seconds for seconds in clock)
    assert not await until(MOMENT, asyncio.Event(), clock=lambda: (next(looked), next(shown))[1])
    assert next(looked) == looks + 1


async def test_a_run_goes_on_until_the_moment_and_then_makes_room(tmp_path: Path) -> None:
    async with conducting(tmp_path) as case:
        case.obey("runs", start())
        await case.sampling()
        case.obey("next", command := ahead(seconds=2))
        await soon(lambda: case.capture.requests[-1].beginning)
        assert (case.conductor.begun, case.found("runs")) == ("runs", None)
        await soon(lambda: case.conductor.has_begun("next"))
        assert datetime.now(UTC) >= datetime.fromisoformat(command["combined_config"]["start_at"])
        assert (await case.ended("runs")).error_message == "superseded by next"
        case.obey("s", stop())
        assert (await case.ended("next")).samples == 3


async def test_who_waits_is_not_at_work_and_a_stop_ends_both(tmp_path: Path) -> None:
    async with conducting(tmp_path) as case:
        case.obey("next", ahead(minutes=5))
        await soon(lambda: case.conductor._runs)
        assert not case.conductor.is_busy
        case.conductor.end_runs("the host has no room for what runs")
        assert (case.conductor.begun, case.found("next")) == (None, None)
        case.obey("s", stop())
        ended = await case.ended("next")
        assert (ended.samples, ended.error_message) == (0, "it was stopped before its start_at")
        assert (await case.ended("s")).status == "completed"
        assert case.capture.requests == []


async def test_a_stop_ends_the_last_preparations_too(tmp_path: Path) -> None:
    async with conducting(tmp_path) as case:
        case.obey("next", ahead(seconds=4))
        await soon(lambda: case.capture.requests)
        case.obey("now", start())
        assert (await case.ended("next")).error_message == "superseded by now"
        await case.sampling(2)
        assert case.conductor.begun == "now"


async def test_a_process_that_is_taken_out_while_it_waits_is_not_sampled(tmp_path: Path) -> None:
    async with conducting(tmp_path) as case:
        command = ahead(seconds=2)
        command["combined_config"]["pids"] = [1, 2]
        case.obey("next", command)
        await soon(lambda: case.capture.requests)
        case.obey("s", stop(stop_level="process", pids=[2]))
        await soon(lambda: case.conductor.has_begun("next"))
        assert case.capture.requests[-1].pids == frozenset({1})
        assert datetime.now(UTC) >= datetime.fromisoformat(command["combined_config"]["start_at"])


async def test_what_waits_outlives_the_agent_and_runs_once(tmp_path: Path) -> None:
    command = ahead(seconds=2)
    async with conducting(tmp_path) as before:
        before.obey("next", command)
        await soon(lambda: before.conductor._runs)
    assert before.found("next") is None
    async with conducting(tmp_path) as case:
        take_up(case)
        assert case.books.acks.received == ("next",)
        assert not case.obey("next", command), "it is known"
        await soon(lambda: case.conductor.has_begun("next"))
        assert len(case.capture.requests) == 1


async def test_what_may_have_begun_is_not_run_again(tmp_path: Path) -> None:
    async with conducting(tmp_path) as before:
        before.books.receive(
            "next", "start", StartConfig(duration=5, frequency=11, start_at=datetime.now(UTC) - timedelta(seconds=1))
        )
    async with conducting(tmp_path) as case:
        take_up(case)
        assert (await case.ended("next")).error_message == RESTARTED_BEFORE


async def test_what_comes_after_its_moment_begins_at_once_and_says_so(tmp_path: Path) -> None:
    async with conducting(tmp_path, None, a_profile(3)) as case:
        case.obey("runs", start())
        await case.sampling()
        case.obey("late", start(start_at=(SAMPLED_AT - timedelta(seconds=100)).isoformat()))
        assert "it began 100.0 s after its start_at" in ((await case.ended("late")).error_message or "")
        assert (await case.ended("runs")).error_message == "superseded by late"


async def test_a_moment_that_no_server_may_ask_for_is_refused(tmp_path: Path) -> None:
    async with conducting(tmp_path) as case:
        case.obey("never", ahead(days=8))
        ended = await case.ended("never")
        assert (ended.status, ended.error_message) == (
            "failed", "its start_at lies more than 7 days ahead by the clock of this host",
        )  # fmt: skip


def take_up(case: Case) -> None:
    """As the agent does at its start."""
    case.books.close_the_past()
    case.conductor.take_up(case.books.waiting())
