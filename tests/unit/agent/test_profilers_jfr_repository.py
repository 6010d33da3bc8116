"""The directory that a JVM which was killed leaves in its `/tmp`."""

import os
from pathlib import Path

import pytest

from agent.profilers import jfr_repository
from agent.profilers.target_dir import TargetDir

OURS = "2026_11_26_03_32_40_77"


@pytest.fixture
def place(tmp_path: Path) -> TargetDir:
    (tmp_path / "ours").mkdir()
    flags = os.O_RDONLY | os.O_DIRECTORY
    return TargetDir("ours", os.open(tmp_path, flags), os.open(tmp_path / "ours", flags), os.geteuid())


def test_what_the_jvm_recorded_is_removed_and_nothing_else(place: TargetDir, tmp_path: Path) -> None:
    (tmp_path / OURS).mkdir()
    (tmp_path / OURS / "2026_11_26_03_32_40.jfr").write_text("")
    (other := tmp_path / OURS.replace("_77", "_78")).mkdir()
    (mixed := tmp_path / OURS.replace("40_77", "41_77")).mkdir()
    (mixed / "notes.txt").write_text("")
    (precious := tmp_path / "precious").mkdir()
    (chunk := precious / "2026_11_26_03_32_40.jfr").write_text("")
    (tmp_path / OURS.replace("40_77", "42_77")).symlink_to(precious)
    jfr_repository.remove(place, 77)
    place.remove()
    assert not (tmp_path / OURS).exists()
    assert other.exists()
    assert (mixed / "notes.txt").exists()
    assert chunk.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to another user")
def test_a_directory_of_another_user_is_left(place: TargetDir, tmp_path: Path) -> None:
    (theirs := tmp_path / OURS).mkdir()
    (theirs / "2026_11_26_03_32_40.jfr").write_text("")
    os.chown(theirs, 64_242, 64_242)
    jfr_repository.remove(place, 77)
    place.remove()
    assert [path.name for path in theirs.iterdir()] == ["2026_11_26_03_32_40.jfr"]
