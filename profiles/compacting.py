"""Keeping an hour's files few: packed, made anew, freed of what was deleted, cleared of what no longer counts.

Every step writes a new file under a name that is taken once, and may be killed anywhere and repeated; see
`profiles.packs` for why readers never see a profile twice or not at all.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import structlog

from profiles.objects import Objects
from profiles.pack_writing import TEXTS, PackWriter, by_time
from profiles.packs import ENDING, Pack, PackFacts, Shelf, Shelves, parsed
from profiles.shelves import GONE, RAW, SAMPLES, STACKS
from profiles.tables import SAMPLES_SCHEMA, STACKS_SCHEMA, Tables

log = structlog.get_logger(__name__)

FEWEST: Final = 2
"""Profiles that are worth a pack."""
MANY_PACKS: Final = 8
"""Packs that are made one whatever is in them."""
MOST_PROFILES: Final = 500
MOST_BYTES: Final = 64 * 1024 * 1024
"""Of the files that go into one pack, as they are: it holds the memory that packing takes."""
STILL_READ: Final = timedelta(minutes=15)
"""How long what no longer counts is kept for who has listed it: a question is answered within a minute or so."""
NEVER_NAMED: Final = timedelta(days=1)
"""After so long a file of texts that no pack names was left by a writer that died."""


class Compactor:
    """Packs and clears the index of one store. `place` is as `place_of` gives it: tenant, service, day, hour."""

    def __init__(self, objects: Objects, *, still_read: timedelta = STILL_READ) -> None:
        self._objects = objects
        self._shelves = Shelves(objects)
        self._writer = PackWriter(objects, self._shelves)
        self._still_read = still_read

    def tend(self, place: str, *, now: datetime) -> int:
        """One pass over an hour. Gives how many profiles were packed.

        Raises:
            OSError: the store cannot be read or written.
        """
        return sum(self.steps(place, now=now))

    def steps(self, place: str, *, now: datetime) -> Iterator[int]:
        """The same step by step, for who would rather stop: each gives how many profiles it has packed.

        What is loose is packed, small packs are made one, what was deleted is taken out, the rest is cleared.

        Raises:
            OSError: the store cannot be read or written.
        """
        if self._is_at_rest(place):
            return
        for ids in self._portions(place, self._shelf(place).loose):
            yield self._pack(place, ids)
        packs = self._shelf(place).packs
        sizes = {pack: self._objects.size(f"{SAMPLES}/{place}/{pack.name}") for pack in packs if len(packs) > 1}
        for some in together(packs, sizes):
            yield self._unite(place, some)
        gone = set(self._objects.names(f"{GONE}/{place}"))
        if gone & self._shelf(place).ids:  # it was packed, or indexed, while it was deleted
            self.forget(place, gone)
        self._clear(place, now=now)
        yield 0

    def _is_at_rest(self, place: str) -> bool:
        """Whether there is nothing to do, as far as names alone say: nearly always, of an hour that was tended."""
        names = [*self._objects.names(f"{SAMPLES}/{place}")]
        packs = [pack for name in names if (pack := parsed(name)) is not None]
        if len(packs) < len(names) or len(packs) > 1 or any(self._objects.names(f"{GONE}/{place}")):
            return False
        return len([*self._objects.names(f"{STACKS}/{place}")]) <= len(packs)

    def forget(self, place: str, ids: set[str]) -> None:
        """Take profiles out of an hour. Their files go at once, a pack that had them after `STILL_READ`.

        Raises:
            OSError: the store cannot be read or written.
        """
        for profile_id in ids:
            for kind in (STACKS, SAMPLES):
                self._objects.remove(f"{kind}/{place}/{profile_id}{ENDING}")

        def without(samples: pa.Table, stacks: pa.Table) -> Tables:
            left = samples.filter(pc.invert(pc.is_in(samples["profile_id"].cast(pa.string()), pa.array(ids))))
            return left, stacks.filter(pc.is_in(stacks["stack_id"], left["stack_id"].combine_chunks()))

        def told(facts: PackFacts) -> PackFacts:
            lost = facts.profile_ids & ids
            return replace(facts, profile_ids=facts.profile_ids - lost, gone_ids=facts.gone_ids | lost)

        self.revise(place, without, told, wanted=lambda facts: bool(facts.profile_ids & ids))

    def revise(
        self, place: str, change: Callable[[pa.Table, pa.Table], Tables], told: Callable[[PackFacts], PackFacts],
        *, wanted: Callable[[PackFacts], bool],
    ) -> int:  # fmt: skip
        """Write the next revision of those packs of an hour that are `wanted`. Gives how many.

        Raises:
            OSError: the store cannot be read or written.
        """
        done = 0
        while pack := next((each for each, facts in self._shelf(place).packs.items() if wanted(facts)), None):
            facts = self._shelves.facts(f"{SAMPLES}/{place}/{pack.name}")
            samples = self._objects.table(f"{SAMPLES}/{place}/{pack.name}")
            stacks = self._texts(place, facts.stacks)
            new_samples, new_stacks = change(samples, stacks)
            done += self._writer.revise(place, pack, (by_time(new_samples), new_stacks), told(facts))
        return done

    def rebuild(self, place: str, made: Callable[[Sequence[str]], Mapping[str, Tables]]) -> int:
        """Make an hour anew. What cannot be made stays as it is. Gives how many profiles.

        Args:
            place: of the hour.
            made: gives the tables of those profiles of some ids that can be made, from their uploads.

        Raises:
            OSError: the store cannot be read or written.
        """
        done = 0
        for pack, facts in self._shelf(place).packs.items():
            if facts.folded_at:
                continue  # what is left of its uploads would not be folded
            fresh = made(sorted(facts.profile_ids))
            samples = self._objects.table(f"{SAMPLES}/{place}/{pack.name}")
            kept = samples.filter(
                pc.invert(pc.is_in(samples["profile_id"].cast(pa.string()), pa.array([*fresh], pa.string())))
            )
            old = self._texts(place, facts.stacks)
            stacks = distinct([old.filter(pc.is_in(old["stack_id"], kept["stack_id"].combine_chunks())),
                               *(each for _, each in fresh.values())])  # fmt: skip
            whole = pa.concat_tables([kept, *(each for each, _ in fresh.values())])
            done += len(fresh) * self._writer.revise(place, pack, (by_time(whole), stacks), facts)
        for ids in self._portions(place, self._shelf(place).loose):
            done += self._pack(place, ids, made(ids))
        return done

    def _shelf(self, place: str) -> Shelf:
        return self._shelves.whole(f"{SAMPLES}/{place}")

    def _portions(self, place: str, ids: Sequence[str]) -> Iterator[Sequence[str]]:
        portion: list[str] = []
        size = 0
        for profile_id in sorted(ids):
            portion.append(profile_id)
            size += self._objects.size(f"{SAMPLES}/{place}/{profile_id}{ENDING}")
            if len(portion) >= MOST_PROFILES or size >= MOST_BYTES:
                yield portion
                portion, size = [], 0
        if portion:
            yield portion

    def _pack(self, place: str, ids: Sequence[str], made: Mapping[str, Tables] | None = None) -> int:
        """Put profiles that have files of their own into one pack. Gives how many."""
        if len(ids) < FEWEST and made is None:
            return 0
        samples: dict[str, pa.Table] = {}
        stacks: list[pa.Table] = [STACKS_SCHEMA.empty_table()]
        for profile_id in ids:
            try:
                if made is not None and profile_id in made:
                    samples[profile_id], texts = made[profile_id]
                else:
                    samples[profile_id] = self._objects.table(f"{SAMPLES}/{place}/{profile_id}{ENDING}")
                    texts = self._texts(place, f"{profile_id}{ENDING}")
            except (FileNotFoundError, pa.ArrowInvalid) as error:
                log.warning("not packed", profile_id=profile_id, reason=type(error).__name__)
                samples.pop(profile_id, None)
                continue
            stacks.append(texts)
        if len(samples) < FEWEST and made is None:
            return 0
        packed = frozenset(samples)
        tables = by_time(pa.concat_tables([SAMPLES_SCHEMA.empty_table(), *samples.values()])), distinct(stacks)

        def may(now: Shelf) -> bool:
            return packed.issubset(now.loose)

        shelf = self._shelf(place)
        done = may(shelf) and self._writer.add(place, tables, PackFacts(packed, frozenset(), ""), seen=shelf, may=may)
        return len(packed) * done

    def _unite(self, place: str, packs: Mapping[Pack, PackFacts]) -> int:
        """Make one pack of several. Gives how many profiles it has; 0: another has changed some of them meanwhile."""
        samples = [self._objects.table(f"{SAMPLES}/{place}/{pack.name}") for pack in packs]
        stacks = [self._texts(place, facts.stacks) for facts in packs.values()]
        tables = by_time(pa.concat_tables(samples)), distinct(stacks)
        first, last = _numbers(packs)
        facts = PackFacts(
            frozenset[str]().union(*(each.profile_ids for each in packs.values())),
            frozenset[str]().union(*(each.gone_ids for each in packs.values())),
            "", next(iter(packs.values())).folded_at, first, last,
        )  # fmt: skip

        def may(now: Shelf) -> bool:
            return {pack for pack in now.packs if first <= pack.number <= last} == packs.keys()

        shelf = self._shelf(place)
        done = may(shelf) and self._writer.add(place, tables, facts, seen=shelf, may=may)
        return len(facts.profile_ids) * done

    def _texts(self, place: str, name: str) -> pa.Table:
        try:
            return self._objects.table(f"{STACKS}/{place}/{name}")
        except FileNotFoundError:
            return STACKS_SCHEMA.empty_table()  # they are lost; the samples still count

    def _clear(self, place: str, *, now: datetime) -> None:
        """Remove what no longer counts and cannot be in anybody's hands any more."""
        shelf = self._shelf(place)
        before = now - self._still_read
        since = {pack: self._objects.modified(f"{SAMPLES}/{place}/{pack.name}") for pack in shelf.packs}
        for pack, facts in shelf.packs.items():
            if since[pack] > before:
                continue
            for profile_id in facts.known_ids.intersection(shelf.covered):
                for kind in (STACKS, SAMPLES):  # samples last: as long as they are there, somebody comes for the rest
                    self._objects.remove(f"{kind}/{place}/{profile_id}{ENDING}")
            for old in shelf.outdated:  # by number: those that a pack counts in place of go before that pack does
                if old.number == pack.number or facts.has(old.number):
                    self._objects.remove(f"{SAMPLES}/{place}/{old.name}")
        left = self._shelf(place)
        named = {facts.stacks for facts in left.packs.values()}
        named |= {self._shelves.facts(f"{SAMPLES}/{place}/{old.name}").stacks for old in left.outdated}
        for name in self._objects.names(f"{STACKS}/{place}"):
            path = f"{STACKS}/{place}/{name}"
            if name.startswith(TEXTS) and name not in named and self._objects.modified(path) < now - NEVER_NAMED:
                self._objects.remove(path)


