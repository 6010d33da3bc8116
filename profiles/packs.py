"""Packs: many profiles of one hour in one file, so that a question opens a few files and not thousands.

A pack's name is `pack-NUMBER-REVISION`. Files are written once and names are taken once, and a pack says which profiles
are in it; all else follows: of each number the newest revision counts, a profile's own file counts only if no pack has
it, and two who pack at once cannot both take the next number. Whoever takes a number has looked at all packs before it:
numbers make one row of changes, each made in knowledge of the former, and no profile comes into two packs. A pack made
of others, `pack-NUMBER-REVISION-of-FIRST-LAST`, counts in place of those with numbers from FIRST to LAST.

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

_NAME: Final = re.compile(r"pack-(\d{6,})-(\d{6,})(?:-of-(\d{6,})-(\d{6,}))?\.parquet")
FACTS: Final = b"performance-studio"
"""Among what stands at a pack's end: what it says of itself, as JSON."""
ENDING: Final = ".parquet"


@dataclass(frozen=True, order=True)
class Pack:
    """The name of a pack's samples, taken apart. `first` and `last` are of the packs it was made of; 0: of none."""

    number: int
    revision: int
    first: int = 0
    last: int = 0

    @property
    def name(self) -> str:
        """As a file."""
        of = f"-of-{self.first:06}-{self.last:06}" if self.last else ""
        return f"pack-{self.number:06}-{self.revision:06}{of}{ENDING}"

    @property
    def revised(self) -> "Pack":
        """Its next revision."""
        return replace(self, revision=self.revision + 1)

    def has(self, number: int) -> bool:
        """Whether it counts in place of the pack of this number."""
        return self.first <= number <= self.last


@dataclass(frozen=True)
class PackFacts:
    """What a pack says of itself.

    Attributes:
        profile_ids: of the profiles in it.
        gone_ids: of those that were in it and were deleted: their own files, if any are left, do not count either.
        stacks: the file with the texts, in the folder of stacks of its hour.
        folded_at: the weight below which stacks were folded; 0: none was.
    """

    profile_ids: frozenset[str]
    gone_ids: frozenset[str]
    stacks: str
    folded_at: float = 0.0

    @property
    def told(self) -> bytes:
        """As it stands in the pack."""
        told = {
            "profile_ids": sorted(self.profile_ids), "gone_ids": sorted(self.gone_ids), "stacks": self.stacks,
            "folded_at": self.folded_at,
        }  # fmt: skip
        return json.dumps(told).encode()

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
    return Pack(*(int(each or 0) for each in found.groups())) if found else None


def counting(found: Iterable[Pack]) -> set[Pack]:
    """Of all packs there are those that count."""
    newest: dict[int, Pack] = {}
    for pack in found:
        newest[pack.number] = max(pack, newest.get(pack.number, pack))
    replaced = {number for pack in newest.values() if pack.last for number in range(pack.first, pack.last + 1)}
    return {pack for number, pack in newest.items() if number not in replaced}


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
            always_read: whether packs are looked into even where no profile has a file of its own.

        Raises:
            OSError: they cannot be read.
        """
        found: list[Pack] = []
        own: list[str] = []
        for name, stamp in self._objects.listed(folder):
            pack = parsed(name)
            if pack is None:
                own.append(name.removesuffix(ENDING))
                continue
            self._stamps[f"{folder}/{name}"] = stamp
            found.append(pack)
        live = sorted(counting(found))
        nothing = PackFacts(frozenset(), frozenset(), "")
        packs = {pack: self.facts(f"{folder}/{pack.name}") if own or always_read else nothing for pack in live}
        known = frozenset[str]().union(*(facts.known_ids for facts in packs.values()))
        return Shelf(
            packs=packs, loose=[each for each in own if each not in known],
            covered=[each for each in own if each in known],
            outdated=sorted(pack for pack in found if pack not in packs),
            next_number=max((pack.number for pack in found), default=0) + 1,
        )  # fmt: skip

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
        frozenset(told["profile_ids"]), frozenset(told["gone_ids"]), told["stacks"], told.get("folded_at", 0.0)
    )
