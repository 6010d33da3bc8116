"""The laws of compaction as functions of drawn values: one test holds them, another sees each of them bite."""

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any, Final, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from broker import compaction
from broker.effective import Compacted, Effective, OpenRequest
from protocol.commands import StopCommand
from protocol.lifecycle import State
from tests.support.builders import NOW
from tests.support.compacting import config_of
from tests.support.host_story import HostStory, StoryOfOneThatWaits
from tests.support.wishes import UNIVERSE, named, own_keys, starts

ROUNDING: Final = 1.0
"""A command's duration is in whole seconds, and what is left of a run is not."""
STATES: Final = st.sampled_from([State.PENDING, State.DELIVERED, State.RECEIVED, State.RUNNING])
TAKEN: Final = st.sampled_from([State.DELIVERED, State.RECEIVED, State.RUNNING])
SECONDS: Final = st.floats(0, 70, allow_nan=False)


class Law(NamedTuple):
    """What must hold, and of what."""

    check: Callable[..., None]
    of: tuple[st.SearchStrategy[Any], ...]

    def hold(self, how: settings) -> int:
        """Look for values that break it. Gives how many were looked at.

        Raises:
            AssertionError: there are some.
        """
        looked_at = 0

        @wraps(self.check)
        def check(*values: Any, **named_values: Any) -> None:
            nonlocal looked_at
            self.check(*values, **named_values)
            looked_at += 1

        how(given(*self.of)(check))()
        return looked_at


class StoryLaw(NamedTuple):
    """Every law that a host's whole life is held to, step by step."""

    machine: type[HostStory]

    def hold(self, how: settings) -> int:
        """Look for a life that breaks one. Gives how many were looked at."""
        looked_at = 0

        def machine() -> HostStory:
            nonlocal looked_at
            looked_at += 1
            return self.machine()

        run_state_machine_as_test(machine, settings=how)  # type: ignore[arg-type]  # a function will do, it says
        return looked_at


def effective_after(compacted: Compacted) -> Effective:
    """The command that holds after compaction; there must be one."""
    command = compacted.install or compacted.keep
    assert command is not None
    return command


def settled(wishes: list[OpenRequest], state: State) -> tuple[list[OpenRequest], Effective]:
    """Some starts as open requests, and their command as it stands a little later."""
    compacted = compaction.compact(wishes, None, NOW)
    started_at = NOW if state is State.RUNNING else None
    return list(compacted.open_requests), replace(effective_after(compacted), state=state, started_at=started_at)


def profiled_pids(effective: Effective) -> set[int]:
    config = config_of(effective)
    return {
        pid
        for pid in UNIVERSE
        if (pid in config.pids if config.pids is not None else pid not in (config.exclude_pids or ()))
    }


def _order_changes_nothing_but_the_name(wishes: list[OpenRequest], data: st.DataObject) -> None:
    wishes = named(wishes)
    shuffled = data.draw(st.permutations(wishes))
    one = effective_after(compaction.compact(wishes, None, NOW))
    other = effective_after(compaction.compact(shuffled, None, NOW))
    assert one.command == other.command
    assert set(one.request_ids) == set(other.request_ids)
    assert one.generation == other.generation
    assert (one.command_id, other.command_id) == (wishes[-1].command_id, shuffled[-1].command_id)


def _apart_or_together_is_the_same(wishes: list[OpenRequest], data: st.DataObject) -> None:
    wishes = named(wishes)
    at_once = effective_after(compaction.compact(wishes, None, NOW))
    open_requests: list[OpenRequest] = []
    effective: Effective | None = None
    for wish in data.draw(st.permutations(wishes)):
        compacted = compaction.compact([*open_requests, wish], effective, NOW)
        effective, open_requests = effective_after(compacted), list(compacted.open_requests)
    assert effective is not None
    assert effective.command == at_once.command
    assert set(effective.request_ids) == set(at_once.request_ids)


def _a_further_start_takes_nothing_away(
    wishes: list[OpenRequest], further: OpenRequest, state: State, elapsed: float
) -> None:
    open_requests, before = settled(named(wishes), state)
    now = NOW + elapsed
    compacted = compaction.compact(open_requests, before, now)
    if compacted.keep is None:
        return  # its time was over anyway
    (further,) = named([further], prefix="further-")
    command = effective_after(compaction.compact([*compacted.open_requests, further], compacted.keep, now))
    assert command.remaining(now) + ROUNDING >= before.remaining(now), "it shortened a run"
    assert profiled_pids(command) >= profiled_pids(before), "it dropped a pid"
    assert config_of(command).frequency >= config_of(before).frequency, "it coarsened a run"
    assert config_of(command).continuous >= config_of(before).continuous, "it made a run end"
    assert set(command.request_ids) == {*before.request_ids, further.request_id}
    assert before.generation <= command.generation <= before.generation + 1


