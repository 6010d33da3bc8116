"""Stops narrow the starts that came before them, of a host or of some processes."""

import pytest

from broker.compaction import compact
from protocol.commands import StopCommand
from protocol.lifecycle import State
from tests.support.builders import NOW, a_start, a_stop
from tests.support.compacting import config_of, in_state, installed, kept, open_ids, outcomes_of, running


def test_a_host_stop_closes_every_open_start_and_stops_the_host() -> None:
    first = compact([a_start(), a_start(pids=frozenset({5}))], None, NOW)
    stop = a_stop()
    again = compact([*first.open_requests, stop], running(installed(first)), NOW + 5)
    assert outcomes_of(again) == dict.fromkeys(open_ids(first), State.STOPPED)
    command = installed(again)
    assert command.command == StopCommand()
    assert (command.command_id, command.generation, command.request_ids) == (stop.command_id, 2, (stop.request_id,))
    assert again.close == (State.SUPERSEDED, "by generation 2")
    assert open_ids(again) == [stop.request_id]


def test_a_host_stop_closes_what_was_never_handed_out() -> None:
    start, stop = a_start(), a_stop()
    again = compact([start, stop], None, NOW)
    assert outcomes_of(again) == {start.request_id: State.STOPPED}
    assert installed(again).command == StopCommand()


def test_an_ending_names_the_command_and_the_stop_that_closed_it() -> None:
    first = compact([a_start()], None, NOW)
    stop = a_stop()
    (ending,) = compact([*first.open_requests, stop], installed(first), NOW).endings
    assert ending.command_id == installed(first).command_id
    assert ending.reason == f"by request {stop.request_id}"


def test_a_host_stop_on_an_idle_host_is_still_told_to_it() -> None:
    assert installed(compact([a_stop()], None, NOW)).command == StopCommand()


def test_two_stops_become_one() -> None:
    first = compact([a_stop()], None, NOW)
    second = a_stop()
    again = compact([*first.open_requests, second], in_state(installed(first), State.DELIVERED), NOW)
    assert kept(again).request_ids == (*open_ids(first), second.request_id)
    assert again.joined == (second.request_id,)


def test_a_process_stop_leaves_the_other_pid_running() -> None:
    first = compact([a_start(duration=300, pids=frozenset({1, 2}))], None, NOW)
    stop = a_stop(pids=frozenset({1}))
    again = compact([*first.open_requests, stop], running(installed(first)), NOW + 100)
    command = installed(again)
    assert (config_of(command).pids, config_of(command).duration) == ([2], 200)
    assert (command.request_ids, command.stop_ids) == (tuple(open_ids(first)), (stop.request_id,))
    assert command.command_id == stop.command_id
    assert outcomes_of(again) == {}, "the start goes on, the stop is done when the narrower run begins"


def test_a_process_stop_takes_its_pids_out_of_a_whole_host_run() -> None:
    first = compact([a_start()], None, NOW)
    again = compact([*first.open_requests, a_stop(pids=frozenset({9, 4}))], running(installed(first)), NOW)
    config = config_of(installed(again))
    assert (config.pids, config.exclude_pids) == (None, [4, 9])
    third = compact([*again.open_requests, a_stop(pids=frozenset({5}))], running(installed(again)), NOW)
    assert config_of(installed(third)).exclude_pids == [4, 5, 9]


def test_a_start_left_with_no_pids_closes() -> None:
    narrow, wide = a_start(pids=frozenset({1})), a_start(pids=frozenset({1, 2}))
    first = compact([narrow, wide], None, NOW)
    again = compact([*first.open_requests, a_stop(pids=frozenset({1, 7}))], running(installed(first)), NOW)
    assert outcomes_of(again) == {narrow.request_id: State.STOPPED}
    assert config_of(installed(again)).pids == [2]
    assert installed(again).request_ids == (wide.request_id,)


def test_a_process_stop_that_leaves_nothing_becomes_a_host_stop() -> None:
    start, stop = a_start(pids=frozenset({1})), a_stop(pids=frozenset({1}))
    first = compact([start], None, NOW)
    again = compact([*first.open_requests, stop], running(installed(first)), NOW)
    assert outcomes_of(again) == {start.request_id: State.STOPPED}
    assert installed(again).command == StopCommand()


