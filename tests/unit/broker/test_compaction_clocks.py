"""Two clocks end things: not started by then, and ran longer than asked. Only the server's clock decides."""

from dataclasses import replace

import pytest

from broker.compaction import compact
from broker.effective import GRACE_SECONDS, OpenRequest
from protocol.commands import StopCommand
from protocol.lifecycle import State
from tests.support.builders import NOW, a_start, a_stop
from tests.support.compacting import config_of, in_state, installed, kept, open_ids, outcomes_of, running

NOT_STARTED = (State.PENDING, State.DELIVERED, State.RECEIVED)


def test_what_is_not_started_by_then_never_starts() -> None:
    late = a_start(expires_at=NOW)
    compacted = compact([late], None, NOW)
    assert outcomes_of(compacted) == {late.request_id: State.EXPIRED}
    assert (compacted.install, compacted.open_requests, compacted.wake_at) == (None, (), None)


@pytest.mark.parametrize("state", NOT_STARTED)
def test_a_command_expires_until_it_runs(state: State) -> None:
    first = compact([a_start(expires_at=NOW + 10)], None, NOW)
    before = compact(first.open_requests, in_state(installed(first), state), NOW + 9.999)
    after = compact(first.open_requests, in_state(installed(first), state), NOW + 10)
    assert (before.endings, before.close) == ((), None)
    assert outcomes_of(after) == dict.fromkeys(open_ids(first), State.EXPIRED)
    assert after.close is not None
    if state is State.PENDING:
        assert (after.close[0], after.install) == (State.EXPIRED, None)
    else:
        assert isinstance(installed(after).command, StopCommand), "the agent may be about to run what is too late now"


def test_what_runs_does_not_expire() -> None:
    first = compact([a_start(duration=60, expires_at=NOW + 10)], None, NOW)
    again = compact(first.open_requests, running(installed(first)), NOW + 11)
    assert (kept(again).generation, outcomes_of(again)) == (1, {})


def test_who_joined_a_run_does_not_expire_either() -> None:
    first = compact([a_start(duration=60)], None, NOW)
    joined = compact([*first.open_requests, a_start(duration=5, expires_at=NOW + 2)], running(installed(first)), NOW)
    again = compact(joined.open_requests, running(kept(joined)), NOW + 3)
    assert outcomes_of(again) == {}


@pytest.mark.parametrize("newcomer", [a_start(frequency=50), a_stop(pids=frozenset({1}))], ids=["start", "stop"])
def test_what_was_running_does_not_expire_on_its_way_into_a_newer_command(newcomer: OpenRequest) -> None:
    """A run of an hour that is merged after twenty minutes was started in time; the newer command has its own time."""
    started = a_start(duration=3600)
    first = compact([started], None, NOW)
    newcomer = replace(newcomer, expires_at=NOW + 10_000)
    merged = compact([*first.open_requests, newcomer], running(installed(first)), NOW + 1200)
    assert started.request_id in installed(merged).request_ids
    again = compact(merged.open_requests, installed(merged), NOW + 1200)
    assert (outcomes_of(again), kept(again).generation) == ({}, 2)
    never_taken = compact(merged.open_requests, installed(merged), NOW + 1200 + 900)
    assert outcomes_of(never_taken)[started.request_id] is State.EXPIRED, "but it ends, should nobody take it"


def test_a_waiting_request_expires_while_another_mode_runs() -> None:
    waiting = a_start(profiling_mode="wall", expires_at=NOW + 10)
    first = compact([a_start(duration=60), waiting], None, NOW)
    again = compact(first.open_requests, running(installed(first)), NOW + 10)
    assert outcomes_of(again) == {waiting.request_id: State.EXPIRED}
    assert kept(again).generation == 1


def test_a_part_of_an_undelivered_command_that_expires_takes_its_wishes_with_it() -> None:
    lasting, brief = a_start(pids=frozenset({1})), a_start(pids=frozenset({2}), frequency=99, expires_at=NOW + 5)
    first = compact([lasting, brief], None, NOW)
    again = compact(first.open_requests, installed(first), NOW + 5)
    config = config_of(installed(again))
    assert (config.pids, config.frequency) == ([1], 11)
    assert outcomes_of(again) == {brief.request_id: State.EXPIRED}


def test_a_stop_expires_like_any_request() -> None:
    first = compact([a_stop(expires_at=NOW + 10)], None, NOW)
    again = compact(first.open_requests, in_state(installed(first), State.DELIVERED), NOW + 10)
    assert outcomes_of(again) == dict.fromkeys(open_ids(first), State.EXPIRED)
    assert again.close is not None
    assert again.close[0] is State.EXPIRED


