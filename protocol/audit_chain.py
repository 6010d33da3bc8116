"""The hash chain of audit records: what is hashed, and how one finds that a record was changed, dropped or moved.

A record is a flat map of texts. Three of its fields make it a link: `number` (1, 2, 3, … in its chain), `prev` (the
hash of the record before) and `hash`. The others are its body, and the digest of the body is what the hash covers, not
the body itself: so whoever may not read a record can still follow the chain across it. A body holds a random `id`, or
its digest could be found by trying likely bodies.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

GENESIS: Final = "0" * 64
"""What the first record of a chain follows."""
LINK: Final = ("number", "prev", "hash")
"""The fields that are not of the body."""


class BrokenChain(Exception):
    """A record is not as it was written, or not where it was written. `number`: the first that is not."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(f"record {number}: {reason}")
        self.number = number
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Point:
    """A place in a chain: behind the record of this number, which has this hash."""

    number: int = 0
    hash: str = GENESIS


@dataclass(frozen=True, slots=True)
class Link:
    """A record as the chain sees it. `number` is a text, as it was written: 7 and 07 are two texts."""

    number: str
    prev: str
    hash: str
    digest: str

    @classmethod
    def of(cls, record: Mapping[str, str]) -> "Link":
        """The link that a whole record is; what is missing is empty, and fits nowhere."""
        body = {name: value for name, value in record.items() if name not in LINK}
        return cls(record.get("number", ""), record.get("prev", ""), record.get("hash", ""), digest_of(body))


def canonical(body: Mapping[str, str]) -> bytes:
    """A body as bytes: JSON with sorted names, no blanks, everything beyond ASCII escaped."""
    return json.dumps(dict(body), sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def digest_of(body: Mapping[str, str]) -> str:
    """SHA-256 of a body, in hex."""
    return hashlib.sha256(canonical(body)).hexdigest()


def hash_of(number: str, prev: str, digest: str) -> str:
    """SHA-256 that stands for a record and for all before it, in hex."""
    return hashlib.sha256(f"{number}\n{prev}\n{digest}".encode(errors="surrogatepass")).hexdigest()


def append(bodies: Iterable[Mapping[str, str]], *, after: Point) -> list[dict[str, str]]:
    """Bodies as the next records of a chain."""
    records = []
    for body in bodies:
        number = str(after.number + 1)
        made = hash_of(number, after.hash, digest_of(body))
        records.append({**body, "number": number, "prev": after.hash, "hash": made})
        after = Point(after.number + 1, made)
    return records


def follow(before: Point, link: Link) -> Point:
    """The place behind a record, if it is the one that was written there.

    Raises:
        BrokenChain: it is not.
    """
    number = before.number + 1
    if link.number != str(number):
        raise BrokenChain(number, f"in its place is a record of number {link.number[:20]!r}")
    if link.prev != before.hash:
        raise BrokenChain(number, "it was not written after the record before it")
    if link.hash != hash_of(link.number, link.prev, link.digest):
        raise BrokenChain(number, "it is not as it was written")
    return Point(number, link.hash)


def verify(links: Iterable[Link], *, start: Point, end: Point | None = None) -> Point:
    """Follow a chain from one place to another, or to wherever it ends; gives that place.

    Raises:
        BrokenChain: the first record that is not as, or where, it was written; or that is missing before `end`.
    """
    at = start
    for link in links:
        at = follow(at, link)
    if end is not None and at.number < end.number:
        raise BrokenChain(at.number + 1, f"it is missing; the chain was written up to record {end.number}")
    if end is not None and at.number > end.number:
        raise BrokenChain(end.number + 1, "nobody has heard of it: the chain was written up to the one before")
    if end is not None and at.hash != end.hash:
        raise BrokenChain(at.number, "it is not the record that the chain ended with")
    return at