def together(packs: Mapping[Pack, PackFacts], sizes: Mapping[Pack, int]) -> list[dict[Pack, PackFacts]]:
    """Which packs of an hour are worth making one, several times: neighbours, folded alike, not too many profiles.

    A large pack is not written anew for each small one beside it: what comes out is twice as large as the largest that
    went in, or made of `MANY_PACKS`.

    Args:
        packs: those that count.
        sizes: bytes of each.
    """
    found: list[dict[Pack, PackFacts]] = []
    many, size, folded_at = MOST_PROFILES, 0, -1.0
    for pack, facts in sorted(packs.items()):
        many, size = many + len(facts.profile_ids), size + sizes.get(pack, 0)
        if many > MOST_PROFILES or size > MOST_BYTES or facts.folded_at != folded_at:
            found.append({})
            many, size, folded_at = len(facts.profile_ids), sizes.get(pack, 0), facts.folded_at
        found[-1][pack] = facts
    return [each for each in found if _is_worth_it(each) and _is_gapless(each, packs)]


def _is_worth_it(some: Mapping[Pack, PackFacts]) -> bool:
    many = [len(facts.profile_ids) for facts in some.values()]
    return len(some) >= MANY_PACKS or (len(some) > 1 and sum(many) >= 2 * max(many))


