"""Tending stored profiles: packed hour by hour, folded when old, gone when too old. Every step may be repeated."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from profiles.compacting import Compactor, places
from profiles.folding import fold
from profiles.keeping import Keeping, expire
from profiles.objects import Objects
from profiles.packs import Shelves
from profiles.questions import Engine
from profiles.shelves import RAW, SAMPLES

log = structlog.get_logger(__name__)

LOOKS_BACK: Final = timedelta(days=3)
"""By itself; uploads for hours before that are packed by `studio profiles compact`."""
SETTLES: Final = timedelta(minutes=10)
"""How long after an hour's end most of its uploads are there."""


@dataclass
class Tended:
    """What a pass did."""

    packed: int = 0
    folded: int = 0
    expired_days: int = 0
    failed: list[str] = field(default_factory=list)
    """Hours that could not be tended, to be told of; the next pass tries again."""


class Tender:
    """One pass over a store."""

    def __init__(self, objects: Objects, engine: Engine, keeping: Keeping) -> None:
        self._objects = objects
        self._engine = engine
        self._keeping = keeping
        self._compactor = Compactor(objects)
        self._shelves = Shelves(objects)

    def tend(self, *, now: datetime, patience: timedelta, since: datetime | None = None) -> Tended:
        """Do what is due.

        Args:
            now: UTC.
            patience: no hour is begun after so long; the next pass goes on.
            since: look at hours from here on; by default at the last days, and at those that are old enough to fold.

        Raises:
            OSError: the store does not answer.
        """
        done, end = Tended(), time.monotonic() + patience.total_seconds()
        done.expired_days = expire(self._objects, self._engine, self._keeping, now=now)
        self._each(self._hours(now - LOOKS_BACK if since is None else since, now - SETTLES), end, done, self._pack)
        if (after := self._keeping.fold_after) is not None:
            ripe = now - after
            self._each(self._hours(ripe - LOOKS_BACK if since is None else since, ripe), end, done, self._fold)
        return done

    def _hours(self, since: datetime, until: datetime) -> Iterator[str]:
        """The hours that ended before `until`, the oldest first in each service."""
        for place in places(self._objects, since=since, until=until):
            if end_of(place) <= until:
                yield place

    def _each(self, hours: Iterator[str], end: float, done: Tended, work: Callable[[str, Tended], None]) -> None:
        for place in hours:
            if time.monotonic() > end:
                log.info("tending profiles goes on at the next pass", at=place)
                return
            try:
                work(place, done)
            except (OSError, ValueError) as error:  # pyarrow's are among the latter; one hour does not stop the others
                log.exception("an hour of profiles cannot be tended", place=place, reason=type(error).__name__)
                done.failed.append(place)

    def _pack(self, place: str, done: Tended) -> None:
        done.packed += self._compactor.tend(place, now=datetime.now(UTC))

    def _fold(self, place: str, done: Tended) -> None:
        done.packed += self._compactor.tend(place, now=datetime.now(UTC))
        done.folded += fold(self._compactor, place, below=self._keeping.fold_below)
        packs = self._shelves.shelf(f"{SAMPLES}/{place}").packs.values()
        folded = frozenset[str]().union(*(facts.profile_ids for facts in packs if facts.folded_at))
        for profile_id in self._objects.names(f"{RAW}/{place}") if folded else ():
            if profile_id in folded:
                self._objects.remove(f"{RAW}/{place}/{profile_id}")


def end_of(place: str) -> datetime:
    """When an hour ended, by its place.

    Raises:
        ValueError: it is none.
    """
    _, _, day, hour = place.split("/")
    return datetime.strptime(f"{day}T{hour}", "%Y-%m-%dT%H").replace(tzinfo=UTC) + timedelta(hours=1)
