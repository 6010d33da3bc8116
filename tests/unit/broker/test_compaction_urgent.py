"""Compaction: what is urgent takes the host, and what starts together waits for its moment."""

from broker.compaction import compact
from protocol.lifecycle import State
from tests.support.builders import NOW, a_start, a_stop
from tests.support.compacting import config_of, in_state, installed, kept, open_ids, outcomes_of, running


def test_an_urgent_mode_takes_the_host() -> None:
    runs, urgent = a_start(duration=600), a_start(profiling_mode="wall", priority="urgent", duration=30)
    first = compact([runs], None, NOW)
    after = compact([*first.open_requests, urgent], running(installed(first)), NOW + 100)
    assert config_of(installed(after)).profiling_mode == "wall"
    assert after.queued == ((runs.request_id, "an urgent request took the host"),)
    assert after.endings == ()


def test_what_was_put_off_resumes_with_what_remains() -> None:
    runs, urgent = a_start(duration=600), a_start(profiling_mode="wall", priority="urgent", duration=30)
    first = compact([runs], None, NOW)
    put_off = compact([*first.open_requests, urgent], running(installed(first)), NOW + 100)
    left = [request for request in put_off.open_requests if request.request_id == runs.request_id]
    resumed = compact(left, in_state(installed(put_off), State.COMPLETED), NOW + 140)
    config = config_of(installed(resumed))
    assert (config.profiling_mode, config.duration) == ("cpu", 500)
    assert installed(resumed).command_id != installed(first).command_id, "an agent never runs the same id twice"


def test_what_was_put_off_does_not_expire_while_it_waits_and_may_once_it_is_back() -> None:
    runs, urgent = a_start(duration=600, expires_at=NOW + 60, start_within=60.0), a_start(
        profiling_mode="wall", priority="urgent", duration=3_600
    )  # fmt: skip
    first = compact([runs], None, NOW)
    put_off = compact([*first.open_requests, urgent], running(installed(first)), NOW + 30)
    later = compact(put_off.open_requests, running(installed(put_off), since=NOW + 30), NOW + 1_000)
    assert later.endings == ()
    left = [request for request in later.open_requests if request.request_id == runs.request_id]
    resumed = compact(left, in_state(installed(put_off), State.COMPLETED), NOW + 4_000)
    assert resumed.wake_at == NOW + 4_060
    never_taken = compact(resumed.open_requests, installed(resumed), NOW + 4_060)
    assert outcomes_of(never_taken) == {runs.request_id: State.EXPIRED}


def test_who_has_had_its_seconds_completes_instead_of_waiting() -> None:
    runs, urgent = a_start(duration=60), a_start(profiling_mode="wall", priority="urgent")
    first = compact([runs], None, NOW)
    after = compact([*first.open_requests, urgent], running(installed(first)), NOW + 65)
    assert outcomes_of(after) == {runs.request_id: State.COMPLETED}
    assert open_ids(after) == [urgent.request_id]


def test_urgent_waits_for_urgent() -> None:
    runs, second = a_start(priority="urgent"), a_start(profiling_mode="wall", priority="urgent")
    first = compact([runs], None, NOW)
    after = compact([*first.open_requests, second], running(installed(first)), NOW + 1)
    assert kept(after).request_ids == (runs.request_id,)


def test_an_urgent_request_of_the_same_mode_joins_the_fold() -> None:
    runs, urgent = a_start(duration=600, frequency=99), a_start(duration=60, priority="urgent")
    first = compact([runs], None, NOW)
    after = compact([*first.open_requests, urgent], running(installed(first)), NOW + 1)
    assert after.joined == (urgent.request_id,)


def test_a_host_stop_closes_what_was_put_off_too() -> None:
    runs, urgent = a_start(duration=600), a_start(profiling_mode="wall", priority="urgent")
    first = compact([runs], None, NOW)
    put_off = compact([*first.open_requests, urgent], running(installed(first)), NOW + 1)
    after = compact([*put_off.open_requests, a_stop()], running(installed(put_off)), NOW + 2)
    assert outcomes_of(after) == {runs.request_id: State.STOPPED, urgent.request_id: State.STOPPED}


def test_what_starts_together_waits_for_its_moment() -> None:
    start = a_start(not_before=NOW + 10, expires_at=NOW + 70)
    first = compact([start], None, NOW)
    assert first.install is None
    assert first.queued[0][1].startswith("starts at 2027-01-15T08:00:10")
    assert first.wake_at == NOW + 10
    too_early = compact(first.open_requests, None, NOW + 9.999)
    assert too_early.install is None
    assert installed(compact(first.open_requests, None, NOW + 10)).request_ids == (start.request_id,)


def test_who_waits_for_its_moment_does_not_hold_up_the_others() -> None:
    later, now = a_start(not_before=NOW + 10), a_start(duration=600)
    first = compact([later, now], None, NOW)
    assert installed(first).request_ids == (now.request_id,)
    at_its_moment = compact(first.open_requests, running(installed(first)), NOW + 10)
    assert kept(at_its_moment).request_ids == (later.request_id, now.request_id)
