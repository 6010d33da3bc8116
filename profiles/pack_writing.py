"""Writing packs: each takes the next number of its hour in knowledge of all packs before it."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import structlog

from profiles.objects import Objects
from profiles.packs import ENDING, FACTS, Pack, PackFacts, Shelf, Shelves
from profiles.shelves import SAMPLES, STACKS
from profiles.tables import Tables

log = structlog.get_logger(__name__)

TEXTS: Final = "texts-"
"""Before the name of a file with the texts of a pack's stacks: a name that no other file ever has."""


class PackWriter:
    """Writes packs of one store. `place` is an hour's, as `place_of` gives it.

    The texts are stored first, as samples without texts would be seen; who is killed in between leaves them to
    `Compactor`. They stay too where the store fails: it may have the samples all the same.
    """

    def __init__(self, objects: Objects, shelves: Shelves) -> None:
        self._objects = objects
        self._shelves = shelves

    def add(self, place: str, tables: Tables, facts: PackFacts, *, seen: Shelf, may: Callable[[Shelf], bool]) -> bool:
        """Write a pack under the next number. False: it may not be there any more, and is not.

        Args:
            place: of the hour.
            tables: what is in it.
            facts: what it says of itself, without the name of its texts.
            seen: the hour as it was looked at to make this pack: by `Shelves.whole`.
            may: whether the pack may be added to the hour as it is now; asked where others have changed it meanwhile.

        Raises:
            OSError: the store cannot be read or written.
        """
        name, samples = self._stored(place, tables, facts)
        shelf = seen
        while True:
            pack = Pack(shelf.next_number, 1)
            with suppress(FileExistsError):
                self._objects.write(f"{SAMPLES}/{place}/{pack.name}", samples)
                return True
            shelf = self._shelves.whole(f"{SAMPLES}/{place}")
            if any(each.stacks == name for each in shelf.packs.values()):
                return True  # the store had it the first time it was sent, and its answer was lost
            if not may(shelf):
                log.info("packed by another meanwhile", place=place)
                self._objects.remove(f"{STACKS}/{place}/{name}")
                return False

    def revise(self, place: str, pack: Pack, tables: Tables, facts: PackFacts) -> bool:
        """Write the next revision of a pack. False: another has, and this one is not there.

        Raises:
            OSError: the store cannot be read or written.
        """
        name, samples = self._stored(place, tables, facts)
        path = f"{SAMPLES}/{place}/{pack.revised.name}"
        try:
            self._objects.write(path, samples)
        except FileExistsError:
            if self._shelves.facts(path).stacks == name:
                return True
            log.info("packed by another meanwhile", place=place)
            self._objects.remove(f"{STACKS}/{place}/{name}")
            return False
        return True

    def _stored(self, place: str, tables: Tables, facts: PackFacts) -> tuple[str, bytes]:
        """Store the texts. Gives the name of their file, and the samples as a file."""
        samples, stacks = tables
        name = f"{TEXTS}{uuid4().hex}{ENDING}"
        self._objects.write(f"{STACKS}/{place}/{name}", parquet(stacks))
        told = {FACTS: replace(facts, stacks=name).told}
        return name, parquet(samples.replace_schema_metadata(told))


def by_time(samples: pa.Table) -> pa.Table:
    """Samples sorted by when their profile began: who asks for a time skips the others."""
    return samples.unify_dictionaries().sort_by("started_at")


def parquet(table: pa.Table) -> bytes:
    """A table as a file."""
    out = pa.BufferOutputStream()
    pq.write_table(table, out, compression="zstd", row_group_size=100_000)
    data: bytes = out.getvalue().to_pybytes()
    return data
