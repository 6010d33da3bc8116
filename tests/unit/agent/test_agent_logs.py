import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from agent import logs
from agent.logs import LogFile, open_heartbeat_log


@pytest.fixture(autouse=True)
def _defaults_afterwards() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_the_file_gets_every_line_and_stderr_what_matters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = LogFile(tmp_path / "log")
    logs.configure(at_least="info", file=file)
    log = structlog.get_logger()
    log.debug("beat", held=True)
    log.info("run begun", command_id="c1")
    file.close()
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["beat", "run begun"]
    assert lines[0]["held"] is True
    told = capsys.readouterr()
    assert [json.loads(line)["event"] for line in told.err.splitlines()] == ["run begun"]
    assert told.out == ""


def test_a_traceback_is_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(at_least="info")
    try:
        int("oops")
    except ValueError:
        structlog.get_logger().exception("broke")
    assert "ValueError: invalid literal" in json.loads(capsys.readouterr().err)["exception"]


def test_a_log_that_cannot_be_put_aside_goes_on_and_stays_small(tmp_path: Path) -> None:
    (tmp_path / "log.1").mkdir()  # as anybody may do in /tmp
    log = LogFile(tmp_path / "log", max_bytes=100)
    for number in range(50):
        log.write(f"line {number:02}")
    log.close()
    assert (tmp_path / "log").read_text().endswith("line 49\n")
    assert (tmp_path / "log").stat().st_size <= 100


@pytest.mark.parametrize("how", ["link", "dangling", "hard link", "pipe", "directory"])
def test_what_is_not_a_plain_file_of_ours_is_refused(tmp_path: Path, how: str) -> None:
    victim, path, fallback = tmp_path / "victim", tmp_path / "log", tmp_path / "fallback"
    victim.write_text("precious")
    match how:
        case "link":
            path.symlink_to(victim)
        case "dangling":
            path.symlink_to(tmp_path / "nothing")
        case "hard link":
            path.hardlink_to(victim)
        case "pipe":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
    log, refused = open_heartbeat_log([path, fallback])
    assert log is not None
    log.write("x")
    log.close()
    assert (log.path, len(refused)) == (fallback, 1)
    assert str(path) in refused[0]
    assert victim.read_text() == "precious"
    assert not (tmp_path / "nothing").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file that another user owns")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.touch()
    os.chown(path, 12345, 12345)
    log, refused = open_heartbeat_log([path])
    assert log is None
    assert "not a plain file of this user" in refused[0]


def test_the_log_does_not_grow_without_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.logs._MAX_LOG_BYTES", 1_000)
    log = LogFile(tmp_path / "log")
    for number in range(500):
        log.write(f"line {number}")
    log.close()
    assert sorted(found.name for found in tmp_path.iterdir()) == ["log", "log.1"]
    assert all(found.stat().st_size < 1_100 for found in tmp_path.iterdir())
    assert (tmp_path / "log").read_text().endswith("line 499\n")


def test_a_log_on_a_full_disk_does_not_stop_the_agent(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log")
    log.write("before")
    full = os.open("/dev/full", os.O_WRONLY)
    assert log.stream is not None
    os.dup2(full, log.stream.fileno())
    os.close(full)
    for number in range(100):
        log.write(f"lost {number}")
    log.close()
    assert (tmp_path / "log").read_text() == "before\n"


def test_the_log_file_gets_what_stderr_gets_and_is_put_aside_when_it_is_full(tmp_path: Path) -> None:
    path = tmp_path / "made" / "agent.log"
    file = logs.open_log_file(path, max_bytes=4_096, backups=2)
    logs.configure(at_least="info", also=file)
    log = structlog.get_logger()
    log.debug("not this")
    for number in range(200):
        log.info("line", number=number)
    assert file is not None
    file.close()
    assert sorted(found.name for found in path.parent.iterdir()) == ["agent.log", "agent.log.1", "agent.log.2"]
    assert all(found.stat().st_size <= 4_096 for found in path.parent.iterdir())
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert (lines[-1]["event"], lines[-1]["number"]) == ("line", 199)
    assert path.stat().st_mode & 0o077 == 0


def test_a_link_in_place_of_the_log_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic links"):
        logs.open_log_file(tmp_path / "log", max_bytes=4_096, backups=1)
    assert not (tmp_path / "victim").exists()
