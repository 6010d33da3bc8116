"""Packs: many profiles of one hour in one file, so that a question opens a few files and not thousands.

A pack's name is `pack-NUMBER-REVISION`. Files are written once and names are taken once, and a pack says which profiles
are in it; all else follows: of each number the newest revision counts, a profile's own file counts only if no pack has
it, and two who pack at once cannot both take the next number. Whoever takes a number has looked at all packs before it:
numbers make one row of changes, each made in knowledge of the former, and no profile comes into two packs. A pack made
of others says their numbers, from a first to a last, and counts in place of them. It does not say so in its name: the
names of two that take one number must be the same, or both would have it.

So a reader sees a profile in one place, whatever was killed where; what no longer counts is removed once nobody can
be reading it.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from profiles.objects import Objects

if TYPE_CHECKING:
    import pyarrow as pa

_NAME: Final = re.compile(r"pack-(\d{6,})-(\d{6,})\.parquet")
FACTS: Final = b"performance-studio"
"""Among what stands at a pack's end: what it says of itself, as JSON."""
ENDING: Final = ".parquet"
TRIES: Final = 5
"""To look into packs before somebody removes one that has just been replaced."""


@dataclass(frozen=True, order=True)
class Pack:
    """The name of a pack's samples, taken apart."""

    number: int
    revision: int

    @property
    def name(self) -> str:
        """As a file."""
        return f"pack-{self.number:06}-{self.revision:06}{ENDING}"

    @property
    def revised(self) -> "Pack":
        """Its next revision."""
        return replace(self, revision=self.revision + 1)


@dataclass(frozen=True)
class PackFacts:
    """What a pack says of itself.

    Attributes:
        profile_ids: of the profiles in it.
        gone_ids: of those that were in it and were deleted: their own files, if any are left, do not count either.
        stacks: the file with the texts, in the folder of stacks of its hour.
        folded_at: the weight below which stacks were folded; 0: none was.
        first: number of the first of the packs that it counts in place of; 0: of none.
        last: likewise of the last, which is less than its own.
    """

    profile_ids: frozenset[str]
    gone_ids: frozenset[str]
    stacks: str
    folded_at: float = 0.0
    first: int = 0
    last: int = 0

    @property
    def told(self) -> bytes:
        """As it stands in the pack."""
        told = {
            "profile_ids": sorted(self.profile_ids), "gone_ids": sorted(self.gone_ids), "stacks": self.stacks,
            "folded_at": self.folded_at, "first": self.first, "last": self.last,
        }  # fmt: skip
        return json.dumps(told).encode()

    def has(self, number: int) -> bool:
        """Whether the pack counts in place of that of this number."""
        return self.first <= number <= self.last

    @property
    def known_ids(self) -> frozenset[str]:
        """Of profiles that this pack answers for."""
        return self.profile_ids | self.gone_ids


@dataclass(frozen=True)
class Shelf:
    """The sample files of one hour.

    Attributes:
        packs: those that count, and what they say.
        loose: ids of profiles that count by a file of their own.
        covered: ids of profiles that have a file of their own and do not count by it.
        outdated: packs that a newer revision, or one made of them, has replaced.
        next_number: of the next pack.
    """

    packs: Mapping[Pack, PackFacts]
    loose: Sequence[str]
    covered: Sequence[str]
    outdated: Sequence[Pack]
    next_number: int = 1

    @property
    def ids(self) -> frozenset[str]:
        """Of all profiles that count."""
        return frozenset(self.loose).union(*(facts.profile_ids for facts in self.packs.values()))

    @property
    def known_ids(self) -> frozenset[str]:
        """Likewise, and of those that were deleted: a pack with one of them must not be added."""
        return frozenset((*self.loose, *self.covered)).union(*(facts.known_ids for facts in self.packs.values()))


def parsed(name: str) -> Pack | None:
    """A pack by its file's name; None: this is a profile's own file."""
    found = _NAME.fullmatch(name)
    return Pack(int(found[1]), int(found[2])) if found else None


