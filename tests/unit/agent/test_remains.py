import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agent import remains
from agent.output import save
from agent.reports import RESTARTED_WHILE_RUNNING
from agent.shelf import name_of
from tests.support.fake_capture import NOW, a_profile


def test_half_written_files_go_and_everything_else_stays(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").touch()
    half = [
        ".20260102T030405Z-c1.col.ab12_xyz",
        ".last_flamegraph.html.zzzzzzzz",
        ".20260102T030405Z-a.b.html.00000000",
    ]
    for name in half:
        (tmp_path / name).touch()
    (tmp_path / ".last_profile.col.abcdefgh").mkdir()
    (tmp_path / ".last_profile.col.abcdefgh" / "last_profile.col").touch()
    (tmp_path / ".last_profile.col.linklink").symlink_to(tmp_path / "elsewhere")
    others = [".bashrc", "20260102T030405Z-c1.col", "last_profile.col", ".profile-20260102T030405Z.col.ab12_xyz", ".x"]
    for name in others:
        (tmp_path / name).touch()
    remains.sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*others, "elsewhere"])
    assert (tmp_path / "elsewhere" / "file").exists()


def test_a_run_that_was_killed_is_told_of_by_the_windows_it_had_saved(tmp_path: Path) -> None:
    for minute, count in ((0, 3), (1, 4)):
        save(a_profile(count), tmp_path, name=name_of(NOW + timedelta(minutes=minute), "c 1"), title="t")
    save(a_profile(9), tmp_path, name=name_of(NOW, "c 2"), title="t")
    ending = remains.left_by(tmp_path, "c 1")
    assert ending is not None
    assert (ending.samples, ending.elapsed_seconds) == (7, 2.0)
    assert ending.started_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert ending.results_path == str(tmp_path / f"{name_of(NOW + timedelta(minutes=1), 'c 1')}.html")
    assert ending.interrupted == RESTARTED_WHILE_RUNNING


def test_a_profile_without_its_page_is_named_by_its_stacks(tmp_path: Path) -> None:
    saved = save(a_profile(3), tmp_path, name=name_of(NOW, "c1"), title="t")
    saved.best.unlink()
    ending = remains.left_by(tmp_path, "c1")
    assert ending is not None
    assert ending.results_path == str(saved.collapsed)


def test_a_run_that_saved_nothing_has_no_end_of_its_own(tmp_path: Path) -> None:
    (tmp_path / f"{name_of(NOW, 'c1')}.col").write_text("no profile of ours\n")
    (tmp_path / f"{name_of(NOW, 'c2')}.col").write_text(json.dumps(["not", "facts"]))
    (tmp_path / f"{name_of(NOW, 'c3')}.html").touch()
    assert [remains.left_by(tmp_path, name) for name in ("c1", "c2", "c3", "c4")] == [None] * 4
    assert remains.left_by(tmp_path / "nowhere", "c1") is None
