"""Profiles that are indexed together: what they share, the texts of stacks above all, is there and is numbered once."""

from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import count as counting
from typing import Final

from formats.frames import SEPARATOR
from profiles.dialects import UNKNOWN, Dialect
from profiles.facts import Labels, ProfileFacts
from profiles.stack_ids import digest_of
from profiles.upload import Upload

MOST_SIZE: Final = 32 * 1024 * 1024
MOST_PROFILES: Final = 50


@dataclass(frozen=True)
class Gathered:
    """One profile: three columns of equal length.

    Attributes:
        facts: what is known of it beside its stacks.
        labels: of which process a sample is: a place in `Gathering.labels`.
        stacks: which stack it is: a place in `Gathering.texts`.
        counts: how often it was seen.
    """

    facts: ProfileFacts
    labels: "array[int]"
    stacks: "array[int]"
    counts: "array[int]"


class Gathering:
    """Some profiles. Each is in it once, however often it is added."""

    def __init__(self) -> None:
        self.profiles: dict[str, Gathered] = {}
        """Path of its place (see `key_of`) -> profile."""
        self.size = 0
        """Characters of texts and rows of samples, together: by it who gathers knows when it is much."""
        self._texts: dict[str, int] = {}
        self._digests: list[bytes] = []
        self._process_of: list[str] = []
        """Of each text."""
        self._labels: dict[Labels, int] = {}

    @property
    def is_large(self) -> bool:
        """Whether what is in it should be stored before more is added: it holds memory."""
        return self.size > MOST_SIZE or len(self.profiles) >= MOST_PROFILES

    @property
    def texts(self) -> Sequence[str]:
        """Every stack once."""
        return [text or UNKNOWN for text in self._texts]

    @property
    def digests(self) -> bytes:
        """The digests of `texts`, one after the other."""
        return b"".join(self._digests)

    @property
    def numbers(self) -> Sequence[int]:
        """The numbers of `texts`, as `stack_id_of` gives them."""
        return [int.from_bytes(digest, "little") for digest in self._digests]

    @property
    def labels(self) -> Sequence[Labels]:
        """Every process once."""
        return [*self._labels]

    def add(self, upload: Upload) -> None:
        """Add a profile.

        Raises:
            UnicodeEncodeError: a text in it is none; nothing is added.
        """
        key = key_of(upload.facts)
        if key in self.profiles:
            return
        dialect, stacks = Dialect(upload.collapsed.header), upload.collapsed.stacks
        parted = [dialect.parted(stack) for stack in stacks] if dialect.has_columns else []
        places = self._places([rest for _, rest in parted] if parted else stacks)
        processes = map(self._process_of.__getitem__, places)
        said = zip((column for column, _ in parted), processes, strict=True) if parted else processes
        labels = [*map(_Numbers(dialect, self._number).__getitem__, said)]
        counts: Collection[int] = stacks.values()
        if len({*places}) < len(places):  # what told some of them apart was before the process's name
            sums: Counter[tuple[int, int]] = Counter()
            for label, place, count in zip(labels, places, counts, strict=True):
                sums[label, place] += count
            labels, places = [label for label, _ in sums], [place for _, place in sums]
            counts = sums.values()
        self.size += len(places)
        self.profiles[key] = Gathered(upload.facts, array("i", labels), array("i", places), array("q", counts))

    def _places(self, texts: Iterable[str]) -> list[int]:
        """The places of some texts, among them those that are new.

        Raises:
            UnicodeEncodeError: one is no text; none is added.
        """
        known = self._texts
        places = [*map(known.get, texts)]
        if None in places:
            fresh = dict.fromkeys(text for text, place in zip(texts, places, strict=True) if place is None)
            self._digests += [digest_of(text or UNKNOWN) for text in fresh]  # first: it may raise
            self._process_of += [text.partition(SEPARATOR)[0] for text in fresh]
            self.size += sum(map(len, fresh))
            known.update(zip(fresh, counting(len(known))))
            places = [known[text] if place is None else place for text, place in zip(texts, places, strict=True)]
        return places  # type: ignore[return-value]  # they are all known by now

    def _number(self, labels: Labels) -> int:
        return self._labels.setdefault(labels, len(self._labels))


class _Numbers(dict[str | tuple[str, str], int]):
    """By the process of a stack, or what stood before the stack and its process: the place of its labels."""

    def __init__(self, dialect: Dialect, number: Callable[[Labels], int]) -> None:
        super().__init__()
        self._dialect = dialect
        self._number = number

    def __missing__(self, said: str | tuple[str, str]) -> int:
        column, process = ("", said) if isinstance(said, str) else said
        self[said] = number = self._number(self._dialect.labels(column, process))
        return number


def gathered(*uploads: Upload) -> Gathering:
    """Uploads together."""
    together = Gathering()
    for upload in uploads:
        together.add(upload)
    return together


def key_of(facts: ProfileFacts) -> str:
    """What tells a profile from all others, of any tenant and service."""
    return f"{facts.host.tenant}\n{facts.host.service}\n{facts.profile_id}"
