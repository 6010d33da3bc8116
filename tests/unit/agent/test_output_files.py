import gzip
import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.inventory import Label
from agent.output import BadOutput, OutputSettings, SavedProfile, save
from agent.run_profile import Profile, ProfiledProcess
from agent.stacks.collapsed import parse
from agent.usage import Usage

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


def collapsed_of(saved: SavedProfile) -> Path:
    assert saved.collapsed is not None
    return saved.collapsed


def test_a_profile_is_saved_under_its_name_and_as_the_last_one(tmp_path: Path) -> None:
    saved = save(profile({"python;hot (a.py:1)": 7}), tmp_path / "new" / "dir", name="web-1", title="web")
    folder = tmp_path / "new" / "dir"
    assert saved.collapsed == folder / "web-1.col"
    assert saved.flamegraph == folder / "web-1.html"
    assert sorted(path.name for path in folder.iterdir()) == [
        "last_flamegraph.html", "last_profile.col", "web-1.col", "web-1.html",
    ]  # fmt: skip
    assert (folder / "last_profile.col").read_bytes() == collapsed_of(saved).read_bytes()
    assert (folder / "last_flamegraph.html").read_bytes() == saved.best.read_bytes()
    assert not any(path.is_symlink() for path in folder.iterdir())


def test_the_collapsed_file_says_what_it_is_and_can_be_read_back(tmp_path: Path) -> None:
    saved = save(profile({"python;hot (a.py:1)": 7, "python;cold (a.py:9)": 2}), tmp_path, name="p", title="web")
    text = collapsed_of(saved).read_text()
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
    facts = json.loads(collapsed_of(saved).read_text().partition("\n")[0].removeprefix("# "))
    assert facts.get("capture_id") == capture_id


def test_the_next_profile_becomes_the_last_one_and_the_former_stays(tmp_path: Path) -> None:
    first = save(profile({"a": 1}), tmp_path, name="first", title="web")
    before = collapsed_of(first).read_bytes()
    second = save(profile({"b": 2}), tmp_path, name="second", title="web")
    assert collapsed_of(first).read_bytes() == before
    assert (tmp_path / "last_profile.col").read_bytes() == collapsed_of(second).read_bytes()


def test_a_file_system_without_hard_links_gets_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    saved = save(profile({"a": 1}), tmp_path, name="p", title="web")
    assert (tmp_path / "last_flamegraph.html").read_bytes() == saved.best.read_bytes()
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
    page = saved.best.read_text()
    assert "process 7 &lt;gone&gt;" in page
    assert "<title>web &amp; co</title>" in page


EVERYTHING = OutputSettings(formats=frozenset({"collapsed", "flamegraph", "pprof", "speedscope"}))


def test_every_format_has_a_file_and_a_last_one(tmp_path: Path) -> None:
    saved = save(profile({"a;b (x.py:1)": 3}), tmp_path, name="p", title="web", settings=EVERYTHING)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "last_flamegraph.html", "last_profile.col", "last_profile.pb.gz", "last_profile.speedscope.json",
        "p.col", "p.html", "p.pb.gz", "p.speedscope.json",
    ]  # fmt: skip
    assert saved.best == tmp_path / "p.html"
    assert gzip.decompress((tmp_path / "last_profile.pb.gz").read_bytes())
    assert json.loads((tmp_path / "last_profile.speedscope.json").read_text())["name"] == "web"


def test_only_what_was_asked_for_is_written(tmp_path: Path) -> None:
    only = OutputSettings(formats=frozenset({"collapsed"}))
    saved = save(profile({"a": 1}), tmp_path, name="p", title="web", settings=only)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last_profile.col", "p.col"]
    assert saved == SavedProfile(collapsed=tmp_path / "p.col")
    assert saved.best == tmp_path / "p.col"


@pytest.mark.parametrize(("formats", "reason"), [(frozenset(), "one format at least"), (frozenset({"svg"}), "svg")])
def test_settings_without_sense_are_refused(formats: frozenset[Any], reason: str) -> None:
    with pytest.raises(BadOutput, match=reason):
        OutputSettings(formats=formats)


