"""Samples of stored profiles over time."""

from datetime import datetime, timedelta
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel

from api.dependencies import StudioDep
from api.documented import problems
from api.problems import invalid
from api.selections import SelectionDep, asked, mode_in, of_a_mode
from profiles.renderings import unit_of_mode
from profiles.timelines import MOST_STEPS, step_for, steps_in, whole
from protocol.problems import FieldFault

router = APIRouter(tags=["profiles"])
_DAY: Final = 86_400


class Step(BaseModel):
    """What began in one stretch of time. `at` is when it begins."""

    at: datetime
    samples: int
    profiles: int


class Timeline(BaseModel):
    """Stretches of `step` seconds, one after the other, those without samples too; counted from 1970, UTC."""

    step: int
    unit: Literal["samples", "bytes"]
    samples: int
    items: list[Step]


@router.get("/api/v1/flamegraph/timeline", responses=problems(401, 403, 422, 503), summary="Samples over time")
async def timeline(
    parts: StudioDep,
    selection: SelectionDep,
    step: Annotated[int | None, Query(ge=1, le=31 * _DAY, description="Seconds; unsaid: some 100 steps")] = None,
) -> Timeline:
    """How many samples are selected, by when their profile began."""
    stretch = timedelta(seconds=step) if step else step_for(selection.start, selection.end)
    many = steps_in(selection.start, selection.end, stretch)
    if many > MOST_STEPS:
        why = f"makes {many:,} steps of this time; {MOST_STEPS:,} are the most"
        raise invalid(more=[FieldFault(field="step", message=why, code="too_many_steps")])
    chosen = of_a_mode(selection)
    mode = await mode_in(parts, chosen)
    buckets = whole(await asked(lambda: parts.profiles.over_time(chosen, stretch)), selection.start, many, stretch)
    return Timeline(
        step=stretch // timedelta(seconds=1), unit=unit_of_mode(mode),
        samples=sum(each.samples for each in buckets),
        items=[Step(at=each.at, samples=each.samples, profiles=each.profiles) for each in buckets],
    )  # fmt: skip
