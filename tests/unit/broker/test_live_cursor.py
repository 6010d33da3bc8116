"""A cursor says where one stands on every stream, and is short."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.entry_ids import START, entry_id_of, position_of
from broker.live_cursor import BadCursor, decode, encode

MOMENTS = st.integers(0, 2**64 - 1)
POSITIONS = st.lists(st.tuples(MOMENTS, MOMENTS), max_size=60)
NOW = 1_800_000_000_000


@given(POSITIONS)
def test_a_cursor_is_read_back_as_it_was_written(positions: list[tuple[int, int]]) -> None:
    assert decode(encode(positions), streams=len(positions)) == positions


@given(st.text(max_size=80))
def test_what_is_no_cursor_is_refused_and_nothing_else_happens(text: str) -> None:
    try:
        read = decode(text, streams=3)
    except BadCursor:
        return
    assert decode(encode(read), streams=3) == read


@given(st.binary(max_size=60))
def test_no_bytes_break_the_reader(packed: bytes) -> None:
    test_what_is_no_cursor_is_refused_and_nothing_else_happens.hypothesis.inner_test(  # type: ignore[attr-defined]
        base64.urlsafe_b64encode(packed).decode().rstrip("=")
    )


def test_a_cursor_of_other_streams_is_refused() -> None:
    with pytest.raises(BadCursor):
        decode(encode([START] * 3), streams=4)


def test_a_cursor_of_many_streams_fits_into_every_event() -> None:
    positions = [(NOW - 37 * number, number % 3) for number in range(48)]
    assert len(encode(positions)) < 240
    assert len(encode([START] * 47 + [(NOW, 0)])) < 480


def test_entry_ids_are_positions() -> None:
    assert position_of("17-4") == (17, 4)
    assert position_of("0") == START, "as a group that has read nothing is told of"
    assert entry_id_of((17, 4)) == "17-4"
