import json
import os
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from cli import processes
from cli.client import StudioClient
from cli.main import main
from cli.state import RunningRole, RunningSystem, StateDir
from cli.status import examine, table

Checks = Mapping[str, Mapping[str, object]]

GOOD: Checks = {
    "broker": {"ok": True, "detail": "answers"},
    "merger": {"ok": True, "detail": "1 at work"},
    "projector": {"ok": True, "detail": "1 at work"},
    "jobs": {"ok": True, "detail": "1 at work"},
}


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    made = StateDir(tmp_path / "state")
    made.make()
    made.tokens_file.write_text('{"admin": "a", "agent": "b"}')
    return made


def record(**restarts: int) -> RunningSystem:
    """A system whose every role is this very process."""
    own, born = os.getpid(), processes.born(os.getpid())
    roles = [
        RunningRole(name, own, born, restarts.get(name, 0)) for name in ("broker", "api", "merger", "jobs", "agent")
    ]
    return RunningSystem(pid=own, born=born, url="http://127.0.0.1:1", roles=roles)


def answering(monkeypatch: pytest.MonkeyPatch, checks: Checks, *, online: int = 1) -> None:
    """Make `status` meet an API that says this."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/readyz":
            ready = all(check["ok"] for check in checks.values())
            return httpx.Response(200, json={"status": "ready" if ready else "degraded", "checks": checks})
        row = {"service_name": "s", "hostname": "h", "status": "online" if online else "stale"}
        return httpx.Response(200, json={"items": [row]})

    def connect(url: str, token: str | None) -> StudioClient:
        return StudioClient(url, token, transport=httpx.MockTransport(answer))

    monkeypatch.setattr("cli.client.StudioClient", connect)


def health(state: StateDir, system: RunningSystem) -> dict[str, str]:
    return {role.name: role.health for role in examine(state, system)}


def test_everything_is_ok_when_the_kernel_and_the_api_say_so(state: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, GOOD)
    assert set(health(state, record()).values()) == {"ok"}


def test_a_role_whose_loop_is_missing_is_failing_and_the_loop_is_named(
    state: StateDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, {**GOOD, "projector": {"ok": False, "detail": "0 at work"}})
    merger = next(role for role in examine(state, record()) if role.name == "merger")
    assert (merger.health, merger.detail) == ("failing", "projector: 0 at work")


def test_an_agent_that_is_not_online_is_failing(state: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, GOOD, online=0)
    assert health(state, record())["agent"] == "failing"


def test_a_pid_that_belongs_to_somebody_else_now_is_down(state: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, GOOD)
    system = record()
    system.roles[0] = RunningRole("broker", os.getpid(), 1, 3, "killed by SIGKILL")
    broker = examine(state, system)[0]
    assert (broker.health, broker.pid, broker.detail) == ("down", None, "last time: killed by SIGKILL")


def test_an_api_that_does_not_answer_is_failing_and_says_why(state: StateDir) -> None:
    api = next(role for role in examine(state, record()) if role.name == "api")
    assert api.health == "failing"
    assert "does not answer" in api.detail


def test_the_table_fits_a_narrow_terminal(state: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, GOOD)
    lines = table(examine(state, record(merger=12))).splitlines()
    assert len(lines) == 6
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_nothing_running_is_exit_code_3(tmp_path: Path, options: list[str]) -> None:
    result = CliRunner().invoke(main, ["status", "--state-dir", str(tmp_path / "none"), *options])
    assert result.exit_code == 3
    assert "nothing is running on" in result.stderr
    assert "studio up" in result.stderr
    if options:
        assert json.loads(result.stdout)["running"] is False
    assert not (tmp_path / "none").exists(), "looking must not make it"


def test_a_record_without_a_supervisor_is_not_running(state: StateDir) -> None:
    state.write_record(record())
    assert CliRunner().invoke(main, ["status", "--state-dir", str(state)]).exit_code == 3


def test_the_whole_state_is_one_json_object(state: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, GOOD)
    state.write_record(record(api=2))
    with state.claim():
        result = CliRunner().invoke(main, ["status", "--state-dir", str(state), "--json"])
    assert result.exit_code == 0
    shown = json.loads(result.stdout)
    assert shown["running"] is True
    api = next(role for role in shown["roles"] if role["name"] == "api")
    assert (api["pid"], api["health"], api["restarts"]) == (os.getpid(), "ok", 2)