def newest_of(found: Iterable[Pack]) -> list[Pack]:
    """Of each number the newest revision, the highest number first."""
    newest: dict[int, Pack] = {}
    for pack in found:
        newest[pack.number] = max(pack, newest.get(pack.number, pack))
    return sorted(newest.values(), reverse=True)


class Shelves:
    """The hours of an index, as they are to be read. What a pack says is read once: the file never changes.

    Another one may be there after an index was lost and made anew: then its size or its time is another.
    """

    MOST_REMEMBERED: Final = 20_000

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._facts: dict[str, tuple[str, PackFacts]] = {}
        self._stamps: dict[str, str] = {}

    def shelf(self, folder: str, *, always_read: bool = True) -> Shelf:
        """An hour's sample files.

        Args:
            folder: of the hour.
            always_read: whether a pack is looked into even where there is nothing beside it.

        Raises:
            OSError: they cannot be read.
        """
        for _ in range(TRIES):
            found: list[Pack] = []
            own: list[str] = []
            for name, stamp in self._objects.listed(folder):
                pack = parsed(name)
                if pack is None:
                    own.append(name.removesuffix(ENDING))
                    continue
                self._stamps[f"{folder}/{name}"] = stamp
                found.append(pack)
            try:
                packs = self._counting(folder, found, are_read=always_read or bool(own))
            except FileNotFoundError:
                continue  # it has been replaced and removed just now
            break
        else:
            raise OSError("packs are removed faster than they are looked into")
        known = frozenset[str]().union(*(facts.known_ids for facts in packs.values()))
        return Shelf(
            packs=packs, loose=[each for each in own if each not in known],
            covered=[each for each in own if each in known],
            outdated=sorted(pack for pack in found if pack not in packs),
            next_number=max((pack.number for pack in found), default=0) + 1,
        )  # fmt: skip

    def _counting(self, folder: str, found: Sequence[Pack], *, are_read: bool) -> dict[Pack, PackFacts]:
        """Those packs that count, the lowest number first, and what they say; of a single one only if it is to be read.

        One that counts in place of others has a higher number: those are not looked into, and may be gone.
        """
        newest = newest_of(found)
        if len(newest) == 1 and not are_read:
            return {newest[0]: PackFacts(frozenset(), frozenset(), "")}
        packs: dict[Pack, PackFacts] = {}
        for pack in newest:
            if not any(facts.has(pack.number) for facts in packs.values() if facts.last):
                packs[pack] = self.facts(f"{folder}/{pack.name}")
        return dict(sorted(packs.items()))

    def whole(self, folder: str) -> Shelf:
        """An hour's sample files, with every pack that is older than the newest in it.

        A listing may have a file that was written while it was made, and not the one that was written just before.

        Raises:
            OSError: they cannot be read.
        """
        shelf = self.shelf(folder)
        while (again := self.shelf(folder)).next_number != shelf.next_number:
            shelf = again
        return again

    def facts(self, path: str) -> PackFacts:
        """What a pack says of itself.

        Raises:
            OSError: it cannot be read, or is none.
        """
        stamp = self._stamps.get(path, "")
        known = self._facts.get(path)
        if known is not None and known[0] == stamp:
            return known[1]
        facts = facts_in(self._objects.schema(path))
        if len(self._facts) >= self.MOST_REMEMBERED or len(self._stamps) >= 2 * self.MOST_REMEMBERED:
            self._facts, self._stamps = {}, {}
        else:
            self._facts[path] = (stamp, facts)
        return facts


def facts_in(schema: "pa.Schema") -> PackFacts:
    """What a pack's schema carries.

    Raises:
        OSError: it is no pack's.
    """
    try:
        told: dict[str, Any] = json.loads((schema.metadata or {})[FACTS])
    except (KeyError, ValueError):
        raise OSError("a pack does not say what is in it") from None
    return PackFacts(
        frozenset(told["profile_ids"]),
        frozenset(told["gone_ids"]),
        told["stacks"],
        told.get("folded_at", 0.0),
        told.get("first", 0),
        told.get("last", 0),
    )
