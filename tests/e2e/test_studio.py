"""`studio up`, `status` and `demo` with every real role."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from cli import processes
from cli.sample import SHARES
from tests.support.processes import eventually
from tests.support.studio import STUDIO, Up, studio, studio_up

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

ROLES = ("broker", "api", "merger", "jobs", "archiver", "agent")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with studio_up(tmp_path_factory.mktemp("studio")) as system:
        eventually(lambda: set(system.health().values()) == {"ok"}, within=60, what="every role")
        yield system


def test_every_role_is_listed_with_its_pid_and_is_ok(up: Up) -> None:
    status = up.status()
    assert [role["name"] for role in status["roles"]] == list(ROLES)
    assert {role["health"] for role in status["roles"]} == {"ok"}
    for role in status["roles"]:
        assert Path(f"/proc/{role['pid']}").exists()
        assert Path(role["log"]).exists()
    shown = studio("status", "--state-dir", str(up.state))
    assert shown.returncode == 0
    for name in ROLES:
        assert name in shown.stdout


def test_a_second_one_on_the_same_state_directory_is_refused_with_the_holders_pid(up: Up) -> None:
    second = studio("up", "--port", "0", "--state-dir", str(up.state))
    assert second.returncode == 2
    assert f"pid {up.process.pid} is running on {up.state} already" in second.stderr
    assert up.process.poll() is None


def test_a_taken_port_is_refused_in_words(up: Up, tmp_path: Path) -> None:
    port = str(urlsplit(up.url).port)
    second = studio("up", "--port", port, "--state-dir", str(tmp_path / "other"))
    assert second.returncode == 2
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in second.stderr
    assert "--port" in second.stderr
    assert processes.marked(str(tmp_path / "other")) == []


def test_tokens_are_for_this_user_alone_and_in_no_process_list_or_log(up: Up) -> None:
    assert stat.S_IMODE(up.state.path.stat().st_mode) == 0o700
    assert stat.S_IMODE(up.state.tokens_file.stat().st_mode) == 0o600
    tokens = json.loads(up.state.tokens_file.read_text())
    assert set(tokens) == {"admin", "agent"}
    command_lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in (up.process.pid, *up.pids().values())]
    logs = [log.read_bytes() for log in up.state.logs.iterdir()]
    for token in tokens.values():
        assert not [text for text in (*command_lines, *logs, up.said.encode()) if token.encode() in text]


def test_a_token_is_printed_for_curl(up: Up) -> None:
    tokens = json.loads(up.state.tokens_file.read_text())
    state = ("--state-dir", str(up.state))
    assert studio("token", *state).stdout == f"{tokens['admin']}\n"
    assert studio("token", "agent", "--header", *state).stdout == f"Authorization: Bearer {tokens['agent']}\n"


@pytest.mark.parametrize("role", ROLES)
def test_a_role_that_is_killed_comes_back_and_everything_is_ok_again(up: Up, role: str) -> None:
    before = up.pids()
    victim = before[role]
    assert victim is not None
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: up.pids()[role] not in {None, victim}, within=30, what=f"another {role}")
    eventually(lambda: set(up.health().values()) == {"ok"}, within=60, what="every role")
    others = {name: pid for name, pid in up.pids().items() if name != role}
    assert others == {name: pid for name, pid in before.items() if name != role}


def test_ctrl_c_stops_every_child_and_leaves_none(tmp_path: Path) -> None:
    with studio_up(tmp_path) as system:
        children = {*system.left(), *system.pids().values()}
        port = urlsplit(system.url).port
        assert len(children) >= len(ROLES)
        assert None not in children
        assert system.stop(signal.SIGINT) == 0
        said = [line for line in system.said.splitlines() if "stopp" in line]
        assert said == [
            "studio: stopping agent", "studio: stopping merger, jobs, archiver", "studio: stopping api",
            "studio: stopping broker", "studio: stopped",
        ]  # fmt: skip
        assert system.left() == []
        assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
        with socket.socket() as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            free.bind(("127.0.0.1", port))
        assert studio("status", "--state-dir", str(system.state)).returncode == 3


def test_kill_9_of_the_supervisor_leaves_nothing_and_the_next_start_has_the_data(tmp_path: Path) -> None:
    with studio_up(tmp_path, "--no-agent") as first:
        tokens = first.state.tokens_file.read_text()
        children = {pid: processes.born(pid) for pid in first.pids().values() if pid is not None}
        first.process.kill()
        first.process.wait()
        eventually(
            lambda: first.left() == [] and not any(processes.is_alive(pid, born) for pid, born in children.items()),
            within=30,
            what="the end of every role",
        )
    with studio_up(tmp_path, "--no-agent") as second:
        assert second.state.tokens_file.read_text() == tokens
        assert set(second.health()) == set(ROLES) - {"agent"}
        assert second.stop(signal.SIGTERM) == 0
        assert second.left() == []


def test_a_role_that_cannot_come_up_is_shown_with_the_end_of_its_log(tmp_path: Path) -> None:
    command = [STUDIO, "up", "--port", "0", "--no-agent", "--state-dir", str(tmp_path / "state")]
    environment = {**os.environ, "PCS_METRICS_OPEN_TO": "nowhere"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert "api did not come up: it ended" in done.stderr
    assert "PCS_METRICS_OPEN_TO" in done.stderr
    assert processes.marked(str(tmp_path / "state")) == []


def test_the_demo_shows_where_the_sample_programs_time_goes(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [STUDIO, "demo", "--once", "--json", "--duration", "8"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert list(report) == [
        "request_id", "command_id", "status", "samples", "hot_functions", "flamegraph", "submit_to_running_ms",
        "submit_to_completed_ms",
    ]  # fmt: skip
    assert report["status"] == "completed"
    assert report["samples"] > 200
    busiest = max(SHARES, key=lambda name: SHARES[name])
    assert next(iter(report["hot_functions"])) == busiest
    for name, truth in SHARES.items():
        assert abs(report["hot_functions"][name] - truth) < 0.10, report
    assert 0 < report["submit_to_running_ms"] < report["submit_to_completed_ms"]
    flamegraph = Path(report["flamegraph"])
    assert "<html" in flamegraph.read_text().lower()
    (state,) = tmp_path.glob("performance-studio-demo-*")
    assert [entry.name for entry in state.iterdir()] == ["profiles"], "only what was asked for stays"
    assert processes.marked(str(state)) == []


def test_a_demo_that_is_interrupted_stops_everything(tmp_path: Path) -> None:
    state = tmp_path / "state"
    command = [STUDIO, "demo", "--once", "--duration", "600", "--state-dir", str(state)]
    with (tmp_path / "out").open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        eventually(lambda: "profiling: running" in (tmp_path / "out").read_text(), within=90, what="the run")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    finally:
        process.kill()
        process.wait()
    assert processes.marked(str(state)) == []


def test_the_bootstrap_becomes_the_command(up: Up) -> None:
    script = Path(__file__).parents[2] / "studio.py"
    if not (script.parent / ".venv" / ".studio.json").exists():
        pytest.skip("studio.py has not prepared this clone, and would go to the package index now")
    done = subprocess.run(
        [sys.executable, str(script), "status", "--state-dir", str(up.state), "--json"],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["url"] == up.url