def _time_alone_never_makes_the_agent_act(wishes: list[OpenRequest], state: State, elapsed: float) -> None:
    open_requests, before = settled(named(wishes), state)
    compacted = compaction.compact(open_requests, before, NOW + elapsed)
    assert compacted.install is None
    assert compacted.keep == before or compacted.close is not None


def _a_second_look_changes_nothing(
    wishes: list[OpenRequest], further: list[OpenRequest], state: State, elapsed: float
) -> None:
    open_requests, before = settled(named(wishes), state)
    now = NOW + elapsed
    once = compaction.compact([*open_requests, *named(further, prefix="further-")], before, now)
    command = once.install or once.keep
    if once.install is not None:
        assert once.install.command_id != before.command_id, "an agent never runs the same id twice"
    again = compaction.compact(once.open_requests, command, now)
    assert again.install is None
    assert (again.close, again.endings, again.joined, again.queued) == (None, (), (), ())
    assert (again.keep, again.open_requests, again.wake_at) == (command, once.open_requests, once.wake_at)


def _everybody_gets_its_own_seconds(durations: tuple[int, int], gaps: tuple[float, float]) -> None:
    """One runs, another comes to it, and a third makes the agent begin anew: nobody is cut short, nor served longer."""
    first, second, third = named(
        [
            OpenRequest("", "", "start", NOW, NOW + 1e6, duration=durations[0]),
            OpenRequest("", "", "start", NOW, NOW + 1e6, duration=durations[1]),
            OpenRequest("", "", "start", NOW, NOW + 1e6, duration=1, frequency=99),
        ]
    )
    open_requests, command = settled([first], State.RUNNING)
    came_at = NOW + gaps[0]
    again = compaction.compact([*open_requests, second], command, came_at)
    command = effective_after(again)
    if again.install is not None:
        command = replace(command, state=State.RUNNING, started_at=came_at)
    now = came_at + gaps[1]
    last = compaction.compact([*again.open_requests, third], command, now)
    if first.request_id not in {request.request_id for request in last.open_requests}:
        return  # its time was over
    left = max(durations[0] - (now - NOW), durations[1] - gaps[1], 1.0)
    given_seconds = effective_after(last).remaining(now)
    assert left - 2 * ROUNDING <= given_seconds <= left + ROUNDING


def _who_came_later_keeps_its_seconds_when_others_are_stopped(
    durations: tuple[int, int], gaps: tuple[float, float]
) -> None:
    one, other = frozenset({1}), frozenset({2})
    first, companion, newcomer, stop = named(
        [
            OpenRequest("", "", "start", NOW, NOW + 1e6, duration=durations[0], pids=one),
            OpenRequest("", "", "start", NOW, NOW + 1e6, duration=1, pids=other),
            OpenRequest("", "", "start", NOW, NOW + 1e6, duration=durations[1], pids=other),
            OpenRequest("", "", "stop", NOW, NOW + 1e6, pids=one),
        ]
    )
    open_requests, command = settled([first, companion], State.RUNNING)
    came_at, now = NOW + gaps[0], NOW + sum(gaps)
    again = compaction.compact([*open_requests, newcomer], command, came_at)
    if again.keep is None:
        return  # it did not join
    last = compaction.compact([*again.open_requests, stop], again.keep, now)
    if newcomer.request_id in {request.request_id for request in last.open_requests}:
        left = max(durations[1] - gaps[1], 1.0)
        assert left - 1e-6 <= effective_after(last).remaining(now) <= left + ROUNDING + 1e-6


def _what_was_put_off_keeps_what_it_has_left(duration: int, elapsed: float) -> None:
    first, urgent = named(
        [
            OpenRequest("", "", "start", NOW, NOW + 1e6, duration=duration),
            OpenRequest("", "", "start", NOW, NOW + 1e6, profiling_mode="wall", priority="urgent"),
        ]
    )
    open_requests, command = settled([first], State.RUNNING)
    taken = compaction.compact([*open_requests, urgent], command, NOW + elapsed)
    waiting = [request for request in taken.open_requests if request.request_id == first.request_id]
    elapsed = (NOW + elapsed) - NOW  # as far as clocks tell moments apart
    if elapsed >= duration:
        assert not waiting, "it had its seconds"
        return
    ended = replace(effective_after(taken), state=State.COMPLETED, request_ids=())
    resumed = effective_after(compaction.compact(waiting, ended, NOW + 1_000))
    left = duration - elapsed
    assert left - 1e-6 <= config_of(resumed).duration <= left + ROUNDING + 1e-6


