"""Commands that the broker's own modules carry out, as a person runs them: without a broker, and cut short."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import processes
from cli.state import default_state_dir
from tests.support.processes import eventually
from tests.support.studio import STUDIO, studio

COMMANDS = (["tenants", "list"], ["rebuild-status"])


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A broker that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("PCS_REDIS_URL", f"redis://127.0.0.1:{server.getsockname()[1]}")
        yield server


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_without_a_broker_it_says_which_one_it_meant(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCS_REDIS_URL", "redis://:s3cret@127.0.0.1:1")
    done = studio(*command)
    assert done.returncode == 3
    assert "the broker cannot be reached" in done.stderr
    assert "it is the broker of PCS_REDIS_URL" in done.stderr
    assert "s3cret" not in done.stderr


@pytest.mark.parametrize("command", [*COMMANDS, ["cluster-check"]], ids=" ".join)
def test_ctrl_c_ends_it_and_what_it_started_without_a_traceback(
    silent: socket.socket, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = f"test-{os.getpid()}-{command[0]}"
    monkeypatch.setenv(processes.MARK, mark)
    process = subprocess.Popen(
        [STUDIO, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    silent.settimeout(60)
    connection, _ = silent.accept()  # the module is at work, and waits
    with connection:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to everything in it
        said, told = process.communicate(timeout=30)
    assert (process.returncode, said, told) == (130, "", "studio: interrupted\n")
    eventually(lambda: processes.marked(mark) == [])


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_what_speaks_no_redis_is_told_without_a_traceback(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("PCS_REDIS_URL", f"redis://:s3cret@127.0.0.1:{server.getsockname()[1]}")
        answering = threading.Thread(target=_answer_as_a_web_server, args=(server,), daemon=True)
        answering.start()
        done = studio(*command)
    assert done.returncode == 3
    assert "does not speak Redis" in done.stderr
    assert "Traceback" not in done.stderr
    assert "s3cret" not in done.stderr


def _answer_as_a_web_server(server: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it is closed at the end of the test
        while True:
            connection, _ = server.accept()
            with connection:
                connection.recv(4_096)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_an_archive_that_is_not_there_is_not_called_whole(tmp_path: Path) -> None:
    done = studio("archive", "verify", "--state-dir", str(tmp_path / "mistyped"), "-o", "json")
    assert (done.returncode, done.stdout) == (2, "")
    assert "nothing has been archived there" in done.stderr
    assert not (tmp_path / "mistyped").exists()


def test_config_show_tells_the_state_directory_that_up_would_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PCS_STATE_DIR", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    done = studio("config", "show", "-o", "ndjson")
    rows = {row["name"]: row["value"] for row in map(json.loads, done.stdout.splitlines())}
    assert rows["PCS_STATE_DIR"] == str(default_state_dir())
