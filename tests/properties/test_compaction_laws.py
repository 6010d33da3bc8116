"""The laws of compaction, held against whatever Hypothesis thinks of."""

from hypothesis import settings

from tests.support.compaction_laws import (
    APART,
    FURTHER,
    ORDER,
    SECONDS_AFTER_A_STOP,
    SECONDS_OF_EACH,
    STORY,
    TIME,
    TWICE,
)

ENOUGH = settings(max_examples=100, deadline=None)


def test_the_laws_hold_through_a_hosts_whole_life() -> None:
    """Compacting twice changes nothing, a stopped pid stays stopped, each request ends once, and so on."""
    STORY.hold(settings(ENOUGH, stateful_step_count=30, report_multiple_bugs=False))


def test_a_second_look_changes_nothing() -> None:
    TWICE.hold(ENOUGH)


def test_the_order_of_starts_changes_nothing_but_the_name() -> None:
    ORDER.hold(ENOUGH)


def test_starts_that_come_apart_make_the_same_command_as_together() -> None:
    APART.hold(ENOUGH)


def test_a_further_start_never_takes_anything_away() -> None:
    FURTHER.hold(ENOUGH)


def test_time_alone_never_makes_the_agent_act() -> None:
    TIME.hold(ENOUGH)


def test_every_request_gets_its_own_seconds_and_no_more() -> None:
    SECONDS_OF_EACH.hold(ENOUGH)


def test_who_came_later_keeps_its_seconds_when_others_are_stopped() -> None:
    SECONDS_AFTER_A_STOP.hold(ENOUGH)
