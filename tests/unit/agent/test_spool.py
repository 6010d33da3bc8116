import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from agent.spool import Spool
from agent.spool_limits import SpoolLimits


def a_spool(path: Path, **limits: Any) -> Spool:
    return Spool(path / "spool", SpoolLimits(**limits))


def test_what_is_put_in_waits_across_restarts_oldest_first(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    spool.put("20260102T030406Z-b", b"second")
    spool.put("20260102T030405Z-a", b"first")
    again = a_spool(tmp_path)
    assert again.waiting() == ["20260102T030405Z-a", "20260102T030406Z-b"]
    assert again.read("20260102T030405Z-a") == b"first"
    again.done("20260102T030405Z-a")
    assert again.waiting() == ["20260102T030406Z-b"]
    assert again.read("20260102T030405Z-a") is None


def test_its_owner_alone_may_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        a_spool(tmp_path).put("a", b"secret")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "spool" / "a.json.gz").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "spool").stat().st_mode) == 0o700


def test_the_oldest_gives_way_when_there_are_too_many_and_that_is_said(tmp_path: Path) -> None:
    spool = a_spool(tmp_path, profiles=2)
    for name in ("a", "b", "c"):
        spool.put(name, b"x")
    assert spool.waiting() == ["b", "c"]
    assert spool.dropped == 1
    (news,) = spool.news()
    assert "profile a was deleted before it could be uploaded" in news
    assert spool.news() == ()


def test_the_oldest_give_way_when_they_weigh_too_much(tmp_path: Path) -> None:
    spool = a_spool(tmp_path, bytes=10)
    for name in ("a", "b", "c"):
        spool.put(name, b"1234")
    assert spool.waiting() == ["b", "c"]
    with pytest.raises(OSError, match="at most 10 may wait"):
        spool.put("d", b"12345678901")
    assert spool.waiting() == ["b", "c"]


def test_on_a_full_disk_the_oldest_give_way_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = a_spool(tmp_path)
    for name in ("a", "b", "c"):
        spool.put(name, b"1234")
    real, failures = os.fsync, [1]

    def full(file: int) -> None:
        if failures:
            failures.pop()
            raise OSError(errno.ENOSPC, "No space left on device")
        real(file)

    monkeypatch.setattr(os, "fsync", full)
    spool.put("d", b"12345")
    assert spool.waiting() == ["c", "d"]
    assert [text for text in spool.news() if "the disk is full" in text] != []


def test_a_disk_that_is_full_of_other_things_is_an_error_and_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = a_spool(tmp_path)

    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        spool.put("d", b"12345")
    assert [path.name for path in (tmp_path / "spool").iterdir()] == ["refused"]


def test_what_was_half_written_is_deleted_at_the_next_start(tmp_path: Path) -> None:
    a_spool(tmp_path)
    (tmp_path / "spool" / "a.new").write_bytes(b"hal")
    a_spool(tmp_path)
    assert not (tmp_path / "spool" / "a.new").exists()


def test_what_is_refused_is_put_aside_and_only_the_newest_of_it_stays(tmp_path: Path) -> None:
    spool = a_spool(tmp_path, refused=2)
    for name in ("a", "b", "c"):
        spool.put(name, name.encode())
        spool.put_aside(name, "the server refuses it (413)")
    assert spool.waiting() == []
    assert sorted(path.name for path in (tmp_path / "spool" / "refused").iterdir()) == ["b.json.gz", "c.json.gz"]
    assert spool.news()[0] == "profile a is not uploaded: the server refuses it (413)"


def test_a_link_that_lies_in_its_way_is_not_followed(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    (tmp_path / "precious").write_text("keep")
    (tmp_path / "spool" / "a.new").symlink_to(tmp_path / "precious")
    spool.put("a", b"profile")
    assert (tmp_path / "precious").read_text() == "keep"
    assert spool.read("a") == b"profile"


@pytest.mark.parametrize("name", ["", "../a", "a/b", ".a", "a" * 300])
def test_a_name_that_leads_elsewhere_is_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="no file stem"):
        a_spool(tmp_path).put(name, b"")
