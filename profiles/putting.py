"""Putting profiles into an hour: few by files of their own, many as a pack. Each is there once, whoever repeats it."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from profiles.gathering import Gathered
from profiles.objects import Objects
from profiles.pack_writing import PackWriter, parquet
from profiles.packs import ENDING, PackFacts, Shelf, Shelves
from profiles.shelves import SAMPLES, STACKS
from profiles.tables import Drawer

FEWEST: Final = 4
"""Profiles of one hour that are put together as a pack: of fewer, files of their own are as few, and need no look at
what is there."""


def put(
    place: str, profiles: Mapping[str, Gathered], drawer: Drawer, *, objects: Objects, shelves: Shelves
) -> None:  # fmt: skip
    """Put profiles into an hour, those that are not there yet.

    Args:
        place: of the hour, as `place_of` gives it.
        profiles: by id.
        drawer: of their gathering.
        objects: the store.
        shelves: of the store.

    Raises:
        OSError: the store cannot be read or written; doing it again is safe.
    """
    left = dict(profiles)
    while len(left) >= FEWEST:
        shelf = shelves.whole(f"{SAMPLES}/{place}")
        left = {profile_id: left[profile_id] for profile_id in left.keys() - shelf.known_ids}
        if len(left) < FEWEST:
            break
        ids = frozenset(left)
        facts = PackFacts(ids, frozenset(), "")

        def may(now: Shelf, ids: frozenset[str] = ids) -> bool:
            return not ids & now.known_ids

        tables = drawer.tables(left.values())
        if PackWriter(objects, shelves).add(place, tables, facts, seen=shelf, may=may):
            return
    for profile_id, one in left.items():
        samples, stacks = drawer.tables([one])
        for kind, table in ((STACKS, stacks), (SAMPLES, samples)):
            with suppress(FileExistsError):
                objects.write(f"{kind}/{place}/{profile_id}{ENDING}", parquet(table))