def _numbers(packs: Mapping[Pack, PackFacts]) -> tuple[int, int]:
    """The first and the last number of some packs and of all that they count in place of."""
    return min(facts.first or pack.number for pack, facts in packs.items()), max(pack.number for pack in packs)


def _is_gapless(some: Mapping[Pack, PackFacts], packs: Mapping[Pack, PackFacts]) -> bool:
    """Whether no other pack would be hidden by one made of some."""
    first, last = _numbers(some)
    return all(pack in some for pack in packs if first <= pack.number <= last)


def distinct(stacks: Iterable[pa.Table]) -> pa.Table:
    """Tables of stacks as one, each stack once."""
    one = pa.concat_tables([*stacks])
    grouped = one.group_by("stack_id", use_threads=False).aggregate([("stack", "first")])
    return grouped.select(["stack_id", "stack_first"]).rename_columns(["stack_id", "stack"])


def places(
    objects: Objects, *, since: datetime, until: datetime, tenant: str = "", service: str = "",
    kinds: Sequence[str] = (SAMPLES, RAW),
) -> Iterator[str]:  # fmt: skip
    """Every hour of an index or of its uploads in a time, as parts of paths; of all tenants and services by default."""
    first, last = (f"{moment.astimezone(UTC):%Y-%m-%d}" for moment in (since, until))
    seen: set[str] = set()
    for kind in kinds:
        for of_tenant in [tenant] if tenant else objects.names(kind):
            for of_service in [service] if service else objects.names(f"{kind}/{of_tenant}"):
                for day in sorted(objects.names(f"{kind}/{of_tenant}/{of_service}")):
                    if not first <= day <= last:
                        continue
                    for hour in sorted(objects.names(f"{kind}/{of_tenant}/{of_service}/{day}")):
                        place = f"{of_tenant}/{of_service}/{day}/{hour}"
                        if place not in seen:
                            seen.add(place)
                            yield place
