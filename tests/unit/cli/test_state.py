import os
import stat
from pathlib import Path

import pytest

from cli.errors import BadTokens, UnsafeStateDir
from cli.state import KEPT_LOGS, LARGE_LOG_BYTES, RunningRole, RunningSystem, StateDir, default_state_dir


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    made = StateDir(tmp_path / "state")
    made.make()
    return made


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_state_directory_is_closed_to_other_users_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        state = StateDir(tmp_path / "a" / "state")
        state.make()
    finally:
        os.umask(before)
    assert {mode(folder) for folder in (state.path, state.run, state.logs, state.profiles)} == {0o700}


def test_an_open_state_directory_is_closed(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o755)
    StateDir(tmp_path / "state").make()
    assert mode(tmp_path / "state") == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a folder away")
def test_somebody_elses_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    os.chown(tmp_path / "state", 12345, 12345)
    with pytest.raises(UnsafeStateDir, match="belongs to another user"):
        StateDir(tmp_path / "state").make()


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(UnsafeStateDir, match=r"cannot use .*state as state directory"):
        StateDir(tmp_path / "state").make()


def test_the_default_follows_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/var/xdg")
    assert default_state_dir() == Path("/var/xdg/performance-studio")
    monkeypatch.setenv("XDG_STATE_HOME", "relative/is/ignored")
    monkeypatch.setenv("HOME", "/home/me")
    assert default_state_dir() == Path("/home/me/.local/state/performance-studio")


def test_tokens_are_absent_until_the_api_has_made_them(state: StateDir) -> None:
    assert state.token("agent") is None
    state.tokens_file.write_text('{"admin": "a", "agent": "b"}')
    assert (state.token("admin"), state.token("agent")) == ("a", "b")


def test_a_large_log_is_put_aside_and_the_oldest_dropped(state: StateDir) -> None:
    for generation in range(KEPT_LOGS + 3):
        with state.open_log("api") as log:
            log.write(f"generation {generation}\n".encode())
            log.truncate(LARGE_LOG_BYTES + 1)
    kept = sorted(file.name for file in state.logs.iterdir())
    assert kept == ["api.log", "api.log.1", "api.log.2", "api.log.3"]
    assert [(state.logs / name).read_bytes()[:12] for name in kept] == [
        b"generation 5", b"generation 4", b"generation 3", b"generation 2",
    ]  # fmt: skip


def test_a_small_log_is_continued(state: StateDir) -> None:
    for line in (b"one\n", b"two\n"):
        with state.open_log("api") as log:
            log.write(line)
    assert state.tail("api") == "one\ntwo"


def test_the_tail_of_a_log_is_its_last_lines(state: StateDir) -> None:
    state.log_file("api").write_bytes(b"\xff" * 200_000 + b"\n" + b"".join(b"line %d\n" % n for n in range(100)))
    assert state.tail("api", lines=2) == "line 98\nline 99"
    assert state.tail("merger") == ""


def test_the_record_is_read_as_it_was_written_and_forgotten_when_cleared(state: StateDir) -> None:
    roles = [RunningRole("api", 12, 3456, 1, "exit code 1"), RunningRole("jobs", None, None, 0)]
    system = RunningSystem(pid=1, born=2, url="http://127.0.0.1:1", roles=roles)
    state.write_record(system)
    assert state.read_record() == system
    assert [file.name for file in state.run.glob("*.pid")] == ["api.pid"]
    state.clear_record()
    assert state.read_record() is None
    assert list(state.run.iterdir()) == []


def test_a_role_that_stopped_has_no_pid_file(state: StateDir) -> None:
    running, stopped = RunningRole("api", 12, 1, 0), RunningRole("api", None, None, 0)
    for role in (running, stopped):
        state.write_record(RunningSystem(pid=1, born=2, url="", roles=[role]))
    assert not (state.run / "api.pid").exists()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"pid": 1}', '{"pid": 1, "born": 2, "url": "", "roles": [{"shape": 0}]}']
)
def test_a_record_of_another_version_is_no_record(state: StateDir, text: str) -> None:
    (state.run / "studio.json").write_text(text)
    assert state.read_record() is None


@pytest.mark.parametrize("text", ["", "[]", '{"agent": "b"}', "very-secret"])
def test_a_damaged_file_of_tokens_is_named_and_not_quoted(state: StateDir, text: str) -> None:
    state.tokens_file.write_text(text)
    with pytest.raises(BadTokens, match=r"tokens\.json cannot be used") as refusal:
        state.token("admin")
    assert "very-secret" not in str(refusal.value)
