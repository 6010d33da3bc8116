"""Stretches of time that samples are counted in: how long, how many, and the empty ones between the others."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from profiles.questions import FIRST_MOMENT, Bucket

MOST_STEPS: Final = 2_000
USUAL_STEPS: Final = 100
STEPS: Final = tuple(
    timedelta(seconds=seconds)
    for seconds in (1, 5, 10, 30, 60, 300, 600, 1_800, 3_600, 10_800, 21_600, 43_200, 86_400)
)  # fmt: skip
"""What people call a step, from a second to a day."""


def step_for(start: datetime, end: datetime) -> timedelta:
    """The shortest usual step that makes no more than some hundred of this time; a day where none does."""
    return next((step for step in STEPS if (end - start) <= step * USUAL_STEPS), STEPS[-1])


def first_of(start: datetime, step: timedelta) -> datetime:
    """When the step begins that has this moment."""
    return FIRST_MOMENT + (start - FIRST_MOMENT) // step * step


def steps_in(start: datetime, end: datetime, step: timedelta) -> int:
    """How many steps have a moment of [start, end)."""
    return -((first_of(start, step) - end) // step)


def whole(found: Iterable[Bucket], start: datetime, many: int, step: timedelta) -> list[Bucket]:
    """Every step from the one that has `start`: those that were found, and empty ones."""
    known = {each.at: each for each in found}
    first = first_of(start, step)
    return [known.get(at) or Bucket(at, 0, 0) for at in (first + number * step for number in range(many))]
