"""Tending stored profiles: packed hour by hour, folded when old, gone when too old. Every step may be repeated.

What writers that were killed have left unfinished goes, too.
"""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Final
from urllib.parse import unquote

import structlog

from profiles.compacting import Compactor, places
from profiles.folding import fold
from profiles.keeping import Keeping, Loss, NotTold, Thinning, expire
from profiles.objects import Objects
from profiles.packs import Shelves
from profiles.questions import Engine
from profiles.shelves import RAW, SAMPLES

log = structlog.get_logger(__name__)

LOOKS_BACK: Final = timedelta(days=3)
"""By itself; uploads for hours before that are packed by `studio profiles compact`."""
LOOKS_AT_LEAST_SECONDS: Final = 2.0
WHAT_IS_TOO_OLD: Final = "what is too old"
WHAT_IS_OLD: Final = "what is old"
SETTLES: Final = timedelta(minutes=10)
"""How long after an hour's end most of its uploads are there."""


@dataclass
class Tended:
    """What a pass did."""

    packed: int = 0
    folded: int = 0
    expired_days: int = 0
    failed: list[str] = field(default_factory=list)
    """Hours, `WHAT_IS_TOO_OLD` or `WHAT_IS_OLD`, that could not be tended, to be told of; the next pass tries again."""


Work = Callable[[str, Tended], Iterator[int]]
"""On one hour, in steps, each of which gives how much was done."""


class _Turn:
    """How long a pass may go on."""

    def __init__(self, end: float, gives_way: Callable[[], bool]) -> None:
        self._end = end
        self._gives_way = gives_way
        self._begun = time.monotonic()
        self._is_worth_it = self._is_left = False

    @property
    def is_over(self) -> bool:
        """Whether no hour is to be begun any more."""
        return self._is_left or time.monotonic() > self._end

    def must_end(self, *, has_done: bool) -> bool:
        """Whether to leave even this hour as it is: not before something is done, or was looked for long enough."""
        self._is_worth_it = self._is_worth_it or has_done or time.monotonic() > self._begun + LOOKS_AT_LEAST_SECONDS
        self._is_left = self._is_worth_it and self._gives_way()
        return self._is_left


