"""Profiles that others wrote in pprof's format: read as they are meant, refused where they mean nothing."""

import random
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formats import pprof, pprof_reading, protobuf_reading
from formats.pprof_reading import BadPprof, Pprof
from formats.protobuf_reading import Reading

BEGAN = datetime(2026, 1, 8, 11, 0, 0, 250_000, tzinfo=UTC)
FRAME = st.text(st.characters(categories=["L", "N"], include_characters=".<>:"), min_size=1, max_size=12)
STACKS = st.dictionaries(st.lists(FRAME, min_size=1, max_size=6).map(";".join), st.integers(1, 10**9), min_size=1)


def field(number: int, value: int | bytes | str) -> bytes:
    """One field, written as any client of protobuf does."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(number: int) -> bytes:
    number &= 2**64 - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


STRINGS = ("", "cpu", "nanoseconds", "main", "work", "/srv/bin/web", "samples", "count", "inlined")
TABLE = b"".join(field(6, text) for text in STRINGS)
TYPES = field(1, field(1, 6) + field(2, 7)) + field(1, field(1, 1) + field(2, 2))
FUNCTIONS = b"".join(field(5, field(1, number) + field(2, name)) for number, name in ((1, 3), (2, 4), (3, 8)))
LOCATIONS = field(4, field(1, 10) + field(4, field(1, 1))) + field(
    4, field(1, 20) + field(4, field(1, 3)) + field(4, field(1, 2))
)
"""20 is `work`, into which `inlined` was put: pprof tells the inlined one first."""


def profile(*samples: bytes, before: bytes = b"") -> bytes:
    return before + TYPES + b"".join(field(2, sample) for sample in samples) + LOCATIONS + FUNCTIONS + TABLE


def sample(*locations: int, values: tuple[int, ...] = (3, 30)) -> bytes:
    return field(1, b"".join(map(varint, locations))) + field(2, b"".join(map(varint, values)))


def read(content: bytes, **asked: Any) -> Pprof:
    """Read a profile, which is the same wherever it is cut, and whether its stacks are wanted or only counted.

    Raises:
        BadPprof: it is none, in whatever way it is read.
    """
    cut = [content[at : at + 7] for at in range(0, len(content), 7)] if len(content) < 10_000 else [content]
    ways = [(portions, keeps) for portions in ([content], cut) for keeps in (True, False)]
    found = [attempted(portions, keeps=keeps, **asked) for portions, keeps in ways]
    told = {repr(each) if isinstance(each, BadPprof) else repr(replace(each, stacks={}, counts=())) for each in found}
    assert len(told) == 1, told
    first = found[0]
    if isinstance(first, BadPprof):
        raise first
    for each in found[1:]:
        assert isinstance(each, Pprof)
        assert each.stacks in (first.stacks, {})
        assert [*each.counts] == [*first.stacks.values()]
    return first


def attempted(portions: list[bytes], **asked: Any) -> Pprof | BadPprof:
    try:
        return pprof_reading.read(portions, **asked)
    except BadPprof as error:
        return error


def stacks(content: bytes, **asked: Any) -> dict[str, int]:
    return {**read(content, most_stacks=100, **asked).stacks}


@settings(deadline=None)  # likewise
@given(STACKS)
def test_what_we_write_is_read_as_it_was(written: dict[str, int]) -> None:
    content = pprof.encode(written, pprof.cpu(11), started_at=BEGAN, duration=timedelta(seconds=5.5))
    found = read(content, most_stacks=len(written))
    assert found.stacks == {";".join(frame or "[unknown]" for frame in one.split(";")): n for one, n in written.items()}
    assert (found.value_type, found.unit, found.period_unit) == ("samples", "count", "nanoseconds")
    assert datetime.fromtimestamp(found.started_ns / 1e9, UTC) == BEGAN
    assert found.duration_ns == 5_500_000_000


def test_the_root_comes_first_and_inlined_functions_are_frames() -> None:
    assert stacks(profile(sample(20, 10))) == {"main;work;inlined": 3}
    assert stacks(profile(sample(20, 10)), value_type="cpu") == {"main;work;inlined": 30}
    assert stacks(profile(sample(10), before=field(3, field(1, 1) + field(5, 5)))) == {"web;main": 3}


def test_numbers_that_are_not_packed_are_read_too() -> None:
    one_by_one = field(1, 20) + field(1, 10) + field(2, 4) + field(2, 40)
    assert stacks(profile(one_by_one, sample(20, 10))) == {"main;work;inlined": 7}


def test_samples_without_a_count_are_left_out_and_counted() -> None:
    found = read(profile(sample(10), sample(20, values=(0, 0)), sample(20, values=(-5, 1)), sample()), most_stacks=9)
    assert (found.stacks, found.bad_samples) == ({"main": 3}, 3)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\0\0", "number 0"), (profile(field(0, 3)), "number 0"),
        (b"", "no type"), (b"\x1f", "field"), (TABLE, "no type"), (profile(sample(99)), "location 99"),
        (profile(sample(10))[:-1], "cut short"), (b"\xff" * 11, "cut short, or no number"),
        (field(1, field(1, 77)) + TABLE, "string 77"),
        (profile(*(sample(10) for _ in range(3)), before=field(5, field(1, 9) + field(2, 99))), "string 99"),
    ],
)  # fmt: skip
def test_what_is_none_is_refused(content: bytes, why: str) -> None:
    with pytest.raises(BadPprof, match=why):
        read(content, most_stacks=100)


@settings(deadline=None)  # it says of a machine that is busy
@given(st.binary(max_size=200))
def test_whatever_comes_is_read_or_refused(content: bytes) -> None:
    for given_as in (content, profile(content), profile(sample(10)) + content):
        try:
            read(given_as, most_stacks=5)
        except BadPprof:
            continue


def test_kinds_of_values_that_are_not_there_are_named() -> None:
    with pytest.raises(BadPprof, match="samples, cpu"):
        read(profile(sample(10)), value_type="inuse_space", most_stacks=9)


def test_a_few_bytes_do_not_become_very_many(monkeypatch: pytest.MonkeyPatch) -> None:
    long = TYPES + field(2, sample(*[1] * 5_000)) + field(4, field(1, 1) + field(4, field(1, 1)))
    content = long + field(5, field(1, 1) + field(2, 9)) + TABLE + field(6, "x" * 100_000)
    found = read(content, most_stacks=9)
    (stack,) = found.stacks
    frames = stack.split(";")
    assert (len(frames), frames[-1]) == (pprof_reading.DEEPEST + 1, pprof_reading.CUT)
    assert len(frames[0]) == pprof_reading.LONGEST_FRAME
    assert found.cut_stacks == 1
    for name, most in (("MOST_TEXT", 1_000_000), ("MOST_SAMPLES", 0), ("MOST_STRINGS", 5), ("MOST_ENTRIES", 0)):
        with monkeypatch.context() as bounded:
            bounded.setattr(pprof_reading, name, most)
            with pytest.raises(BadPprof, match="more than"):
                read(content, most_stacks=9)
    with pytest.raises(BadPprof, match="distinct"):
        read(profile(sample(10), sample(20)), most_stacks=1)


def test_what_is_small_and_would_keep_a_process_busy_for_minutes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pprof_reading, "MOST_PARTS", 10_000)
    whole = profile(sample(10))
    assert stacks(whole) == {"main": 3}
    deep = field(1, varint(10) * 20_000) + field(2, varint(3))
    wide = field(1, varint(300) * 20_000) + field(2, varint(3))
    inlined = field(4, field(1, 30) + field(4, field(1, 1)) * 20_000)
    for many in (profile(deep), profile(wide), whole + inlined):
        with pytest.raises(BadPprof, match="more than 10,000"):
            read(many, most_stacks=100)
    monkeypatch.setattr(protobuf_reading, "MOST_STREAMED", 10_000)
    for many in (whole + field(9, 1) * 20_000, whole + TYPES * 5_000):
        with pytest.raises(BadPprof, match=r"byte \d+: more than 10,000 fields"):
            read(many, most_stacks=100)


def test_a_location_of_many_inlined_functions_is_not_named_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = field(4, field(1, 30) + field(4, field(1, 1)) * 1_000)
    (deep,) = stacks(profile(sample(30), before=field(4, field(1, 30) + field(4, field(1, 1)) * 5_000)))
    assert deep == ";".join(["main"] * pprof_reading.DEEPEST + [pprof_reading.CUT])
    often = profile(*(sample(30, 10) for _ in range(40)), before=wide)
    assert [*stacks(often).values()] == [120]
    monkeypatch.setattr(pprof_reading, "MOST_FRAMES", 40_000)
    with pytest.raises(BadPprof, match="more than 40,000 frames"):
        read(often, most_stacks=100)


def test_functions_have_no_more_text_than_stacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pprof_reading, "MOST_TEXT", 100_000)
    functions = b"".join(field(5, field(1, n) + field(2, 9)) for n in range(30, 140))
    with pytest.raises(BadPprof, match="its functions"):
        read(profile(sample(10)) + functions + field(6, "x" * 1_000), most_stacks=100)


def test_an_entry_that_is_longer_than_any_is_refused() -> None:
    with pytest.raises(BadPprof, match=r"byte \d+: one of field 2 has more than"):
        read(profile(field(3, b"\0" * 5_000_000) + sample(10)), most_stacks=100)


def test_a_long_row_of_bytes_that_is_no_number_is_refused_at_once() -> None:
    """As one number of a million digits it would take minutes."""
    with pytest.raises(BadPprof, match="no number"):
        read(profile(field(1, b"\xff" * 4_000_000) + field(2, varint(3))), most_stacks=100)
    with pytest.raises(BadPprof, match="no number"):
        read(profile(field(1, varint(10) + b"\xff" * 10 + b"\x01") + field(2, varint(3))), most_stacks=100)
    assert stacks(profile(sample(10, values=(2**63 - 1, 0)))) == {"main": 2**63 - 1}


@given(st.lists(st.integers(0, 2**64 - 1)))
def test_numbers_in_a_list_are_read_as_they_were_written(numbers: list[int]) -> None:
    assert [*Reading(1_000).varints(b"".join(map(varint, numbers)))] == numbers


def test_of_a_long_string_that_many_functions_name_no_more_than_a_frame_is_looked_at() -> None:
    name = field(6, "n" * 1_000_000)
    functions = b"".join(field(5, field(1, number) + field(2, len(STRINGS))) for number in range(4, 2_004))
    location = field(4, field(1, 30) + field(4, field(1, 4)))
    assert stacks(profile(sample(30)) + location + functions + name) == {"n" * 1_000: 3}


def test_where_stacks_are_only_counted_little_of_a_profile_is_in_memory() -> None:
    names = [f"module.of_some_length.function_{number}" for number in range(300)]
    dice = random.Random(1)
    lines = {";".join(dice.choices(names, k=30)): dice.randint(1, 99) for _ in range(3_000)}
    content = pprof.encode(lines, pprof.cpu(11), started_at=BEGAN, duration=timedelta(seconds=5))
    content += field(2, field(2, b"\0\0") + field(3, field(1, 1) + field(2, 2)) * 200) * 1_000
    portions = [content[at : at + 65_536] for at in range(0, len(content), 65_536)]
    most: dict[bool, int] = {}
    for keeps in (True, False):
        tracemalloc.start()
        found = pprof_reading.read(portions, most_stacks=len(lines), keeps=keeps)
        most[keeps] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert (len(found.counts), sum(found.counts), found.bad_samples) == (len(lines), sum(lines.values()), 1_000)
    assert most[False] < 0.5 * len(content)
    assert most[False] < 0.2 * most[True]
