"""Compaction: what is withdrawn leaves, and the others are folded anew."""

import pytest

from broker.compaction import compact
from broker.effective import Compacted, OpenRequest
from protocol.commands import StopCommand
from protocol.lifecycle import State
from tests.support.builders import NOW, a_start, a_stop
from tests.support.compacting import config_of, in_state, installed, kept, open_ids, outcomes_of, running


def without(before: Compacted, request: OpenRequest, command: object, now: float = NOW) -> Compacted:
    """A look at the host once this request is withdrawn."""
    return compact(before.open_requests, command, now, {request.request_id: "cancelled by t"})  # type: ignore[arg-type] # a test gives what it has


def test_a_request_that_was_not_taken_up_yet_never_runs() -> None:
    start = a_start()
    compacted = compact([start], None, NOW, {start.request_id: "cancelled by t"})
    assert outcomes_of(compacted) == {start.request_id: State.CANCELLED}
    assert compacted.endings[0].reason == "cancelled by t"
    assert (compacted.install, compacted.open_requests) == (None, ())


def test_a_command_that_was_never_handed_out_is_withdrawn_without_a_word() -> None:
    start = a_start()
    first = compact([start], None, NOW)
    after = without(first, start, installed(first))
    assert after.close == (State.CANCELLED, "no request is left in it")
    assert after.install is None


@pytest.mark.parametrize("state", [State.DELIVERED, State.RECEIVED, State.RUNNING])
def test_an_agent_that_may_be_at_work_is_told_to_stop(state: State) -> None:
    start = a_start()
    first = compact([start], None, NOW)
    after = without(first, start, in_state(installed(first), state))
    stop = installed(after)
    assert isinstance(stop.command, StopCommand)
    assert (stop.request_ids, stop.generation) == ((), 2)
    assert outcomes_of(after) == {start.request_id: State.CANCELLED}
    again = compact(after.open_requests, stop, NOW + 5)
    assert kept(again) == stop, "it stands until the agent has carried it out"


def test_the_others_go_on_with_what_they_asked_for() -> None:
    large, small = a_start(duration=3_600, frequency=99), a_start(duration=60, pids=frozenset({7}))
    first = compact([large, small], None, NOW)
    after = without(first, large, running(installed(first)), NOW + 20)
    config = config_of(installed(after))
    assert (config.frequency, config.pids, config.duration) == (small.frequency, [7], 40)
    assert open_ids(after) == [small.request_id]


def test_nothing_changes_for_the_agent_when_the_others_want_the_same() -> None:
    one, other = a_start(duration=60), a_start(duration=60)
    first = compact([one, other], None, NOW)
    after = without(first, other, running(installed(first)), NOW + 20)
    assert kept(after).request_ids == (one.request_id,)


def test_who_has_had_its_seconds_completes_when_the_run_is_withdrawn() -> None:
    large, small = a_start(duration=3_600), a_start(duration=60)
    first = compact([large, small], None, NOW)
    after = without(first, large, running(installed(first)), NOW + 100)
    assert outcomes_of(after) == {large.request_id: State.CANCELLED, small.request_id: State.COMPLETED}
    assert isinstance(installed(after).command, StopCommand)


def test_a_waiting_request_leaves_and_the_run_goes_on() -> None:
    runs, waits = a_start(), a_start(profiling_mode="wall")
    first = compact([runs, waits], None, NOW)
    after = without(first, waits, running(installed(first)))
    assert kept(after).request_ids == (runs.request_id,)
    assert outcomes_of(after) == {waits.request_id: State.CANCELLED}


def test_another_mode_takes_its_turn_when_the_run_is_withdrawn() -> None:
    runs, waits = a_start(), a_start(profiling_mode="wall")
    first = compact([runs, waits], None, NOW)
    after = without(first, runs, running(installed(first)))
    assert config_of(installed(after)).profiling_mode == "wall"


def test_a_stop_is_withdrawn_before_it_is_handed_out() -> None:
    stop = a_stop()
    first = compact([stop], None, NOW)
    after = without(first, stop, installed(first))
    assert after.close is not None
    assert outcomes_of(after) == {stop.request_id: State.CANCELLED}


def test_what_nobody_asked_here_is_of_no_account() -> None:
    start = a_start()
    first = compact([start], None, NOW)
    after = compact(first.open_requests, installed(first), NOW, {"another": "cancelled by t"})
    assert kept(after) == installed(first)
    assert after.endings == ()


@pytest.mark.parametrize("newer", [a_start(frequency=99), a_stop(), a_start(profiling_mode="wall", priority="urgent")])
def test_an_agent_at_work_on_what_was_displaced_is_told_though_it_never_took_the_newer_command(
    newer: OpenRequest,
) -> None:
    start = a_start()
    at_work = running(installed(compact([start], None, NOW)))
    second = compact([start, newer], at_work, NOW)
    everything = dict.fromkeys((start.request_id, newer.request_id), "cancelled by t")
    after = compact(second.open_requests, installed(second), NOW + 1, everything)
    stop = installed(after)
    assert isinstance(stop.command, StopCommand)
    assert (stop.request_ids, stop.generation) == ((), 3)
    assert kept(compact(after.open_requests, stop, NOW + 2)) == stop


def test_when_the_last_who_wants_more_leaves_a_run_the_next_mode_has_its_turn_at_once() -> None:
    long, brief, waiting = a_start(duration=3_600), a_start(duration=1), a_start(profiling_mode="wall")
    first = compact([long, brief, waiting], None, NOW)
    after = without(first, long, running(installed(first)), NOW + 60)
    assert config_of(installed(after)).profiling_mode == "wall"
    assert outcomes_of(after) == {long.request_id: State.CANCELLED, brief.request_id: State.COMPLETED}
    assert kept(compact(after.open_requests, installed(after), NOW + 60)) == installed(after)
