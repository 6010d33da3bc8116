"""One profiling mode at a time: another one waits until the host is free."""

from broker.compaction import compact
from protocol.commands import StopCommand
from protocol.lifecycle import State
from tests.support.builders import NOW, a_start, a_stop
from tests.support.compacting import config_of, in_state, installed, kept, open_ids, outcomes_of, running


def test_another_mode_waits_while_one_runs() -> None:
    first = compact([a_start()], None, NOW)
    other = a_start(profiling_mode="allocation")
    again = compact([*first.open_requests, other], running(installed(first)), NOW)
    assert kept(again).request_ids == tuple(open_ids(first))
    assert [name for name, _ in again.queued] == [other.request_id]
    assert {request.request_id: request.state for request in again.open_requests}[other.request_id] is State.QUEUED


def test_waiting_is_told_once() -> None:
    first = compact([a_start(), a_start(profiling_mode="wall")], None, NOW)
    again = compact(first.open_requests, running(installed(first)), NOW + 1)
    assert first.queued
    assert again.queued == ()


def test_of_two_modes_at_once_the_older_request_goes_first() -> None:
    older, newer = a_start(profiling_mode="wall"), a_start()
    compacted = compact([older, newer], None, NOW)
    assert config_of(installed(compacted)).profiling_mode == "wall"
    assert [name for name, _ in compacted.queued] == [newer.request_id]


def test_of_two_modes_at_once_the_more_urgent_goes_first() -> None:
    low, normal = a_start(profiling_mode="wall", priority="low"), a_start()
    urgent = a_start(profiling_mode="allocation", priority="urgent")
    compacted = compact([low, normal, urgent], None, NOW)
    assert config_of(installed(compacted)).profiling_mode == "allocation"
    after = in_state(installed(compacted), State.COMPLETED)
    left = [request for request in compacted.open_requests if request.request_id != urgent.request_id]
    assert config_of(installed(compact(left, after, NOW))).profiling_mode == "cpu"


def test_the_mode_that_runs_goes_on_while_anybody_wants_it() -> None:
    first = compact([a_start(), a_start(profiling_mode="wall")], None, NOW)
    more = a_start(frequency=50)
    again = compact([*first.open_requests, more], running(installed(first)), NOW)
    assert config_of(installed(again)).profiling_mode == "cpu"
    assert more.request_id in installed(again).request_ids


def test_a_waiting_mode_has_its_turn_when_the_command_has_ended() -> None:
    other = a_start(profiling_mode="wall", duration=45)
    first = compact([a_start(), other], None, NOW)
    waiting = [request for request in first.open_requests if request.request_id == other.request_id]
    again = compact(waiting, in_state(installed(first), State.COMPLETED), NOW + 60)
    command = installed(again)
    assert (command.generation, command.command_id) == (2, other.command_id)
    assert (config_of(command).profiling_mode, config_of(command).duration) == ("wall", 45)
    assert again.open_requests[0].state is State.PENDING


def test_a_waiting_mode_has_its_turn_when_a_stop_ends_the_other() -> None:
    running_one, other = a_start(pids=frozenset({1})), a_start(profiling_mode="wall", pids=frozenset({2}))
    first = compact([running_one, other], None, NOW)
    stop = a_stop(pids=frozenset({1}))
    again = compact([*first.open_requests, stop], running(installed(first)), NOW)
    assert outcomes_of(again) == {running_one.request_id: State.STOPPED}
    assert config_of(installed(again)).profiling_mode == "wall"
    assert installed(again).stop_ids == (stop.request_id,)


def test_a_host_stop_closes_what_waits_too() -> None:
    first = compact([a_start(), a_start(profiling_mode="wall")], None, NOW)
    again = compact([*first.open_requests, a_stop()], running(installed(first)), NOW)
    assert outcomes_of(again) == dict.fromkeys(open_ids(first), State.STOPPED)
    assert installed(again).command == StopCommand()


def test_a_process_stop_narrows_what_waits_too() -> None:
    other = a_start(profiling_mode="wall", pids=frozenset({1, 2}))
    first = compact([a_start(pids=frozenset({7})), other], None, NOW)
    again = compact([*first.open_requests, a_stop(pids=frozenset({1}))], running(installed(first)), NOW)
    left = {request.request_id: request.pids for request in again.open_requests}
    assert left[other.request_id] == frozenset({2})
    assert kept(again).generation == 1, "what runs has nothing to do with it"
