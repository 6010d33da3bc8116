"""Profiles too large to draw, in the formats that others read: cut by weight, with the cut said and the sum kept."""

import gzip
import json
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from formats.pprof_reading import read
from profiles.flamegraph import lightened, tree_of
from profiles.renderings import LINES_AT_ONCE, MORE_IN_FILES, RENDERINGS, Format, Merged

FRAMES = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=6).map(";".join)
WIDE = {f"main;work;leaf_{number}": number + 1 for number in range(100)}


STARTED = datetime(2026, 5, 4, tzinfo=UTC)
SHOP = Merged(WIDE, "shop", "cpu", 99, STARTED, timedelta(seconds=60), {})


def written(kind: Format, most: int, merged: Merged = SHOP) -> bytes:
    content = RENDERINGS[kind].write(merged, most)
    return content if isinstance(content, bytes) else b"".join(content)


@given(st.dictionaries(FRAMES, st.integers(1, 1_000), min_size=1), st.integers(1, 40))
def test_what_is_left_out_counts_in_the_frames_above(stacks: dict[str, int], most: int) -> None:
    left, said = lightened(stacks, most=most)
    whole = tree_of(stacks, most=most)
    again = tree_of(left)
    assert sum(left.values()) == sum(stacks.values())
    assert bool(said) == bool(whole.cut_nodes)
    if said:
        assert f"{whole.cut_nodes:,} lightest" in said
        assert f"({whole.cut_samples:,})" in said
        if "all" not in left:  # what is cut below the root itself is a frame of the root's name
            assert again.root == whole.root
    else:
        assert left == stacks


def test_html_is_cut_like_the_tree_and_says_so() -> None:
    page = written("html", 12).decode()
    assert "the 90 lightest frames are left out" in page
    assert "leaf_99" in page
    assert "leaf_3" not in page
    assert "left out" not in written("html", 102).decode()


def test_files_for_other_programs_are_cut_later_and_say_so() -> None:
    most = 3
    assert most * MORE_IN_FILES < len(WIDE)
    pprof, speedscope = written("pprof", most), json.loads(written("speedscope", most))
    assert speedscope["profiles"][0]["endValue"] == sum(WIDE.values())
    assert "lightest frames are left out" in speedscope["name"]
    assert len(speedscope["profiles"][0]["samples"]) == most * MORE_IN_FILES - 1, "leaves, and what is main;work's own"
    assert sum(read([gzip.decompress(pprof)], most_stacks=1_000).stacks.values()) == sum(WIDE.values())
    whole = json.loads(written("speedscope", 11))
    assert whole["name"] == "shop"


def test_collapsed_stacks_are_whole_and_come_in_pieces_the_heaviest_first() -> None:
    lines = written("collapsed", 1).decode().splitlines()
    assert lines == [f"main;work;leaf_{number} {number + 1}" for number in reversed(range(100))]
    many = {f"main;leaf_{number}": 1 for number in range(2 * LINES_AT_ONCE + 1)}
    pieces = [*RENDERINGS["collapsed"].write(Merged(many, "", "cpu", 0, STARTED, timedelta(0), {}), 1)]
    assert [each.count(b"\n") for each in pieces if isinstance(each, bytes)] == [LINES_AT_ONCE, LINES_AT_ONCE, 1]


def test_counts_beyond_64_bits_are_told_whole_where_that_can_be() -> None:
    huge = 3 * 2**63
    merged = Merged({"main;a": huge, "main;b": 1}, "s", "cpu", 0, STARTED, timedelta(0), {})
    assert json.loads(written("json", 10, merged))["samples"] == huge + 1
    assert written("collapsed", 10, merged) == f"main;a {huge}\nmain;b 1\n".encode()
    assert read([gzip.decompress(written("pprof", 10, merged))], most_stacks=9).stacks == {
        "main;a": 2**63 - 1,
        "main;b": 1,
    }
    assert json.loads(written("speedscope", 10, merged))["profiles"][0]["endValue"] == huge + 1
    assert f"{huge + 1:,}" in written("html", 10, merged).decode()
