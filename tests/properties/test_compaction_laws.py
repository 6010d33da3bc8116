"""The laws of compaction, held against whatever Hypothesis thinks of: many thousand examples, and they are counted."""

from collections.abc import Callable
from typing import Final, NamedTuple

import pytest
from hypothesis import Phase, settings

from tests.support.compaction_laws import (
    APART,
    FURTHER,
    GIVEN_UP,
    ORDER,
    PUT_OFF,
    SECONDS_AFTER_A_STOP,
    SECONDS_OF_EACH,
    STORY,
    STORY_AHEAD,
    TIME,
    TOLD,
    TWICE,
    WITHDRAWN,
    Law,
    StoryLaw,
)

ENOUGH: Final = 20_000
"""Examples in all."""
HOW: Final = settings(
    deadline=None,
    stateful_step_count=30,
    report_multiple_bugs=False,
    phases=set(Phase) - {Phase.explain},  # it traces every line of every example
)


class Held(NamedTuple):
    """A law, in words, and how many examples it is held against: more where one costs less."""

    words: str
    law: Law | StoryLaw
    examples: int


LAWS: Final = (
    Held("all laws hold through a host's whole life", STORY, 300),
    Held("they hold where the agent is told of starts ahead of their moment", STORY_AHEAD, 100),
    Held("a second look changes nothing", TWICE, 1_500),
    Held("the order of starts changes nothing but the name", ORDER, 1_000),
    Held("starts that come apart make the same command as together", APART, 1_000),
    Held("a further start never takes anything away", FURTHER, 500),
    Held("time alone never makes the agent act", TIME, 2_200),
    Held("what was put off keeps what it has left", PUT_OFF, 500),
    Held("a run is given up only to what is more urgent", GIVEN_UP, 9),
    Held("a run is no longer than who is left wants", WITHDRAWN, 500),
    Held("an agent at work for nobody is told to stop", TOLD, 500),
    Held("every request gets its own seconds and no more", SECONDS_OF_EACH, 7_500),
    Held("who came later keeps its seconds when others are stopped", SECONDS_AFTER_A_STOP, 6_000),
)


@pytest.mark.timeout(600)  # it computes all the time: how long that takes is the machine's affair
@pytest.mark.parametrize("held", LAWS, ids=[held.words for held in LAWS])
def test_a_law_holds(held: Held, record_property: Callable[[str, object], None]) -> None:
    looked_at = held.law.hold(settings(HOW, max_examples=held.examples))
    record_property("examples", looked_at)
    assert looked_at >= held.examples


def test_they_are_held_against_enough_examples() -> None:
    assert sum(held.examples for held in LAWS) >= ENOUGH
