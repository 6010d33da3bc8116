"""Starts of one profiling mode fold into one command."""

from typing import Any

import pytest

from broker.compaction import compact
from protocol.commands import StartCommand
from protocol.lifecycle import State
from tests.support.builders import NOW, a_start
from tests.support.compacting import config_of, in_state, installed, kept, open_ids, outcomes_of, running


def folded(*starts: Any) -> Any:
    return config_of(installed(compact(list(starts), None, NOW)))


def test_one_start_becomes_the_first_generation() -> None:
    start = a_start(duration=90, frequency=49, pids=frozenset({7, 3}), additional_args={"max_processes": 10})
    compacted = compact([start], None, NOW)
    command = installed(compacted)
    assert (command.command_id, command.generation, command.state) == (start.command_id, 1, State.PENDING)
    assert command.request_ids == (start.request_id,)
    assert command.command.model_dump(exclude_none=True) == {
        "command_type": "start",
        "combined_config": {
            "duration": 90, "frequency": 49, "profiling_mode": "cpu", "continuous": False, "pids": [3, 7],
            "max_processes": 10,
        },
    }  # fmt: skip
    assert (compacted.endings, compacted.close, open_ids(compacted)) == ((), None, [start.request_id])


def test_nothing_to_do_is_nothing_done() -> None:
    compacted = compact([], None, NOW)
    assert (compacted.install, compacted.keep, compacted.close) == (None, None, None)
    assert (compacted.open_requests, compacted.endings, compacted.wake_at) == ((), (), None)


def test_two_starts_in_one_gap_arrive_as_one_command() -> None:
    first = a_start(duration=60, frequency=99, pids=frozenset({1, 2}))
    second = a_start(duration=120, frequency=11, pids=frozenset({2, 3}))
    compacted = compact([first, second], None, NOW)
    command = installed(compacted)
    config = config_of(command)
    assert (config.duration, config.frequency, config.pids) == (120, 99, [1, 2, 3])
    assert command.command_id == second.command_id, "the newest request in it names it"
    assert command.request_ids == (first.request_id, second.request_id)
    assert outcomes_of(compacted) == {}


def test_a_whole_host_request_absorbs_pids() -> None:
    assert folded(a_start(pids=frozenset({1})), a_start(), a_start(pids=frozenset({2}))).pids is None


def test_one_continuous_request_makes_the_run_continuous() -> None:
    config = folded(a_start(duration=600), a_start(continuous=True, duration=30), a_start(duration=700))
    assert (config.continuous, config.duration) == (True, 30), "the window is that of the continuous request"


def test_other_keys_merge_deeply_and_the_later_entry_wins() -> None:
    older = a_start(additional_args={"max_processes": 10, "profiler_configs": {"perf": {"mode": "fp"}, "java": 1}})
    newer = a_start(additional_args={"max_processes": 20, "profiler_configs": {"perf": {"stack": 64}, "java": [2]}})
    extra = folded(older, newer).model_dump(exclude_none=True)
    assert extra["max_processes"] == 20
    assert extra["profiler_configs"] == {"perf": {"mode": "fp", "stack": 64}, "java": [2]}


def test_a_null_key_is_an_absent_key() -> None:
    config = folded(a_start(additional_args={"max_processes": None, "profiler_configs": {"perf": None}}))
    assert "max_processes" not in config.model_dump()
    assert config.model_dump()["profiler_configs"] == {"perf": None}


def test_a_start_before_the_agent_has_begun_takes_the_larger_duration() -> None:
    first = compact([a_start(duration=300)], None, NOW)
    second = a_start(duration=100, frequency=50)
    both = compact([*first.open_requests, second], in_state(installed(first), State.DELIVERED), NOW + 200)
    assert config_of(installed(both)).duration == 300


def test_each_request_keeps_its_own_seconds_of_a_run() -> None:
    long, short = a_start(duration=300), a_start(duration=100)
    both = compact([long, short], None, NOW)
    again = compact([*both.open_requests, a_start(frequency=50, duration=60)], running(installed(both)), NOW + 50)
    remaining = {request.request_id: request.remaining for request in again.open_requests}
    assert remaining[long.request_id] == 250
    assert remaining[short.request_id] == 50
    assert config_of(installed(again)).duration == 250


def test_a_longer_wish_counts_from_now_and_not_from_the_start_of_the_run() -> None:
    first = compact([a_start(duration=60)], None, NOW)
    again = compact([*first.open_requests, a_start(duration=60, frequency=50)], running(installed(first)), NOW + 50)
    assert config_of(installed(again)).duration == 60


def test_part_of_a_second_that_is_left_is_rounded_up() -> None:
    first = compact([a_start(duration=60)], None, NOW)
    again = compact([*first.open_requests, a_start(duration=1, frequency=50)], running(installed(first)), NOW + 0.25)
    assert config_of(installed(again)).duration == 60
    late = compact([*first.open_requests, a_start(duration=1, frequency=50)], running(installed(first)), NOW + 59.9)
    assert config_of(installed(late)).duration == 1


def test_a_newer_generation_voids_the_older_one() -> None:
    first = compact([a_start()], None, NOW)
    again = compact([*first.open_requests, a_start(frequency=50)], in_state(installed(first), State.RECEIVED), NOW)
    assert installed(again).generation == 2
    assert again.close == (State.SUPERSEDED, "by generation 2")
    assert outcomes_of(again) == {}, "its requests go on in the newer one"


def test_the_generation_goes_on_after_the_command_has_ended() -> None:
    first = installed(compact([a_start()], None, NOW))
    again = compact([a_start()], in_state(first, State.COMPLETED), NOW + 60)
    assert installed(again).generation == 2
    assert again.close is None, "an outcome is not closed again"