def test_a_stop_of_what_nobody_profiles_is_done_at_once() -> None:
    first = compact([a_start(pids=frozenset({1}))], None, NOW)
    stop = a_stop(pids=frozenset({99}))
    again = compact([*first.open_requests, stop], running(installed(first)), NOW)
    assert kept(again).generation == 1
    assert outcomes_of(again) == {stop.request_id: State.COMPLETED}
    assert again.endings[0].reason == "nothing that it names was being profiled"


def test_a_stop_that_is_on_its_way_is_not_done_by_a_second_look() -> None:
    first = compact([a_start(pids=frozenset({1, 2}))], None, NOW)
    stop = a_stop(pids=frozenset({1}))
    narrowed = compact([*first.open_requests, stop], running(installed(first)), NOW)
    again = compact(narrowed.open_requests, in_state(installed(narrowed), State.DELIVERED), NOW + 1)
    assert kept(again).stop_ids == (stop.request_id,)
    assert outcomes_of(again) == {}


@pytest.mark.parametrize("pids", [None, frozenset({1})])
def test_a_start_after_a_stop_starts(pids: frozenset[int] | None) -> None:
    stop, start = a_stop(pids=pids), a_start(pids=frozenset({1}))
    compacted = compact([stop, start], None, NOW)
    command = installed(compacted)
    assert config_of(command).pids == [1]
    assert (command.request_ids, command.stop_ids) == ((start.request_id,), (stop.request_id,))


def test_a_start_after_a_stop_that_was_handed_out_starts() -> None:
    first = compact([a_stop()], None, NOW)
    start = a_start()
    again = compact([*first.open_requests, start], in_state(installed(first), State.DELIVERED), NOW)
    assert installed(again).command_id == start.command_id
    assert installed(again).stop_ids == tuple(open_ids(first))
    assert again.close == (State.SUPERSEDED, "by generation 2")


@pytest.mark.parametrize("state", [State.PENDING, State.DELIVERED, State.RUNNING])
@pytest.mark.parametrize("pids", [None, frozenset({1})])
def test_stopped_and_asked_for_anew_is_not_the_same_run(state: State, pids: frozenset[int] | None) -> None:
    """The configuration is the same, but the run that was stopped must not go on, for an hour, for ten new seconds."""
    first = compact([a_start(duration=3600, pids=pids)], None, NOW)
    before = running(installed(first)) if state is State.RUNNING else in_state(installed(first), state)
    stop, start = a_stop(pids=pids), a_start(duration=10, pids=pids)
    again = compact([*first.open_requests, stop, start], before, NOW + 5)
    command = installed(again)
    assert (config_of(command).duration, command.command_id) == (10, start.command_id)
    assert (command.request_ids, command.stop_ids) == ((start.request_id,), (stop.request_id,))
    assert outcomes_of(again) == {open_ids(first)[0]: State.STOPPED}


def test_a_stop_does_not_touch_a_start_that_came_after_it() -> None:
    older, newer = a_start(pids=frozenset({1})), a_start(pids=frozenset({1, 2}))
    compacted = compact([older, a_stop(pids=frozenset({1})), newer], None, NOW)
    assert outcomes_of(compacted) == {older.request_id: State.STOPPED}
    assert config_of(installed(compacted)).pids == [1, 2]


def test_a_later_start_of_a_pid_takes_it_back_into_a_whole_host_run() -> None:
    first = compact([a_start(), a_stop(pids=frozenset({5, 6}))], None, NOW)
    again = compact([*first.open_requests, a_start(pids=frozenset({5}))], running(installed(first)), NOW)
    assert (config_of(installed(again)).pids, config_of(installed(again)).exclude_pids) == (None, [6])


def test_a_later_whole_host_start_takes_every_pid_back() -> None:
    first = compact([a_start(), a_stop(pids=frozenset({5}))], None, NOW)
    again = compact([*first.open_requests, a_start()], running(installed(first)), NOW)
    assert config_of(installed(again)).exclude_pids is None


def test_a_stop_is_carried_by_every_newer_generation_until_one_runs() -> None:
    first = compact([a_start(pids=frozenset({1, 2}))], None, NOW)
    stop = a_stop(pids=frozenset({1}))
    second = compact([*first.open_requests, stop], running(installed(first)), NOW)
    third = compact([*second.open_requests, a_start(pids=frozenset({3}))], installed(second), NOW)
    assert installed(third).stop_ids == (stop.request_id,)
    assert config_of(installed(third)).pids == [2, 3]
