"""A continuous request whose processes change, leave the host and come back."""

from dataclasses import replace
from typing import Any

from broker.codec import Loaded, requests_of, write_open, write_request
from broker.compaction import compact
from broker.effective import Compacted, Effective, OpenRequest
from protocol.commands import StartCommand, StopCommand
from protocol.lifecycle import State
from tests.support.builders import NOW, a_start, a_stop
from tests.support.compacting import installed, kept, running


def loaded(known: OpenRequest | None, *entries: OpenRequest) -> Loaded:
    open_now = {} if known is None else {known.request_id: write_open(known)}
    return Loaded({}, open_now, {f"{number}-0": write_request(entry) for number, entry in enumerate(entries)})


def moved(request: OpenRequest, *pids: int, at: float = NOW) -> OpenRequest:
    """As it is told to the host: a new wish with the time of the look."""
    return replace(request, pids=frozenset(pids), moved_at=at, seq=-1, state=State.SUBMITTED, led=False)


def follower(*pids: int, **given: Any) -> OpenRequest:
    return a_start(continuous=True, pids=frozenset(pids), **given)


def started(*requests: OpenRequest) -> tuple[tuple[OpenRequest, ...], Effective]:
    first = compact(requests, None, NOW)
    return first.open_requests, running(installed(first))


def pids_of(compacted: Compacted) -> list[int] | None:
    command = installed(compacted).command
    assert isinstance(command, StartCommand)
    return command.combined_config.pids


# --- what is read -----------------------------------------------------------------------------------------------------


def test_a_later_look_replaces_the_processes_and_an_older_one_does_not() -> None:
    request = follower(1, 2)
    (now,) = requests_of(loaded(request, moved(request, 3, at=NOW + 1), moved(request, 4, at=NOW)))
    assert (now.pids, now.moved_at, now.request_id) == (frozenset({3}), NOW + 1, request.request_id)
    assert requests_of(loaded(now, moved(request, 9, at=NOW + 1))) == [now], "the same look once more"


def test_what_has_ended_here_does_not_begin_again() -> None:
    assert requests_of(loaded(None, moved(follower(1), 2))) == []


def test_a_look_may_come_with_the_request_itself() -> None:
    request = follower(1)
    (now,) = requests_of(loaded(None, request, moved(request, 2)))
    assert now.pids == frozenset({2})


def test_what_a_stop_has_taken_out_stays_out() -> None:
    open_now, active = started(follower(1, 2))
    stopped = compact([*open_now, a_stop(pids=frozenset({2, 9}))], active, NOW + 1)
    assert pids_of(stopped) == [1]
    start = next(each for each in stopped.open_requests if each.command_type == "start")
    (now,) = requests_of(loaded(start, moved(start, 1, 2, 3, 9, at=NOW + 2)))
    assert now.pids == frozenset({1, 3})


# --- what is made of it -----------------------------------------------------------------------------------------------


def test_other_processes_are_another_generation_under_another_id() -> None:
    (request,), active = started(follower(1, 2))
    after = compact([replace(request, pids=frozenset({2, 3}))], active, NOW + 5)
    assert pids_of(after) == [2, 3]
    assert installed(after).generation == active.generation + 1
    assert installed(after).command_id != active.command_id
    assert after.endings == ()


def test_the_same_processes_change_nothing() -> None:
    (request,), active = started(follower(1, 2))
    after = compact([replace(request, moved_at=NOW + 5)], active, NOW + 5)
    assert kept(after) == active
    assert after.endings == ()


def test_a_request_whose_processes_are_gone_waits_and_the_agent_is_told_to_stop() -> None:
    (request,), active = started(follower(1))
    gone = compact([replace(request, pids=frozenset())], active, NOW + 5)
    assert isinstance(installed(gone).command, StopCommand)
    assert gone.endings == ()
    assert gone.queued == ((request.request_id, "nothing that it names runs on the host"),)
    (waits,) = gone.open_requests
    assert waits.state is State.QUEUED
    again = compact([waits], installed(gone), NOW + 10)
    assert (again.install, again.endings, again.queued) == (None, (), ()), "compacting twice changes nothing"


def test_it_does_not_expire_while_it_waits_and_resumes_when_they_come_back() -> None:
    (request,), active = started(follower(1))
    gone = compact([replace(request, pids=frozenset())], active, NOW + 5)
    (waits,) = gone.open_requests
    later = compact([waits], replace(installed(gone), state=State.COMPLETED), NOW + 5_000)
    assert (later.endings, later.wake_at) == ((), None)
    back = compact([replace(waits, pids=frozenset({7}))], replace(installed(gone), state=State.COMPLETED), NOW + 6_000)
    assert pids_of(back) == [7]
    assert installed(back).command_id != active.command_id, "an agent never runs the same id twice"


def test_one_that_has_nothing_here_when_it_comes_expires_if_nothing_ever_comes() -> None:
    first = compact([follower()], None, NOW)
    (waits,) = first.open_requests
    assert (first.install, waits.state, first.wake_at) == (None, State.QUEUED, NOW + 900)
    assert [ending.outcome for ending in compact([waits], None, NOW + 900).endings] == [State.EXPIRED]


def test_others_go_on_when_its_processes_have_gone() -> None:
    open_now, active = started(follower(1), a_start(pids=frozenset({2}), continuous=True))
    gone = [replace(each, pids=frozenset()) if each.pids == frozenset({1}) else each for each in open_now]
    after = compact(gone, active, NOW + 5)
    assert pids_of(after) == [2]
    assert [each.state for each in after.open_requests if not each.pids] == [State.QUEUED]


def test_a_host_stop_ends_one_that_waits_and_a_process_stop_leaves_it() -> None:
    (waits,) = compact([follower()], None, NOW).open_requests
    by_process = compact([waits, a_stop(pids=frozenset({5}))], None, NOW + 1)
    assert waits.request_id not in [each for ending in by_process.endings for each in ending.request_ids]
    by_host = compact([waits, a_stop()], None, NOW + 1)
    assert [(ending.request_ids, ending.outcome) for ending in by_host.endings] == [
        ((waits.request_id,), State.STOPPED)
    ]  # fmt: skip


def test_one_that_waits_can_be_cancelled() -> None:
    (waits,) = compact([follower()], None, NOW).open_requests
    after = compact([waits], None, NOW + 1, {waits.request_id: "why"})
    assert [(ending.outcome, ending.reason) for ending in after.endings] == [(State.CANCELLED, "why")]
    assert after.open_requests == ()
