"""Following the chain of audit records as the API tells it: a server that lies about a record cannot hash it right."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from protocol import audit_chain
from protocol.audit import ChainLink, ChainPage, ChainPoint
from protocol.audit_chain import BrokenChain, Link, Point

Ask = Callable[[str | None], ChainPage]
"""Gives the part of a chain behind a cursor."""
TRIES = 3


class _TrimmedMeanwhile(Exception):
    """The chain begins later than where we are by now."""


@dataclass(frozen=True, slots=True)
class AuditVerdict:
    """What was found. The records from `begins` to `ends` were followed; `unreadable` of them are another tenant's.

    `broken`: the number of the first record that is not as it should be, and `reason` why.
    """

    ok: bool
    partition: int
    begins: Point
    ends: Point
    unreadable: int = 0
    broken: int | None = None
    reason: str | None = None


def verify(ask: Ask, known: Mapping[int, str] | None = None) -> AuditVerdict:
    """Follow a chain from its checkpoint to its head.

    Args:
        ask: for its parts.
        known: hashes that are known from elsewhere, by number: a note of an earlier look, the archive.
    """
    for _ in range(TRIES):
        try:
            return _follow(ask, known or {})
        except _TrimmedMeanwhile:
            continue
    return _follow(ask, known or {})


def _follow(ask: Ask, known: Mapping[int, str]) -> AuditVerdict:
    page = ask(None)
    begins = at = _point(page.checkpoint)
    unreadable = 0
    try:
        _check_known(at, known)
        for page, link in _links(ask, page):  # noqa: B020 - the page that the link is of
            if page.checkpoint.number > at.number:
                raise _TrimmedMeanwhile
            at = audit_chain.follow(at, _checked(at, link))
            _check_known(at, known)
            unreadable += link.body is None
        audit_chain.verify([], start=at, end=_point(page.head))
        _check_reached(at, known)
    except BrokenChain as error:
        return AuditVerdict(
            ok=False, partition=page.partition, begins=begins, ends=at, unreadable=unreadable, broken=error.number,
            reason=error.reason,
        )  # fmt: skip
    return AuditVerdict(ok=True, partition=page.partition, begins=begins, ends=at, unreadable=unreadable)


def _links(ask: Ask, page: ChainPage) -> Iterator[tuple[ChainPage, ChainLink]]:
    while True:
        for link in page.links:
            yield page, link
        if page.next_cursor is None:
            return
        page = ask(page.next_cursor)


def _checked(at: Point, link: ChainLink) -> Link:
    """The link as it can be followed: the digest of what is shown is computed here."""
    if link.body is not None and audit_chain.digest_of(link.body) != link.digest:
        raise BrokenChain(at.number + 1, "it is not as it was written")
    return Link(link.number, link.prev, link.hash, link.digest)


def _check_known(at: Point, known: Mapping[int, str]) -> None:
    if at.number in known and known[at.number] != at.hash:
        raise BrokenChain(at.number, "it, or one before it, is another record than was seen there once")


def _check_reached(at: Point, known: Mapping[int, str]) -> None:
    newest = max(known, default=0)
    if newest > at.number:
        raise BrokenChain(at.number + 1, f"it is missing; record {newest} was seen once")


def _point(told: ChainPoint) -> Point:
    return Point(told.number, told.hash)
