"""Moments as others say them, in UTC."""

from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(9000, 1, 1, tzinfo=UTC)
"""Python's calendar ends a thousand years later: an hour added, or an offset taken off, stays inside."""


def utc(moment: datetime) -> datetime:
    """A moment in UTC, which is also what one without an offset is taken for.

    Raises:
        PydanticCustomError: it lies beyond what can be reckoned with.
    """
    try:
        found = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:  # an offset takes it out of the calendar
        found = None
    if found is None or not EARLIEST <= found < LATEST:
        raise PydanticCustomError("bad_time", "must be from {first} to {last}", {
            "first": EARLIEST.year, "last": LATEST.year - 1,
        })  # fmt: skip
    return found


Moment = Annotated[datetime, AfterValidator(utc)]
"""A moment somebody says, in UTC: to be reckoned with in hours and days."""
