"""The table of a command's life: complete, and closed at its ends."""

import itertools

import pytest

from protocol.lifecycle import NEXT, OFFERABLE, OPEN, OUTCOMES, Event, NoSuchStep, State, advance

BEFORE_INSTALLED = {State.SUBMITTED, State.QUEUED}


def test_every_state_is_either_on_the_way_or_an_outcome() -> None:
    assert set(State) == BEFORE_INSTALLED | set(OPEN) | OUTCOMES
    assert not OUTCOMES & (BEFORE_INSTALLED | set(OPEN))
    assert set(OFFERABLE) < set(OPEN)


def test_an_outcome_has_no_way_out() -> None:
    assert not [state for state, _ in NEXT if state in OUTCOMES]


def test_every_state_can_be_reached_from_a_submission() -> None:
    reached = {State.SUBMITTED}
    while more := {after for (before, _), after in NEXT.items() if before in reached} - reached:
        reached |= more
    assert reached == set(State)


def test_every_open_state_leads_to_an_outcome() -> None:
    ends = set(OUTCOMES)
    while more := {before for (before, _), after in NEXT.items() if after in ends} - ends:
        ends |= more
    assert ends == set(State)


def test_every_event_happens_somewhere() -> None:
    assert {event for _, event in NEXT} == set(Event)


def test_every_outcome_is_reached_by_one_kind_of_event() -> None:
    by_outcome: dict[State, set[Event]] = {}
    for (_, event), after in NEXT.items():
        if after in OUTCOMES:
            by_outcome.setdefault(after, set()).add(event)
    assert set(by_outcome) == OUTCOMES
    assert all(len(events) == 1 for events in by_outcome.values())


@pytest.mark.parametrize(("state", "event"), sorted(itertools.product(State, Event)))
def test_a_step_is_in_the_table_or_cannot_be_taken(state: State, event: Event) -> None:
    if (state, event) in NEXT:
        assert advance(state, event) is NEXT[state, event]
        return
    with pytest.raises(NoSuchStep) as caught:
        advance(state, event)
    assert (caught.value.state, caught.value.event) == (state, event)
    assert str(caught.value) == f"a {state} command cannot be {event}"


def test_a_redelivery_changes_no_state() -> None:
    assert advance(State.DELIVERED, Event.OFFERED) is State.DELIVERED


def test_a_queued_request_cannot_run() -> None:
    assert not {event for state, event in NEXT if state is State.QUEUED} & {Event.OFFERED, Event.STARTED}


def test_only_what_has_begun_can_run_too_long() -> None:
    assert [state for state, event in NEXT if event is Event.RAN_TOO_LONG] == [State.RUNNING]


def test_what_runs_does_not_expire() -> None:
    assert (State.RUNNING, Event.NOT_STARTED_IN_TIME) not in NEXT
