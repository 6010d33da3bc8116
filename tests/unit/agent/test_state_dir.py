import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.state_dir import StateDir, StateDirUnusable, sole
from tests.support.processes import ROOT


def test_a_second_agent_is_kept_out_and_told_whom_it_met(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "state")
    with state.held():
        script = f"""
from pathlib import Path
from agent.state_dir import StateDir, StateDirUnusable
try:
    with StateDir(Path({str(state.path)!r})).held():
        print("in")
except StateDirUnusable as error:
    print(error)
"""
        other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert "another gprofiler" in other.stdout
    assert f"pid {__import__('os').getpid()}" in other.stdout
    assert "--state-dir" in other.stdout


def test_the_lock_is_free_when_its_owner_is_gone(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    for _ in range(2):
        with state.held():
            assert state.lock.exists()


def test_what_a_killed_agent_left_is_swept_away(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    (state.work / "run-1").mkdir(parents=True)
    (state.work / "run-1" / "perf.data").write_bytes(b"x")
    with state.held():
        assert not state.work.exists()


def test_the_directory_is_for_its_owner_only(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "a" / "b")
    with state.held():
        assert state.path.stat().st_mode & 0o777 == 0o700


def test_a_place_that_is_no_directory_is_refused_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateDirUnusable, match="--state-dir"), StateDir(tmp_path / "file" / "x").held():
        pass


def test_two_agents_of_one_identity_refuse_each_other_whatever_their_state_directories(tmp_path: Path) -> None:
    with (
        sole("server web host", run=tmp_path),
        pytest.raises(StateDirUnusable, match=f"pid {os.getpid()}"),
        sole("server web host", run=tmp_path),
    ):
        pass
    with sole("server web host", run=tmp_path), sole("server db host", run=tmp_path):
        pass


def test_a_place_that_others_may_write_to_holds_no_lock(tmp_path: Path) -> None:
    (tmp_path / "gprofiler").mkdir()
    (tmp_path / "gprofiler").chmod(0o777)
    with sole("a", run=tmp_path), sole("a", run=tmp_path):
        assert list((tmp_path / "gprofiler").iterdir()) == []
    with sole("a", run=tmp_path / "nowhere"):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to another user")
def test_a_state_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    """Its owner could put a link where the agent, as root, writes its ledger."""
    (theirs := tmp_path / "state").mkdir()
    os.chown(theirs, 64_242, 64_242)
    with pytest.raises(StateDirUnusable, match="another user's"), StateDir(theirs).held():
        pass
    assert list(theirs.iterdir()) == []
