"""Packs: many profiles of one hour in one file, so that a question opens a few files and not thousands.

A pack's name is `pack-NUMBER-REVISION`. Files are written once and names are taken once, and a pack says which profiles
are in it; all else follows: of each number the newest revision counts, a profile's own file counts only if no pack has
it, and two who pack at once cannot both take the next number. So a reader sees a profile in one place, whatever has
been killed where; what no longer counts is removed once nobody can be reading it.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from profiles.objects import Objects

if TYPE_CHECKING:
    import pyarrow as pa

_NAME: Final = re.compile(r"pack-(\d{6})-(\d{6})\.parquet")
FACTS: Final = b"performance-studio"
"""Among what stands at a pack's end: what it says of itself, as JSON."""
ENDING: Final = ".parquet"


@dataclass(frozen=True, order=True)
class Pack:
    """The name of a pack's samples, taken apart."""

    number: int
    revision: int

    @property
    def name(self) -> str:
        """As a file."""
        return f"pack-{self.number:06}-{self.revision:06}{ENDING}"


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
        packs: of each number the newest revision, and what it says.
        loose: ids of profiles that count by a file of their own.
        covered: ids of profiles that have a file of their own and do not count by it.
        outdated: packs that a newer revision has replaced.
    """

    packs: Mapping[Pack, PackFacts]
    loose: Sequence[str]
    covered: Sequence[str]
    outdated: Sequence[Pack]

    @property
    def ids(self) -> frozenset[str]:
        """Of all profiles that count."""
        return frozenset(self.loose).union(*(facts.profile_ids for facts in self.packs.values()))

    @property
    def next_number(self) -> int:
        """Of the next pack."""
        return max((pack.number for pack in self.packs), default=0) + 1


def parsed(name: str) -> Pack | None:
    """A pack by its file's name; None: this is a profile's own file."""
    found = _NAME.fullmatch(name)
    return Pack(int(found[1]), int(found[2])) if found else None


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
        newest: dict[int, Pack] = {}
        found: list[Pack] = []
        own: list[str] = []
        for name, stamp in self._objects.listed(folder):
            pack = parsed(name)
            if pack is None:
                own.append(name.removesuffix(ENDING))
                continue
            self._stamps[f"{folder}/{name}"] = stamp
            found.append(pack)
            newest[pack.number] = max(pack, newest.get(pack.number, pack))
        packs = {pack: self.facts(f"{folder}/{pack.name}") for pack in newest.values() if own or always_read}
        packs |= {pack: PackFacts(frozenset(), frozenset(), "") for pack in newest.values() if pack not in packs}
        known = frozenset[str]().union(*(facts.known_ids for facts in packs.values()))
        return Shelf(
            packs=packs, loose=[each for each in own if each not in known],
            covered=[each for each in own if each in known],
            outdated=[pack for pack in found if newest[pack.number] != pack],
        )  # fmt: skip

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
