"""Lists a page at a time: what a cursor is, and that no page skips or repeats anything."""

import json
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import paging as pages
from api.paging import Page, Paging, by_sorting, in_order
from api.problems import Refusal

numbers = st.lists(st.integers(0, 50), max_size=60, unique=True)


def position(item: int) -> pages.Position:
    return (item,)


async def stream(items: Sequence[int], taken: list[int]) -> AsyncIterator[int]:
    for item in items:
        taken.append(item)
        yield item


def read(cursor: str, paging: Paging) -> Paging:
    found = pages._read(cursor, {paging.sort: (int,)})
    assert found is not None
    return Paging(paging.limit, *found)


@given(items=numbers, limit=st.integers(1, 9), descending=st.booleans())
def test_pages_of_what_is_sorted_here_have_every_item_once_and_in_order(
    items: list[int], limit: int, descending: bool
) -> None:
    paging = Paging(limit, "-n" if descending else "n")
    seen: list[int] = []
    while True:
        page = by_sorting(items, paging, position)
        assert len(page.items) == limit or page.next_cursor is None
        seen += page.items
        if page.next_cursor is None:
            break
        paging = read(page.next_cursor, paging)
    assert seen == sorted(items, reverse=descending)


async def all_pages(items: Sequence[int], limit: int, kept: set[int]) -> tuple[list[int], list[Page[int]]]:
    paging, found = Paging(limit, "n"), []
    while True:
        behind = [item for item in items if paging.after is None or (item,) > paging.after]
        page = await in_order(stream(behind, []), paging, position, lambda item: item in kept)
        found.append(page)
        if page.next_cursor is None:
            return [item for page in found for item in page.items], found
        paging = read(page.next_cursor, paging)


@pytest.mark.parametrize("limit", [1, 2, 3, 10, 11])
async def test_pages_of_what_comes_in_order_have_every_item_once(limit: int) -> None:
    kept = {0, 3, 4, 5, 9}
    seen, found = await all_pages(range(10), limit, kept)
    assert seen == sorted(kept)
    assert all(len(page.items) <= limit for page in found)


async def test_no_more_is_read_than_a_page_needs() -> None:
    taken: list[int] = []
    page = await in_order(stream(range(1_000), taken), Paging(3, "n"), position)
    assert (page.items, taken) == ([0, 1, 2], [0, 1, 2, 3])


async def test_a_list_of_others_things_is_read_in_bounded_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MOST_LOOKED_AT", 4)
    seen, found = await all_pages(range(10), 2, {9})
    assert seen == [9]
    assert [len(page.items) for page in found] == [0, 0, 1]


def test_too_much_to_sort_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MOST_SORTED", 4)
    assert by_sorting(range(4), Paging(9, "n"), position).items == [0, 1, 2, 3]
    with pytest.raises(Refusal) as refused:
        by_sorting(range(5), Paging(9, "n"), position)
    assert [(fault.field, fault.code) for fault in refused.value.errors] == [("sort", "too_many")]


def test_a_cursor_holds_any_name() -> None:
    text = "узел/ü 01:{x}\u2028\U0001f525"
    cursor = Paging(1, "-x").cursor((2**63 - 1, text))
    assert set(cursor) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
    assert pages._read(cursor, {"-x": (int, str)}) == ("-x", (2**63 - 1, text))


@pytest.mark.parametrize(
    "said", [None, 1, "n", {}, [], [1], ["n"], ["n", "1"], ["n", 1, 2], ["m", 1], ["n", -1], ["n", 2**63], ["n", True]]
)
def test_what_is_no_cursor_is_none(said: object) -> None:
    cursor = urlsafe_b64encode(json.dumps(said).encode()).rstrip(b"=").decode()
    assert pages._read(cursor, {"n": (int,)}) is None


@given(cursor=st.text(max_size=40))
def test_no_text_breaks_the_reading_of_a_cursor(cursor: str) -> None:
    pages._read(cursor, {"n": (int,), "": ()})
