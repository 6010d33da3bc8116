"""Stretches of time: every moment is in one of them, and there are never too many."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from profiles.questions import Bucket
from profiles.timelines import STEPS, first_of, step_for, steps_in, whole

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
SPANS = st.timedeltas(min_value=timedelta(microseconds=1), max_value=timedelta(days=31))


@given(SPANS, SPANS)
def test_the_usual_step_makes_some_hundred_at_most_and_they_hold_all_the_time(late: timedelta, span: timedelta) -> None:
    start, end = NOON + late, NOON + late + span
    step = step_for(start, end)
    many = steps_in(start, end, step)
    assert 1 <= many <= 101
    first = first_of(start, step)
    assert first <= start < first + step
    assert first + (many - 1) * step < end <= first + many * step


def test_empty_steps_stand_between_the_others() -> None:
    minute = timedelta(minutes=1)
    found = [Bucket(NOON + minute, 3, 1)]
    assert whole(found, NOON + timedelta(seconds=30), 3, minute) == [
        Bucket(NOON, 0, 0), Bucket(NOON + minute, 3, 1), Bucket(NOON + 2 * minute, 0, 0),
    ]  # fmt: skip
    assert steps_in(NOON, NOON + minute, minute) == 1
    assert steps_in(NOON, NOON + minute + timedelta(microseconds=1), minute) == 2


def test_days_begin_at_midnight_utc() -> None:
    assert first_of(NOON, STEPS[-1]) == NOON.replace(hour=0)