def _a_run_is_given_up_only_to_what_is_more_urgent(runs: str, other: str) -> None:
    first, second = named(
        [
            OpenRequest("", "", "start", NOW, NOW + 1e6, priority=runs),  # type: ignore[arg-type] # drawn from them
            OpenRequest("", "", "start", NOW, NOW + 1e6, profiling_mode="wall", priority=other),  # type: ignore[arg-type] # likewise
        ]
    )
    open_requests, command = settled([first], State.RUNNING)
    compacted = compaction.compact([*open_requests, second], command, NOW + 1)
    assert (compacted.install is not None) == (other == "urgent" and runs != "urgent")


def _a_run_is_no_longer_than_who_is_left_wants(durations: tuple[int, int], elapsed: float) -> None:
    """One of two is withdrawn: the other gets its own seconds and no more of them."""
    leaves, stays = named([OpenRequest("", "", "start", NOW, NOW + 1e6, duration=duration) for duration in durations])
    open_requests, command = settled([leaves, stays], State.RUNNING)
    now = NOW + elapsed
    compacted = compaction.compact(open_requests, command, now, {leaves.request_id: "cancelled"})
    if stays.request_id not in {request.request_id for request in compacted.open_requests}:
        return  # its time was over
    left = durations[1] - elapsed
    assert left - 2 * ROUNDING <= effective_after(compacted).remaining(now) <= left + 2 * ROUNDING


def _an_agent_at_work_for_nobody_is_told(
    wishes: list[OpenRequest], state: State, is_lost: bool, something_newer_comes: bool
) -> None:
    """Whether everybody has left the run, or the host was given up on and comes back; and what came since went, too."""
    open_requests, command = settled(named(wishes), state)
    if is_lost:
        open_requests, command = [], replace(command, state=State.LOST, request_ids=())
    if something_newer_comes:
        (urgent,) = named(
            [OpenRequest("", "", "start", NOW, NOW + 1e6, profiling_mode="wall", priority="urgent")], prefix="urgent-"
        )
        compacted = compaction.compact([*open_requests, urgent], command, NOW)
        open_requests, command = list(compacted.open_requests), effective_after(compacted)
    elif is_lost:
        command = replace(command, back_at_work=True)
    withdrawn = {request.request_id: "cancelled" for request in open_requests}
    last = compaction.compact(open_requests, command, NOW + 0.5, withdrawn)
    assert last.install is not None, "it goes on for nobody"
    assert isinstance(last.install.command, StopCommand)
    assert last.open_requests == ()


FOLDS: Final = st.lists(starts(), min_size=2, max_size=5)
WITH_KEYS: Final = st.lists(starts(args=own_keys()), min_size=1, max_size=4)
THAT_EXPIRE: Final = st.lists(starts(expires_in=st.sampled_from([5.0, 60.0, 900.0])), min_size=1, max_size=3)
LENGTHS: Final = st.tuples(st.integers(1, 200), st.integers(1, 200))

ORDER: Final = Law(_order_changes_nothing_but_the_name, (FOLDS, st.data()))
APART: Final = Law(_apart_or_together_is_the_same, (FOLDS, st.data()))
FURTHER: Final = Law(_a_further_start_takes_nothing_away, (WITH_KEYS, starts(args=own_keys()), STATES, SECONDS))
TWICE: Final = Law(_a_second_look_changes_nothing, (THAT_EXPIRE, THAT_EXPIRE, STATES, SECONDS))
TIME: Final = Law(_time_alone_never_makes_the_agent_act, (FOLDS, STATES, st.floats(0, 90, allow_nan=False)))
SECONDS_OF_EACH: Final = Law(_everybody_gets_its_own_seconds, (LENGTHS, st.tuples(SECONDS, SECONDS)))
SECONDS_AFTER_A_STOP: Final = Law(
    _who_came_later_keeps_its_seconds_when_others_are_stopped, (LENGTHS, st.tuples(SECONDS, SECONDS))
)
PRIORITIES: Final = st.sampled_from(["low", "normal", "urgent"])
PUT_OFF: Final = Law(_what_was_put_off_keeps_what_it_has_left, (st.integers(1, 200), SECONDS))
GIVEN_UP: Final = Law(_a_run_is_given_up_only_to_what_is_more_urgent, (PRIORITIES, PRIORITIES))
WITHDRAWN: Final = Law(_a_run_is_no_longer_than_who_is_left_wants, (LENGTHS, SECONDS))
TOLD: Final = Law(_an_agent_at_work_for_nobody_is_told, (FOLDS, TAKEN, st.booleans(), st.booleans()))
STORY: Final = StoryLaw(HostStory)
STORY_AHEAD: Final = StoryLaw(StoryOfOneThatWaits)
