"""Compaction: what starts at a moment is handed out ahead of it to an agent that can wait, and holds up nobody else."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from broker import compaction
from broker.ahead import lead_of
from broker.effective import Compacted, Effective
from protocol.commands import StopCommand
from protocol.lifecycle import State
from tests.support.builders import NOW, a_start, a_stop
from tests.support.compacting import config_of, in_state, installed, kept, outcomes_of, running

LEAD = 65.0
compact = partial(compaction.compact, lead=LEAD)


def moment_of(effective: Effective) -> datetime | None:
    return config_of(effective).start_at


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(NOW + seconds, UTC)


def that_waits(compacted: Compacted) -> Effective:
    return in_state(installed(compacted), State.RECEIVED)


def test_two_beats_and_a_margin_lie_between_handing_out_and_the_moment() -> None:
    assert lead_of(timedelta(seconds=30)) == LEAD


@pytest.mark.parametrize(("lead", "before"), [(LEAD, LEAD), (0.0, 0.0)], ids=["an agent that waits", "any other"])
def test_it_is_handed_out_at_the_moment_unless_the_agent_can_wait(lead: float, before: float) -> None:
    start = a_start(not_before=NOW + 100, expires_at=NOW + 160)
    first = compaction.compact([start], None, NOW, lead=lead)
    assert (first.install, first.wake_at) == (None, NOW + 100 - before)
    command = installed(compaction.compact(first.open_requests, None, NOW + 100 - before, lead=lead))
    assert moment_of(command) == (at(100) if lead else None)


def test_its_moment_makes_the_agent_act_no_second_time() -> None:
    start = a_start(not_before=NOW + 50)
    first = compact([start], None, NOW)
    for state, seconds in ((State.RECEIVED, 49), (State.RECEIVED, 50), (State.RECEIVED, 60), (State.RUNNING, 61)):
        began = NOW + 50.02 if state is State.RUNNING else None
        held = replace(installed(first), state=state, started_at=began)
        assert kept(compact(first.open_requests, held, NOW + seconds)) == held


def test_a_host_whose_clock_is_ahead_of_ours_runs_it_all_the_same() -> None:
    first = compact([a_start(not_before=NOW + 50)], None, NOW)
    early = running(installed(first), since=NOW + 48)
    assert kept(compact(first.open_requests, early, NOW + 49)) == early


def test_the_first_clock_counts_from_the_moment() -> None:
    first = compact([a_start(not_before=NOW + 50, expires_at=NOW + 110)], None, NOW)
    held = that_waits(first)
    assert compact(first.open_requests, held, NOW + 109).endings == ()
    assert set(outcomes_of(compact(first.open_requests, held, NOW + 110)).values()) == {State.EXPIRED}


def test_what_runs_goes_on_until_the_moment_and_keeps_its_seconds() -> None:
    runs, later = a_start(duration=600), a_start(not_before=NOW + 110, frequency=99, duration=60)
    first = compact([runs], None, NOW)
    both = compact([*first.open_requests, later], running(installed(first)), NOW + 100)
    command = installed(both)
    assert (moment_of(command), command.displaces) == (at(110), True)
    assert config_of(command).duration == 490, "what is left of the 600 s at the moment"
    alone = compact(both.open_requests, that_waits(both), NOW + 105, {later.request_id: "cancelled"})
    assert config_of(installed(alone)).duration == 495, "it has run on meanwhile"
    assert moment_of(installed(alone)) is None


def test_a_run_that_is_over_before_the_moment_ends_first() -> None:
    runs, later = a_start(duration=60), a_start(not_before=NOW + 61)
    first = compact([runs], None, NOW)
    command = running(installed(first))
    meanwhile = compact([*first.open_requests, later], command, NOW + 10)
    assert kept(meanwhile).request_ids == (runs.request_id,)
    left = [each for each in meanwhile.open_requests if each.request_id == later.request_id]
    assert moment_of(installed(compact(left, in_state(command, State.COMPLETED), NOW + 60))) == at(61)


def test_who_wants_to_start_now_does_not_wait_for_the_moment_of_another() -> None:
    later, now = a_start(not_before=NOW + 50), a_start(duration=600, frequency=99)
    first = compact([later], None, NOW)
    command = installed(compact([*first.open_requests, now], that_waits(first), NOW + 10))
    assert (command.request_ids, moment_of(command)) == ((now.request_id,), None)


def test_once_that_one_runs_the_other_is_handed_out_again_under_another_id() -> None:
    later, now = a_start(not_before=NOW + 50), a_start(duration=600, frequency=99)
    first = compact([later], None, NOW)
    second = compact([*first.open_requests, now], that_waits(first), NOW + 10)
    assert second.wake_at == NOW + 15, "nobody rings when a run begins"
    third = installed(compact(second.open_requests, running(installed(second), since=NOW + 11), NOW + 15))
    assert (set(third.request_ids), moment_of(third)) == ({later.request_id, now.request_id}, at(50))
    assert third.command_id not in {installed(first).command_id, installed(second).command_id}


def test_starts_of_one_moment_are_one_command_and_a_later_one_waits_for_its_own() -> None:
    one, two, later = (a_start(not_before=NOW + seconds) for seconds in (50, 50, 55))
    first = compact([later, one, two], None, NOW)
    assert set(installed(first).request_ids) == {one.request_id, two.request_id}
    assert [each for each, _ in first.queued] == [later.request_id]


def test_an_earlier_moment_comes_first() -> None:
    later, sooner = a_start(not_before=NOW + 50), a_start(not_before=NOW + 40)
    first = compact([later], None, NOW)
    after = compact([*first.open_requests, sooner], that_waits(first), NOW + 1)
    assert (installed(after).request_ids, moment_of(installed(after))) == ((sooner.request_id,), at(40))
    assert kept(compact(after.open_requests, that_waits(after), NOW + 2)) == that_waits(after)


def test_a_stop_reaches_what_waits_and_what_runs_until_then() -> None:
    runs, later = a_start(duration=600), a_start(not_before=NOW + 50, frequency=99)
    first = compact([runs], None, NOW)
    both = compact([*first.open_requests, later], running(installed(first)), NOW)
    after = compact([*both.open_requests, a_stop()], that_waits(both), NOW + 1)
    assert isinstance(installed(after).command, StopCommand)
    assert outcomes_of(after) == {runs.request_id: State.STOPPED, later.request_id: State.STOPPED}


def test_a_stop_of_processes_is_not_put_off_until_the_moment() -> None:
    runs = a_start(duration=600, pids=frozenset({1, 2}))
    later = a_start(not_before=NOW + 50, pids=frozenset({3}))
    first = compact([runs], None, NOW)
    both = compact([*first.open_requests, later], running(installed(first)), NOW)
    after = compact([*both.open_requests, a_stop(pids=frozenset({2}))], that_waits(both), NOW + 1)
    assert (config_of(installed(after)).pids, moment_of(installed(after))) == ([1], None)


def test_a_cancel_ends_the_wait() -> None:
    later = a_start(not_before=NOW + 50)
    first = compact([later], None, NOW)
    after = compact(first.open_requests, that_waits(first), NOW + 1, {later.request_id: "cancelled"})
    assert isinstance(installed(after).command, StopCommand)
    never_told = compact(first.open_requests, installed(first), NOW + 1, {later.request_id: "cancelled"})
    assert never_told.install is None


@pytest.mark.parametrize("priority", ["normal", "urgent"])
def test_another_mode_takes_the_host_from_a_run_at_its_moment_at_the_soonest(priority: str) -> None:
    runs, other = a_start(duration=600), a_start(not_before=NOW + 50, profiling_mode="wall", priority=priority)
    first = compact([runs], None, NOW)
    command = running(installed(first))
    meanwhile = compact([*first.open_requests, other], command, NOW + 1)
    assert kept(meanwhile).request_ids == (runs.request_id,)
    at_its_moment = compact(meanwhile.open_requests, command, NOW + 50)
    assert (at_its_moment.install is not None) == (priority == "urgent")