class Tender:
    """One pass over a store."""

    def __init__(
        self, objects: Objects, engine: Engine, keeping: Keeping, tell: Callable[[Sequence[Loss]], None]
    ) -> None:
        """`tell`: is told of what goes, before it does, and may raise `NotTold`: then it stays."""
        self._objects = objects
        self._engine = engine
        self._keeping = keeping
        self._tell = tell
        self._compactor = Compactor(objects)
        self._shelves = Shelves(objects)

    def tend(
        self, *, now: datetime, patience: timedelta, since: datetime | None = None,
        gives_way: Callable[[], bool] = lambda: False,
    ) -> Tended:  # fmt: skip
        """Do what is due.

        Args:
            now: UTC.
            patience: no hour is begun after so long; the next pass goes on.
            since: look at hours from here on; by default at the last days, and at those that are old enough to fold.
            gives_way: whether somebody waits for whom this should end, asked once something is done.

        Raises:
            OSError: the store does not answer.
        """
        self._objects.sweep()
        done = Tended()
        turn = _Turn(time.monotonic() + patience.total_seconds(), gives_way)
        try:
            done.expired_days = expire(self._objects, self._engine, self._keeping, now=now, tell=self._tell)
        except NotTold as error:
            log.warning("what is too old stays, as it cannot be audited", reason=str(error))
            done.failed.append(WHAT_IS_TOO_OLD)
        hours = self._hours(now - LOOKS_BACK if since is None else since, now - SETTLES, SAMPLES)
        self._each(hours, turn, done, self._pack)
        if (after := self._keeping.fold_after) is not None:
            ripe = now - after
            hours = self._hours(ripe - LOOKS_BACK if since is None else since, ripe, SAMPLES, RAW)
            for _, some in groupby(hours, key=lambda place: place.split("/")[:2]):
                self._thin(some, turn, done)
                if turn.is_over:
                    break
        return done

    def _hours(self, since: datetime, until: datetime, *kinds: str) -> Iterator[str]:
        """The hours that ended before `until`, the oldest first in each service.

        Services come in any order: a pass that is at its end before the last of them does not leave out the same ones.
        """
        tenants = {tenant for kind in kinds for tenant in self._objects.names(kind)}
        found = sorted(
            {(tenant, service) for tenant in tenants for kind in kinds
             for service in self._objects.names(f"{kind}/{tenant}")}
        )  # fmt: skip
        random.shuffle(found)
        for tenant, service in found:
            for place in places(self._objects, since=since, until=until, tenant=tenant, service=service, kinds=kinds):
                if end_of(place) <= until:
                    yield place

    def _each(self, hours: Iterable[str], turn: _Turn, done: Tended, work: Work) -> None:
        for place in hours:
            if turn.is_over:
                log.info("tending profiles goes on at the next pass", at=place)
                return
            self._one(place, turn, done, work)

    def _one(self, place: str, turn: _Turn, done: Tended, work: Work) -> None:
        try:
            for many in work(place, done):
                if turn.must_end(has_done=many > 0):
                    break
        except (OSError, ValueError) as error:  # pyarrow's are among the latter; one hour does not stop the others
            log.exception("an hour of profiles cannot be tended", place=place, reason=type(error).__name__)
            done.failed.append(place)

    def _pack(self, place: str, done: Tended) -> Iterator[int]:
        for packed in self._compactor.steps(place, now=datetime.now(UTC)):
            done.packed += packed
            yield packed

    def _thin(self, hours: Iterable[str], turn: _Turn, done: Tended) -> None:
        """Fold hours of one service: all that are found by the time that this should end, or the first of them."""
        due: dict[str, frozenset[str]] = {}

        def look(place: str, done: Tended) -> Iterator[int]:
            yield from self._pack(place, done)
            going = self._going(place)
            if going is not None:
                due[place] = going
            yield len(due)

        def fold_one(place: str, done: Tended) -> Iterator[int]:
            yield self._fold(place, due[place], done)

        self._each(hours, turn, done, look)
        if not due:
            return
        first, *others = [*due][: 1 if turn.is_over else None]
        tenant, service, _, _ = first.split("/")
        uploads = {place: due[place] for place in (first, *others)}
        try:
            self._tell([Thinning(unquote(tenant), unquote(service), uploads, self._keeping.fold_below)])
        except NotTold as error:
            log.warning("what is old stays as it is, as it cannot be audited", reason=str(error))
            done.failed.append(WHAT_IS_OLD)
            return
        self._one(first, turn, done, fold_one)
        self._each(others, turn, done, fold_one)

    def _going(self, place: str) -> frozenset[str] | None:
        """Whose uploads go as an hour is folded, or was and somebody died of it. None: nothing is to be done."""
        packs = self._shelves.shelf(f"{SAMPLES}/{place}").packs.values()
        known = frozenset[str]().union(*(facts.profile_ids for facts in packs))
        uploads = known.intersection(self._objects.names(f"{RAW}/{place}")) if known else known
        return uploads if uploads or not all(facts.folded_at for facts in packs) else None

    def _fold(self, place: str, told: frozenset[str], done: Tended) -> int:
        """Fold an hour; the uploads that were told of go once what was made of them is folded. Gives how many packs."""
        many = fold(self._compactor, place, below=self._keeping.fold_below)
        done.folded += many
        packs = self._shelves.shelf(f"{SAMPLES}/{place}").packs.values()
        folded = frozenset[str]().union(*(facts.profile_ids for facts in packs if facts.folded_at))
        for profile_id in sorted(told & folded):
            self._objects.remove(f"{RAW}/{place}/{profile_id}")
        return many


def end_of(place: str) -> datetime:
    """When an hour ended, by its place.

    Raises:
        ValueError: it is none.
    """
    _, _, day, hour = place.split("/")
    return datetime.strptime(f"{day}T{hour}", "%Y-%m-%dT%H").replace(tzinfo=UTC) + timedelta(hours=1)