def test_rotating_output_keeps_the_last_profile_and_what_is_not_ours(tmp_path: Path) -> None:
    rotating = OutputSettings(formats=EVERYTHING.formats, rotating=True)
    (tmp_path / "notes.html").write_text("mine")
    save(profile({"a": 1}), tmp_path, name="20260108T110000Z-one", title="web", settings=EVERYTHING)
    save(profile({"b": 1}), tmp_path, name="profile-20260108T110001Z", title="web", settings=EVERYTHING)
    save(profile({"c": 1}), tmp_path, name="20260108T110002Z-two", title="web", settings=rotating)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "20260108T110002Z-two.col", "20260108T110002Z-two.html", "20260108T110002Z-two.pb.gz",
        "20260108T110002Z-two.speedscope.json", "last_flamegraph.html", "last_profile.col", "last_profile.pb.gz",
        "last_profile.speedscope.json", "notes.html",
    ]  # fmt: skip


def test_a_link_that_somebody_planted_is_replaced_and_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    folder = tmp_path / "profiles"
    folder.mkdir()
    for name in ("p.col", "p.html", "last_profile.col", "last_flamegraph.html"):
        (folder / name).symlink_to(precious)
    save(profile({"a": 1}), folder, name="p", title="web")
    assert precious.read_text() == "precious"
    assert not any(path.is_symlink() for path in folder.iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a link away")
def test_a_directory_that_is_another_users_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real")
    assert save(profile({"a": 1}), link, name="mine", title="web").best.exists()
    os.chown(link, 12345, 12345, follow_symlinks=False)
    with pytest.raises(PermissionError, match="another user"):
        save(profile({"a": 1}), link, name="p", title="web")


def test_what_a_killed_agent_left_half_written_is_swept_away_in_time(tmp_path: Path) -> None:
    old, new = tmp_path / ".p.col.0123abcd", tmp_path / ".last_profile.pb.gz.0123abce"
    old.touch()
    new.touch()
    os.utime(old, (0, 0))
    save(profile({"a": 1}), tmp_path, name="p", title="web")
    assert not old.exists()
    assert new.exists()


def test_the_metadata_tells_the_host_the_programs_and_what_each_process_runs_in(tmp_path: Path) -> None:
    label = Label(container_id="c" * 64, container_name="cart", runtime="containerd", pod_name="cart-1")
    before = Usage(load=(1.0, 0.5, 0.2), busy_seconds=100, idle_seconds=100, memory_used=7)
    after = Usage(load=(2.0, 0.6, 0.2), busy_seconds=106, idle_seconds=102, memory_used=8)
    full = replace(
        profile({"python;hot": 7}),
        processes=(ProfiledProcess(42, "python", 7, label), ProfiledProcess(43, "sh", 0)),
        usage=(before, after), versions={"perf": "6.1"}, command_id="c-1", capture_id="r-1",
    )  # fmt: skip
    facts = json.loads(collapsed_of(save(full, tmp_path, name="p", title="web")).read_text().partition("\n")[0][2:])
    assert facts["processes"] == [
        {"pid": 42, "name": "python", "samples": 7, "container_id": "c" * 64, "container_name": "cart",
         "runtime": "containerd", "pod_name": "cart-1"},
        {"pid": 43, "name": "sh", "samples": 0},
    ]  # fmt: skip
    assert facts["load_average"] == {"start": [1.0, 0.5, 0.2], "end": [2.0, 0.6, 0.2]}
    assert facts["memory_used_bytes"] == {"start": 7, "end": 8}
    assert facts["cpu_percent"] == 75.0
    assert facts["versions"]["perf"] == "6.1"
    assert {"gprofiler", "python"} <= facts["versions"].keys()
    assert (facts["command_id"], facts["capture_id"]) == ("c-1", "r-1")
    assert facts["cpus"] == os.cpu_count()
    assert facts["memory_bytes"] > 0
