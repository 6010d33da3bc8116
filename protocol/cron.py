"""Cron in a named time zone: pure arithmetic on moments.

The rules are those of Debian's cron. An expression of a fixed hour fires once a day: at a local time that does not
exist (clocks go forward) it fires at the first moment after the gap; at one that occurs twice (clocks go back) it fires
at the first. An expression whose minute or hour begins with `*` goes on through both: it is about time that passes.
"""

from datetime import UTC, datetime
from functools import cache
from itertools import islice
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from cronsim import CronSim, CronSimError

FIELDS: Final = 5
LONGEST: Final = 100
ANY_DAY: Final = datetime(2024, 1, 1, tzinfo=UTC)
"""Where to begin when all that matters is whether an expression ever fires."""


@cache
def zones() -> frozenset[str]:
    """The names of the time zones there are."""
    return frozenset(available_timezones())


def is_there(timezone: str) -> bool:
    """Whether a time zone that was once in the database still is: far quicker than reading all of their names."""
    try:
        ZoneInfo(timezone)
    except ZoneInfoNotFoundError:
        return False
    return True


def fault_of(expression: str) -> str | None:
    """What is wrong with an expression; None when it fires, and fires again."""
    if len(expression) > LONGEST:
        return f"has {len(expression)} characters; at most {LONGEST} are taken"
    if len(expression.split()) != FIELDS:
        return "must have five fields: minute, hour, day of month, month, day of week"
    try:
        fires = next(CronSim(expression, ANY_DAY), None) is not None
    except CronSimError as error:
        return f"is no cron expression, or names a date that never comes: {error}"
    return None if fires else "never fires: there is no such date"


def next_firing(expression: str, timezone: str, *, after: float) -> float:
    """The first firing after a moment. Moments are whole seconds since the epoch."""
    return next_firings(expression, timezone, after=after, count=1)[0].timestamp()


def next_firings(expression: str, timezone: str, *, after: float, count: int) -> list[datetime]:
    """The next firings after a moment, in their zone, so that the offset is seen."""
    begin = datetime.fromtimestamp(after, ZoneInfo(timezone))
    # Asked from within the hour that occurs twice, the library begins with the first, which is over.
    coming = (moment for moment in CronSim(expression, begin) if moment.timestamp() > after)
    return list(islice(coming, count))


def last_firing(expression: str, timezone: str, *, until: float) -> float:
    """The last firing at a moment or before it."""
    # A microsecond later: the library leaves out the moment that it is asked from.
    begin = datetime.fromtimestamp(until, ZoneInfo(timezone)).replace(microsecond=1)
    return next(CronSim(expression, begin, reverse=True)).timestamp()
