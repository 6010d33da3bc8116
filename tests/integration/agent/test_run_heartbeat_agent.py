import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.support.agents import busy_python, command_line
from tests.support.fake_server import TOKEN, FakeServer, start
from tests.support.processes import ROOT, free_port

SCRIPT = str(ROOT / "tests" / "run_heartbeat_agent.py")


def started(*arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "GPROFILER_TOKEN": TOKEN, "NO_PROXY": "127.0.0.1"}
    return subprocess.Popen(
        [sys.executable, SCRIPT, *arguments], env=environment, stdout=subprocess.PIPE, text=True, cwd="/"
    )


def test_the_script_shows_a_command_from_start_to_end(tmp_path: Path) -> None:
    with FakeServer() as server, busy_python() as pids:
        script = started("--server", server.url, "--hostname", "web-01", "--output-dir", str(tmp_path))
        server.offer("c1", start(pids=pids, duration=1))
        server.completion("c1", within=30)
        script.send_signal(signal.SIGINT)
        told, _ = script.communicate(timeout=60)
    assert script.returncode == 0
    assert server.beats[0].body["service_name"] == "test-service"
    for words in ("the server answers heartbeats", "command received", "run begun", "c1: completed", "interrupted"):
        assert words in told
    assert (tmp_path / "last_flamegraph.html").exists()
    assert TOKEN not in told


def test_the_script_ends_by_itself_and_says_that_nobody_answered() -> None:
    script = started("--server", f"http://127.0.0.1:{free_port()}", "--seconds", "4")
    assert TOKEN not in command_line(script.pid)
    told, _ = script.communicate(timeout=60)
    assert script.returncode == 3
    assert "no heartbeat was answered" in told
