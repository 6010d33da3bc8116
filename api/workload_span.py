"""Which of very many hosts one call looks at. Pure: what a page of the fleet costs must not grow with the fleet."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Final, NamedTuple

from api.workloads import OF_A_HOST, Key
from protocol.field_status import Scope

MOST_HOSTS: Final = 10_000
"""Live hosts that one call looks at. Smaller fleets are looked at whole, each time: every page has the same counts."""
LAST: Final = "\U0010ffff"
"""Comes after every name: in a cursor, all that is left of a host or of a service."""


class Span(NamedTuple):
    """The hosts from `first` on and before `end`; `resume`: behind which row the next span begins, None after all."""

    first: int
    end: int
    resume: Key | None = None


def span_of(hosts: Sequence[tuple[str, str]], scope: Scope, after: Key | None, *, most: int) -> Span:
    """The hosts whose rows come next.

    Rows that are of one host each are complete with their host; the others with their service, so a span ends between
    services. A service of more than `most` hosts is told by its first ones.

    Args:
        hosts: service and name of each, in order.
        scope: of the rows.
        after: the key of the row behind which the page begins.
        most: hosts in a span.
    """
    if len(hosts) <= most:
        return Span(0, len(hosts))
    by_host = scope in OF_A_HOST
    first = 0 if after is None else _first(hosts, scope, after)
    end = first + most
    if end >= len(hosts):
        return Span(first, len(hosts))
    if by_host:
        return Span(first, end, (*hosts[end - 1], LAST))
    service = hosts[end][0]
    begins = bisect_left(hosts, (service, ""))
    if begins > first:
        return Span(first, begins, _all_of(hosts[begins - 1][0], scope))
    is_last = bisect_right(hosts, (service, LAST)) == len(hosts)
    return Span(first, end, None if is_last else _all_of(service, scope))


def _first(hosts: Sequence[tuple[str, str]], scope: Scope, after: Key) -> int:
    if scope in OF_A_HOST:
        at = (after[0], after[1] if len(after) > 1 else "")
        return bisect_right(hosts, at) if after[2:3] == (LAST,) else bisect_left(hosts, at)
    is_done = scope == "service" or after[1:2] == (LAST,)
    return bisect_right(hosts, (after[0], LAST)) if is_done else bisect_left(hosts, (after[0], ""))


def _all_of(service: str, scope: Scope) -> Key:
    return (service,) if scope == "service" else (service, LAST)
