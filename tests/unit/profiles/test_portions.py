"""Uploads in portions: as they are when whole, and never more of them than may be."""

import gzip
import io
import json
import os
import tracemalloc
from datetime import UTC, datetime

import pytest

from profiles.portions import PORTION, BadZip, NotText, Plain, TooLong, texts
from profiles.upload import read_json

MOST = 8 * PORTION


def plain(content: bytes, *, is_zipped: bool = True) -> Plain:
    return Plain(io.BytesIO(content), is_zipped=is_zipped, most=MOST)


@pytest.mark.parametrize(
    "content", [b"", b"a", os.urandom(3 * PORTION + 1), b"\0" * MOST], ids=["empty", "one", "random", "zeros"]
)
def test_all_of_it_comes_as_often_as_it_is_asked_for(content: bytes) -> None:
    for found in (plain(gzip.compress(content)), plain(content, is_zipped=False)):
        for _ in range(2):
            portions = [*found]
            assert b"".join(portions) == content
            assert max(map(len, portions), default=0) <= PORTION


@pytest.mark.parametrize(
    "content",
    [b"", b"no gzip", gzip.compress(b"a" * 99)[:-1], gzip.compress(os.urandom(2 * PORTION))[:PORTION],
     gzip.compress(b"a") + b"more", gzip.compress(b"a") * 2, gzip.compress(os.urandom(PORTION)) + b"x"],
    ids=["empty", "none", "cut", "cut early", "more", "two", "more later"],
)  # fmt: skip
def test_what_is_not_one_whole_gzip_is_refused(content: bytes) -> None:
    with pytest.raises(BadZip):
        [*plain(content)]


def test_of_a_bomb_no_more_is_unzipped_than_may_be() -> None:
    bomb = gzip.compress(b"\0" * (64 * MOST))
    tracemalloc.start()
    with pytest.raises(TooLong):
        [None for _ in plain(bomb)]
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 16 * PORTION
    with pytest.raises(TooLong):
        [*plain(b"x" * (MOST + 1), is_zipped=False)]


def test_characters_may_lie_across_portions_and_a_wrong_byte_is_told() -> None:
    text = "späť 日本 \U0001f525" * 9
    content = text.encode()
    assert "".join(texts([content[at : at + 1] for at in range(len(content))])) == text
    for wrong in (b"\xff", b"\xed\xa0\x80", b"\xe6\x97"):
        broken = b"ab" + content[:20] + wrong
        with pytest.raises(NotText) as told:
            [*texts([broken[at : at + 1] for at in range(len(broken))])]
        assert told.value.at == len(broken) - len(wrong)


def test_an_upload_is_read_in_a_part_of_the_memory_that_it_would_take_as_a_whole() -> None:
    lines = "\n".join(f"main;module.of.some.length.{number % 5_000};work {number + 1}" for number in range(300_000))
    body = {"hostname": "h", "start_time": "2026-05-04T10:00:00", "end_time": "2026-05-04T10:01:00", "profile": lines}
    content = json.dumps({**body, "page": "x" * len(lines)}).encode()
    zipped = gzip.compress(content, 1)
    tracemalloc.start()
    portions = Plain(io.BytesIO(zipped), is_zipped=True, most=2 * len(content))
    upload = read_json(portions, tenant="t", service="s", now=datetime(2026, 5, 4, 11, tzinfo=UTC), keeps=False)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (upload.collapsed.distinct, upload.collapsed.stacks) == (5_000, {})
    assert most < 0.6 * len(content)
    assert (
        upload.facts.profile_id
        == read_json(content, tenant="t", service="s", now=upload.facts.ended_at).facts.profile_id
    )