def test_new_requests_stand_behind_the_older_ones_in_the_order_of_their_arrival() -> None:
    first = compact([a_start(), a_start()], None, NOW)
    late = [a_start(frequency=50), a_start()]
    again = compact([late[0], *reversed(first.open_requests), late[1]], installed(first), NOW)
    assert [request.seq for request in again.open_requests] == [0, 1, 2, 3]
    assert open_ids(again) == [*open_ids(first), late[0].request_id, late[1].request_id]
    assert installed(again).command_id == late[1].command_id


# --- which requests a host has ended, and which id is next ------------------------------------------------------------


def test_no_two_generations_share_a_command_id() -> None:
    """An agent never runs an id twice: one that it may know says nothing new to it."""
    lasting, brief = a_start(), a_start(frequency=99, expires_at=NOW + 5)
    first = compact([lasting, brief], None, NOW)
    again = compact(first.open_requests, in_state(installed(first), State.RECEIVED), NOW + 6)
    assert outcomes_of(again) == {brief.request_id: State.EXPIRED}
    assert config_of(installed(again)).frequency == 11
    assert installed(again).command_id not in {brief.command_id, installed(first).command_id}


def test_an_id_that_led_before_does_not_lead_again() -> None:
    lasting = a_start()
    first = compact([lasting], None, NOW)
    brief = a_start(frequency=99, expires_at=NOW + 5)
    second = compact([*first.open_requests, brief], in_state(installed(first), State.RECEIVED), NOW)
    third = compact(second.open_requests, in_state(installed(second), State.DELIVERED), NOW + 6)
    ids = [installed(each).command_id for each in (first, second, third)]
    assert ids[:2] == [lasting.command_id, brief.command_id]
    assert len(set(ids)) == 3


# --- joining ----------------------------------------------------------------------------------------------------------


def test_a_start_that_the_run_covers_joins_it() -> None:
    first = compact([a_start(duration=300, frequency=50, pids=frozenset({1, 2}))], None, NOW)
    newcomer = a_start(duration=100, frequency=20, pids=frozenset({2}))
    again = compact([*first.open_requests, newcomer], running(installed(first)), NOW + 100)
    command = kept(again)
    assert (command.command_id, command.generation) == (installed(first).command_id, 1)
    assert command.request_ids == (*open_ids(first), newcomer.request_id)
    assert again.joined == (newcomer.request_id,)
    assert (again.close, outcomes_of(again)) == (None, {})


def test_a_start_that_the_undelivered_command_covers_joins_it() -> None:
    first = compact([a_start(duration=300)], None, NOW)
    newcomer = a_start(duration=60, pids=frozenset({5}))
    again = compact([*first.open_requests, newcomer], installed(first), NOW + 10)
    assert kept(again).request_ids == (*open_ids(first), newcomer.request_id)


@pytest.mark.parametrize(
    "wish",
    [
        {"frequency": 12},
        {"duration": 52},
        {"pids": None},
        {"pids": frozenset({1, 3})},
        {"continuous": True},
        {"additional_args": {"max_processes": 3}},
    ],
)
def test_a_start_that_wants_more_than_the_run_gives_does_not_join(wish: dict[str, Any]) -> None:
    first = compact([a_start(pids=frozenset({1, 2}))], None, NOW)
    newcomer = a_start(**{"duration": 5, "pids": frozenset({1}), **wish})
    again = compact([*first.open_requests, newcomer], running(installed(first)), NOW + 10)
    assert installed(again).generation == 2


def test_a_wish_that_outlasts_the_run_by_a_second_is_not_worth_a_restart() -> None:
    first = compact([a_start(duration=60)], None, NOW)
    again = compact([*first.open_requests, a_start(duration=51)], running(installed(first)), NOW + 10)
    assert len(kept(again).request_ids) == 2
    later = compact([*first.open_requests, a_start(duration=52)], running(installed(first)), NOW + 10)
    assert config_of(installed(later)).duration == 52


def test_who_joined_late_keeps_its_own_seconds() -> None:
    first = compact([a_start(duration=300)], None, NOW)
    newcomer = a_start(duration=100)
    joined = compact([*first.open_requests, newcomer], running(installed(first)), NOW + 100)
    again = compact([*joined.open_requests, a_start(frequency=50)], running(kept(joined)), NOW + 150)
    remaining = {request.request_id: request.remaining for request in again.open_requests}
    assert remaining[newcomer.request_id] == 50, "100 s from when it joined, not from when the run began"


def test_a_continuous_run_covers_whatever_it_covers_for_ever() -> None:
    first = compact([a_start(continuous=True, duration=30)], None, NOW)
    much_later = NOW + 1_000_000
    newcomer = a_start(duration=80_000, expires_at=much_later + 1)
    again = compact([*first.open_requests, newcomer], running(installed(first)), much_later)
    assert len(kept(again).request_ids) == 2


@pytest.mark.parametrize("late", [0.0, 0.5, 5.0, 29.0])
def test_a_run_past_its_end_is_not_begun_again_while_its_completion_is_on_the_way(late: float) -> None:
    first = compact([a_start(duration=60)], None, NOW)
    again = compact(first.open_requests, running(installed(first)), NOW + 60 + late)
    assert kept(again).generation == 1
    assert outcomes_of(again) == {}


def test_a_start_that_comes_after_the_end_of_a_run_does_not_join_it() -> None:
    first = compact([a_start(duration=60)], None, NOW)
    newcomer = a_start(duration=30)
    again = compact([*first.open_requests, newcomer], running(installed(first)), NOW + 65)
    assert installed(again).command_id == newcomer.command_id
    assert config_of(installed(again)).duration == 30


def test_a_fold_of_starts_is_a_start() -> None:
    assert isinstance(installed(compact([a_start(), a_start()], None, NOW)).command, StartCommand)