def test_a_stop_that_expired_narrows_nothing() -> None:
    first = compact([a_start(duration=600)], None, NOW)
    again = compact([*first.open_requests, a_stop(expires_at=NOW)], running(installed(first)), NOW)
    assert kept(again).request_ids == tuple(open_ids(first))


# --- the second clock -------------------------------------------------------------------------------------------------


def test_a_run_without_a_completion_times_out_after_its_grace() -> None:
    first = compact([a_start(duration=60)], None, NOW)
    just_before = compact(first.open_requests, running(installed(first)), NOW + 60 + GRACE_SECONDS - 0.001)
    after = compact(first.open_requests, running(installed(first)), NOW + 60 + GRACE_SECONDS)
    assert just_before.close is None
    assert after.close is not None
    assert after.close[0] is State.TIMED_OUT
    assert outcomes_of(after) == dict.fromkeys(open_ids(first), State.TIMED_OUT)
    assert after.open_requests == ()


def test_a_run_of_which_only_the_start_was_reported_is_completed_by_the_clock() -> None:
    first = compact([a_start(duration=60)], None, NOW)
    command = running(installed(first), closed_by_clock=True)
    assert compact(first.open_requests, command, NOW + 59.999).close is None
    after = compact(first.open_requests, command, NOW + 60)
    assert outcomes_of(after) == dict.fromkeys(open_ids(first), State.COMPLETED)
    assert after.close is not None
    assert after.close[0] is State.COMPLETED


def test_nothing_limits_a_continuous_run() -> None:
    first = compact([a_start(continuous=True, duration=60)], None, NOW)
    again = compact(first.open_requests, running(installed(first)), NOW + 10_000_000)
    assert (outcomes_of(again), again.wake_at) == ({}, None)


def test_the_next_command_follows_in_the_same_look_as_the_clock() -> None:
    waiting = a_start(profiling_mode="wall", expires_at=NOW + 1000)
    first = compact([a_start(duration=60), waiting], None, NOW)
    again = compact(first.open_requests, running(installed(first)), NOW + 60 + GRACE_SECONDS)
    assert again.close is not None
    assert again.close[0] is State.TIMED_OUT
    assert installed(again).request_ids == (waiting.request_id,)
    assert installed(again).generation == 2


def test_what_came_too_late_is_not_started_by_the_end_of_a_run() -> None:
    """The newer requests waited unread while the run timed out and their own time ran out."""
    first = compact([a_start(duration=1)], None, NOW)
    late, in_time = a_start(expires_at=NOW + 5), a_start(frequency=50)
    again = compact([*first.open_requests, late, in_time], running(installed(first)), NOW + 60)
    assert outcomes_of(again) == {open_ids(first)[0]: State.TIMED_OUT, late.request_id: State.EXPIRED}
    assert installed(again).request_ids == (in_time.request_id,)


def test_a_stop_has_no_second_clock() -> None:
    command = installed(compact([a_stop()], None, NOW))
    assert command.command == StopCommand()
    assert command.run_limit is None


# --- when to look again -----------------------------------------------------------------------------------------------


def test_compaction_looks_again_when_the_first_request_would_expire() -> None:
    compacted = compact([a_start(expires_at=NOW + 30), a_start(expires_at=NOW + 20)], None, NOW)
    assert compacted.wake_at == NOW + 20


def test_compaction_looks_again_when_the_run_would_time_out() -> None:
    first = compact([a_start(duration=60, expires_at=NOW + 10)], None, NOW)
    again = compact(first.open_requests, running(installed(first)), NOW + 5)
    assert again.wake_at == NOW + 60 + GRACE_SECONDS


def test_compaction_looks_again_for_what_waits_behind_a_run() -> None:
    first = compact([a_start(duration=600), a_start(profiling_mode="wall", expires_at=NOW + 20)], None, NOW)
    again = compact(first.open_requests, running(installed(first)), NOW + 5)
    assert again.wake_at == NOW + 20


def test_looking_when_told_to_always_finds_something_to_end() -> None:
    first = compact([a_start(duration=60, expires_at=NOW + 10), a_stop(pids=frozenset({1}))], None, NOW)
    assert first.wake_at is not None
    assert compact(first.open_requests, installed(first), first.wake_at).endings
    began = compact(first.open_requests, running(installed(first)), NOW)
    assert began.wake_at is not None
    assert compact(began.open_requests, running(kept(began)), began.wake_at).endings


def test_remaining_seconds_need_a_start() -> None:
    command = installed(compact([a_start(duration=60)], None, NOW))
    assert command.remaining(NOW + 5) == 60, "what has not begun has all of them"
    assert running(command).remaining(NOW + 5) == 55
