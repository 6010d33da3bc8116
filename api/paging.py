"""Lists, a page at a time: `limit`, `cursor` and `sort` mean the same on every one of them.

A cursor says behind which item the next page begins, not how many came before: what joins or leaves the list meanwhile
shifts nothing. It is opaque to clients, and belongs to the order it was made for.
"""

import base64
import binascii
import heapq
import json
import re
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Generic, TypeVar

from fastapi import Query
from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from api.problems import invalid
from protocol.names import MAX_NAME
from protocol.problems import FieldFault

LONGEST_CURSOR: Final = 16 * 1024
"""A host's path has two names of 256 characters, each of which may take twelve: percent-encoded, then base64."""
MOST_SORTED: Final = 200_000
"""Items that one call sorts, where a list does not come in the order asked for by itself."""
MOST_LOOKED_AT: Final = 10_000
"""Items that one call looks at, where a list does: a page may have fewer than asked for, and a cursor all the same."""
_MOST_INTEGER: Final = 2**63
_BASE64: Final = re.compile(r"[A-Za-z0-9_-]+")

Position = tuple[int | str, ...]
"""Where an item stands in a list: what it is sorted by, then what tells it from others of the same."""
Item = TypeVar("Item")

NameFilter = Annotated[str | None, Query(min_length=1, max_length=MAX_NAME, description="Only those of this name")]


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """What goes into an answer: the items, and the cursor of the page after them."""

    items: list[Item]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Paging:
    """What a caller asks of a list: at most `limit` items in the order of `sort`, behind `after`."""

    limit: int
    sort: str
    after: Position | None = None

    @property
    def descending(self) -> bool:
        """Whether the largest comes first."""
        return self.sort.startswith("-")

    def cursor(self, position: Position) -> str:
        """The text that asks for what comes behind a position."""
        said = json.dumps([self.sort, *position], separators=(",", ":"), ensure_ascii=False)
        return base64.urlsafe_b64encode(said.encode()).rstrip(b"=").decode()


def paged(sorts: Mapping[str, tuple[type, ...]], *, limit: int, most: int) -> Callable[..., Paging]:
    """The dependency of a route that lists.

    Args:
        sorts: each order that the list can come in (`-` in front: the largest first), with the types of its positions.
            The first is the default.
        limit: how many items come where the caller does not say.
        most: how many may be asked for.
    """
    default = next(iter(sorts))
    pattern = f"^({'|'.join(map(re.escape, sorts))})$"

    def is_ours(cursor: str | None) -> str | None:
        """A check of its own, so that a bad cursor is told beside whatever else is wrong."""
        if cursor and _read(cursor, sorts) is None:
            raise PydanticCustomError("cursor", "is no cursor of this list")
        return cursor

    def paging(
        limit: Annotated[int, Query(ge=1, le=most, description="How many at most")] = limit,
        cursor: Annotated[
            str | None,
            AfterValidator(is_ours),
            Query(max_length=LONGEST_CURSOR, description="next_cursor of the page before"),
        ] = None,
        sort: Annotated[str, Query(pattern=pattern, description="-name: the largest first")] = default,
    ) -> Paging:
        made_for, after = (_read(cursor, sorts) if cursor else None) or (sort, None)
        if made_for != sort:
            why = "belongs to another order: ask for the same sort as on the page before"
            raise invalid(more=[FieldFault(field="cursor", message=why, code="cursor")])
        return Paging(limit, sort, after)

    return paging


def _read(cursor: str, sorts: Mapping[str, tuple[type, ...]]) -> tuple[str, Position] | None:
    """The order that a cursor was made for, and the position in it; None for a text that is no cursor of the list."""
    match _decoded(cursor):
        case [str(sort), *position] if sort in sorts:
            shape = sorts[sort]
        case _:
            return None
    if len(position) != len(shape) or not all(map(_is_a, position, shape)):
        return None
    return sort, tuple(position)


def _is_a(value: Any, kind: type) -> bool:
    if kind is int:
        return type(value) is int and 0 <= value < _MOST_INTEGER
    return isinstance(value, kind)


def _decoded(cursor: str) -> Any:
    if not _BASE64.fullmatch(cursor):
        return None
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        said = json.loads(text)
        json.dumps(said, ensure_ascii=False).encode()  # a lone surrogate would not go to the broker
    except (binascii.Error, ValueError, RecursionError):
        return None
    return said


async def in_order(
    items: AsyncIterator[Item],
    paging: Paging,
    position: Callable[[Item], Position],
    keep: Callable[[Item], bool] = lambda _: True,
) -> Page[Item]:
    """A page of items that come in the order asked for, from behind the cursor on.

    Args:
        items: no more of them are taken than a page needs, nor than `MOST_LOOKED_AT`.
        paging: what is asked for.
        position: where an item stands.
        keep: which items the caller may see and wants to.
    """
    found: list[Item] = []
    last: Item | None = None
    looked_at = 0
    async for item in items:
        if last is not None and (len(found) == paging.limit or looked_at == MOST_LOOKED_AT):
            return Page(found, paging.cursor(position(last)))
        looked_at += 1
        last = item
        if keep(item):
            found.append(item)
    return Page(found)


def by_sorting(items: Collection[Item], paging: Paging, position: Callable[[Item], Position]) -> Page[Item]:
    """A page of items that come in any order: all that the caller may see and wants to.

    Raises:
        Refusal: there are more than `MOST_SORTED`.
    """
    if len(items) > MOST_SORTED:
        why = f"{len(items)} items would have to be sorted, at most {MOST_SORTED} are: narrow the list by a filter"
        raise invalid(more=[FieldFault(field="sort", message=why, code="too_many")])
    standing = [(position(item), item) for item in items]
    if (after := paging.after) is not None:
        standing = [each for each in standing if (each[0] < after if paging.descending else each[0] > after)]
    pick = heapq.nlargest if paging.descending else heapq.nsmallest
    first = pick(paging.limit + 1, standing, key=lambda each: each[0])
    found = [item for _, item in first[: paging.limit]]
    if len(first) <= paging.limit:
        return Page(found)
    return Page(found, paging.cursor(first[paging.limit - 1][0]))
