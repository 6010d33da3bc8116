"""Keeping an hour's files few: packed, made anew, freed of what was deleted, cleared of what no longer counts.

Every step writes a new file under a name that is taken once, and may be killed anywhere and repeated; see
`profiles.packs` for why readers never see a profile twice or not at all.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import structlog

from profiles.objects import Objects
from profiles.packs import ENDING, FACTS, Pack, PackFacts, Shelf, Shelves
from profiles.shelves import GONE, RAW, SAMPLES, STACKS
from profiles.tables import SAMPLES_SCHEMA, STACKS_SCHEMA

log = structlog.get_logger(__name__)

FEWEST: Final = 2
"""Profiles that are worth a pack."""
MOST_PROFILES: Final = 500
MOST_BYTES: Final = 64 * 1024 * 1024
"""Of the files that go into one pack, as they are: it holds the memory that packing takes."""
STILL_READ: Final = timedelta(minutes=15)
"""How long what no longer counts is kept for who has listed it: a question is answered within a minute or so."""
NEVER_NAMED: Final = timedelta(days=1)
"""After so long a file of texts that no pack names was left by a writer that died."""
Tables = tuple[pa.Table, pa.Table]
"""Samples and stacks."""


class Compactor:
    """Packs and clears the index of one store. `place` is as `place_of` gives it: tenant, service, day, hour."""

    def __init__(self, objects: Objects, *, still_read: timedelta = STILL_READ) -> None:
        self._objects = objects
        self._shelves = Shelves(objects)
        self._still_read = still_read

    def tend(self, place: str, *, now: datetime) -> int:
        """One pass over an hour: pack what is loose, take out what was deleted, clear. Gives how many were packed.

        Raises:
            OSError: the store cannot be read or written.
        """
        packed = 0
        for ids in self._portions(place, self._shelf(place).loose):
            packed += self._pack(place, ids)
        gone = set(self._objects.names(f"{GONE}/{place}"))
        if gone & self._shelf(place).ids:  # it was packed, or indexed, while it was deleted
            self.forget(place, gone)
        self._clear(place, now=now)
        return packed

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
            stacks = self._objects.table(f"{STACKS}/{place}/{facts.stacks}")
            done += self._write(place, Pack(pack.number, pack.revision + 1), *change(samples, stacks), told(facts))
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
            old = self._objects.table(f"{STACKS}/{place}/{facts.stacks}")
            stacks = distinct([old.filter(pc.is_in(old["stack_id"], kept["stack_id"].combine_chunks())),
                               *(each for _, each in fresh.values())])  # fmt: skip
            whole = pa.concat_tables([kept, *(each for each, _ in fresh.values())])
            done += len(fresh) * self._write(place, Pack(pack.number, pack.revision + 1), whole, stacks, facts)
        for ids in self._portions(place, self._shelf(place).loose):
            done += self._pack(place, ids, made(ids))
        return done

    def _shelf(self, place: str) -> Shelf:
        return self._shelves.shelf(f"{SAMPLES}/{place}")

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
                    texts = self._texts(place, profile_id)
            except (FileNotFoundError, pa.ArrowInvalid) as error:
                log.warning("not packed", profile_id=profile_id, reason=type(error).__name__)
                samples.pop(profile_id, None)
                continue
            stacks.append(texts)
        if len(samples) < FEWEST and made is None:
            return 0
        facts = PackFacts(frozenset(samples), frozenset(), "")
        whole = pa.concat_tables([SAMPLES_SCHEMA.empty_table(), *samples.values()])
        number = self._shelf(place).next_number
        return len(samples) * self._write(place, Pack(number, 1), whole, distinct(stacks), facts)

    def _texts(self, place: str, profile_id: str) -> pa.Table:
        try:
            return self._objects.table(f"{STACKS}/{place}/{profile_id}{ENDING}")
        except FileNotFoundError:
            return STACKS_SCHEMA.empty_table()  # they are lost; the samples still count

    def _write(self, place: str, pack: Pack, samples: pa.Table, stacks: pa.Table, facts: PackFacts) -> int:
        """The texts first, under a name made of what they are; then the samples, if the pack's name is still free."""
        texts = parquet(stacks)
        name = f"texts-{hashlib.sha256(texts).hexdigest()[:40]}{ENDING}"
        for path, data in (
            (f"{STACKS}/{place}/{name}", texts),
            (f"{SAMPLES}/{place}/{pack.name}", pack_bytes(samples, replace(facts, stacks=name))),
        ):
            try:
                self._objects.write(path, data)
            except FileExistsError:
                if path.startswith(SAMPLES):
                    log.info("packed by another meanwhile", place=place, pack=pack.name)
                    return 0
        return 1

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
            for old in shelf.outdated:
                if old.number == pack.number:
                    self._objects.remove(f"{SAMPLES}/{place}/{old.name}")
        named = {facts.stacks for facts in shelf.packs.values()}
        for name in self._objects.names(f"{STACKS}/{place}"):
            path = f"{STACKS}/{place}/{name}"
            if name.startswith("texts-") and name not in named and self._objects.modified(path) < now - NEVER_NAMED:
                self._objects.remove(path)


def pack_bytes(samples: pa.Table, facts: PackFacts) -> bytes:
    """A pack's samples as a file."""
    sorted_by_time = samples.unify_dictionaries().sort_by("started_at")
    return parquet(sorted_by_time.replace_schema_metadata({FACTS: facts.told}))


def parquet(table: pa.Table) -> bytes:
    """A table as a file."""
    out = pa.BufferOutputStream()
    pq.write_table(table, out, compression="zstd", row_group_size=100_000)
    data: bytes = out.getvalue().to_pybytes()
    return data


def distinct(stacks: Iterable[pa.Table]) -> pa.Table:
    """Tables of stacks as one, each stack once."""
    one = pa.concat_tables([*stacks])
    grouped = one.group_by("stack_id", use_threads=False).aggregate([("stack", "first")])
    return grouped.select(["stack_id", "stack_first"]).rename_columns(["stack_id", "stack"])


def places(objects: Objects, *, since: datetime, until: datetime, tenant: str = "", service: str = "") -> Iterator[str]:
    """Every hour of an index or of its uploads in a time, as parts of paths; of all tenants and services by default."""
    seen: set[str] = set()
    for kind in (SAMPLES, RAW):
        for of_tenant in [tenant] if tenant else objects.names(kind):
            for of_service in [service] if service else objects.names(f"{kind}/{of_tenant}"):
                for day in sorted(objects.names(f"{kind}/{of_tenant}/{of_service}")):
                    if not f"{since.astimezone(UTC):%Y-%m-%d}" <= day <= f"{until.astimezone(UTC):%Y-%m-%d}":
                        continue
                    for hour in sorted(objects.names(f"{kind}/{of_tenant}/{of_service}/{day}")):
                        place = f"{of_tenant}/{of_service}/{day}/{hour}"
                        if place not in seen:
                            seen.add(place)
                            yield place
