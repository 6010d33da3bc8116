import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.capture import Profile, ProfiledProcess
from agent.output import save
from agent.stacks.collapsed import parse

BEGAN = datetime(2026, 1, 8, 11, 0, tzinfo=UTC)


def profile(stacks: dict[str, int], *, error: str | None = None) -> Profile:
    return Profile(
        stacks=stacks,
        started_at=BEGAN,
        finished_at=BEGAN + timedelta(seconds=5),
        elapsed_seconds=5.01,
        warnings=["perf is not installed"],
        error=error,
        frequency_hz=11,
        processes=(ProfiledProcess(42, "python", sum(stacks.values())),),
        events={"py-spy": "timer"},
    )


def test_a_profile_is_saved_under_its_name_and_as_the_last_one(tmp_path: Path) -> None:
    saved = save(profile({"python;hot (a.py:1)": 7}), tmp_path / "new" / "dir", name="web-1", title="web")
    folder = tmp_path / "new" / "dir"
    assert saved.collapsed == folder / "web-1.col"
    assert saved.flamegraph == folder / "web-1.html"
    assert sorted(path.name for path in folder.iterdir()) == [
        "last_flamegraph.html", "last_profile.col", "web-1.col", "web-1.html",
    ]  # fmt: skip
    assert (folder / "last_profile.col").read_bytes() == saved.collapsed.read_bytes()
    assert (folder / "last_flamegraph.html").read_bytes() == saved.flamegraph.read_bytes()
    assert not any(path.is_symlink() for path in folder.iterdir())


def test_the_collapsed_file_says_what_it_is_and_can_be_read_back(tmp_path: Path) -> None:
    saved = save(profile({"python;hot (a.py:1)": 7, "python;cold (a.py:9)": 2}), tmp_path, name="p", title="web")
    text = saved.collapsed.read_text()
    first, _, _ = text.partition("\n")
    facts = json.loads(first.removeprefix("# "))
    assert facts["samples"] == 9
    assert facts["frequency_hz"] == 11
    assert facts["started_at"] == "2026-01-08T11:00:00+00:00"
    assert facts["finished_at"] == "2026-01-08T11:00:05+00:00"
    assert facts["warnings"] == ["perf is not installed"]
    assert facts["processes"] == [{"pid": 42, "name": "python", "samples": 9}]
    assert {"host", "kernel", "events", "error"} <= facts.keys()
    assert parse(text.splitlines()) == {"python;hot (a.py:1)": 7, "python;cold (a.py:9)": 2}


@pytest.mark.parametrize("capture_id", ["r-1", None])
def test_the_collapsed_file_names_the_capture_that_it_is_part_of(tmp_path: Path, capture_id: str | None) -> None:
    saved = save(replace(profile({"a": 1}), capture_id=capture_id), tmp_path, name="p", title="web")
    facts = json.loads(saved.collapsed.read_text().partition("\n")[0].removeprefix("# "))
    assert facts.get("capture_id") == capture_id


def test_the_next_profile_becomes_the_last_one_and_the_former_stays(tmp_path: Path) -> None:
    first = save(profile({"a": 1}), tmp_path, name="first", title="web")
    before = first.collapsed.read_bytes()
    second = save(profile({"b": 2}), tmp_path, name="second", title="web")
    assert first.collapsed.read_bytes() == before
    assert (tmp_path / "last_profile.col").read_bytes() == second.collapsed.read_bytes()


def test_a_file_system_without_hard_links_gets_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    saved = save(profile({"a": 1}), tmp_path, name="p", title="web")
    assert (tmp_path / "last_flamegraph.html").read_bytes() == saved.flamegraph.read_bytes()
    assert (tmp_path / "last_flamegraph.html").stat().st_nlink == 1


def test_a_write_that_fails_leaves_the_former_file_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(profile({"a": 1}), tmp_path, name="p", title="web")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save(profile({"b": 2}), tmp_path, name="p", title="web")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../up", "/etc/x"])
def test_a_name_that_leaves_the_directory_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no file stem"):
        save(profile({"a": 1}), tmp_path, name=name, title="web")


def test_what_went_wrong_stands_on_the_page(tmp_path: Path) -> None:
    saved = save(profile({}, error="process 7 <gone>"), tmp_path, name="p", title="web & co")
    page = saved.flamegraph.read_text()
    assert "process 7 &lt;gone&gt;" in page
    assert "<title>web &amp; co</title>" in page
