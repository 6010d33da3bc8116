"""Commands that the broker's own modules carry out, as a person runs them: without a broker, and cut short."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator

import pytest

from cli import processes
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
