"""The archive's files: not a bit of one, and not one of them, may change unnoticed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.segments import BrokenSegment, Record, Segment, check_follows, decode, encode, in_chains

DAY_MS = 1_800_000_000_000
RECORDS = [Record(f"{DAY_MS + number}-{number % 3}", {"state": "running", "n": str(number)}) for number in range(20)]
HEADER, DATA = encode(RECORDS, family="results", stream=3, number=1, previous="")


def chain(lengths: list[int]) -> list[tuple[str, bytes]]:
    """Files that follow each other."""
    files: list[tuple[str, bytes]] = []
    previous, first = "", 0
    for number, length in enumerate(lengths, start=1):
        records = [Record(f"{DAY_MS + first + step}-0", {"k": "v"}) for step in range(length)]
        header, data = encode(records, family="results", stream=0, number=number, previous=previous)
        previous, first = decode(header.path, data).sha256, first + length
        files.append((header.path, data))
    return files


def walk(files: list[tuple[str, bytes]]) -> None:
    """Verify a chain of one stream."""
    contents = dict(files)
    for _, paths in in_chains(contents):
        before: Segment | None = None
        for path in paths:
            segment = decode(path, contents[path])
            check_follows(before, segment)
            before = segment


def test_what_was_written_is_read() -> None:
    segment = decode(HEADER.path, DATA)
    assert segment.header == HEADER
    assert list(segment.records) == RECORDS
    assert HEADER.path == f"results/2027-01-15/0003-00000001-{DAY_MS}-0.jsonl.gz"


def test_the_same_records_are_the_same_bytes() -> None:
    assert encode(RECORDS, family="results", stream=3, number=1, previous="")[1] == DATA


@given(st.lists(st.dictionaries(st.text(), st.text(), max_size=4), min_size=1, max_size=8))
def test_fields_of_any_text_survive(fields: list[dict[str, str]]) -> None:
    records = [Record(f"{DAY_MS}-{number}", each) for number, each in enumerate(fields)]
    header, data = encode(records, family="results", stream=0, number=1, previous="")
    assert list(decode(header.path, data).records) == records


@settings(max_examples=150)
@given(st.integers(0, len(DATA) - 1), st.integers(0, 7))
def test_one_flipped_bit_anywhere_is_found(at: int, bit: int) -> None:
    damaged = bytearray(DATA)
    damaged[at] ^= 1 << bit
    with pytest.raises(BrokenSegment):
        decode(HEADER.path, bytes(damaged))


def test_every_bit_of_the_last_bytes_counts() -> None:
    """Where the compressed text ends within a byte, and in the trailer."""
    for length in range(1, 9):
        records = [Record(f"{DAY_MS}-{number}", {"n": "x" * number}) for number in range(length)]
        header, data = encode(records, family="results", stream=0, number=1, previous="")
        for at in range(-12, 0):
            for bit in range(8):
                damaged = bytearray(data)
                damaged[at] ^= 1 << bit
                with pytest.raises(BrokenSegment):
                    decode(header.path, bytes(damaged))


@pytest.mark.parametrize("cut", [0, 1, 8, 17, 18, 19, len(DATA) - 1])
def test_a_file_that_was_cut_short_is_found(cut: int) -> None:
    with pytest.raises(BrokenSegment):
        decode(HEADER.path, DATA[:cut])


def test_what_is_put_behind_a_file_is_found() -> None:
    for more in (b"\0", DATA):
        with pytest.raises(BrokenSegment):
            decode(HEADER.path, DATA + more)


def test_a_whole_chain_is_whole() -> None:
    walk(chain([3, 1, 7, 2]))


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_a_file_that_was_dropped_is_found_at_the_next(gone: int) -> None:
    files = chain([3, 1, 7, 2])
    with pytest.raises(BrokenSegment, match=f"segment {gone + 1} of stream 0 is missing"):
        walk(files[:gone] + files[gone + 1 :])


def test_files_that_changed_places_are_found() -> None:
    (one, first), (two, second), *rest = chain([3, 3, 3])
    with pytest.raises(BrokenSegment, match="it belongs at"):
        walk([(one, second), (two, first), *rest])


def test_a_file_that_was_written_anew_is_found_by_its_successor() -> None:
    """Its own sums are right: whoever can write files can compute those."""
    files = chain([3, 3])
    header = decode(*files[0]).header
    forged = [Record(record.entry_id, {"k": "forged"}) for record in decode(*files[0]).records]
    _, data = encode(forged, family="results", stream=0, number=1, previous=header.previous)
    with pytest.raises(BrokenSegment, match="predecessor is not the file"):
        walk([(files[0][0], data), files[1]])


def test_an_entry_in_two_segments_is_found() -> None:
    header, data = encode(RECORDS[:5], family="results", stream=0, number=1, previous="")
    first = decode(header.path, data)
    header, data = encode(RECORDS[4:], family="results", stream=0, number=2, previous=first.sha256)
    with pytest.raises(BrokenSegment, match="holds entries that its predecessor holds"):
        check_follows(first, decode(header.path, data))
