"""The real agent against a server that knows only what the source text shows."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.agents import GPROFILER, busy_python
from tests.support.processes import Role, eventually, started
from tests.support.source_text_server import COMPLETION, HEARTBEAT, SourceTextServer, fault_of

BEAT = {
    "ip_address": "192.168.1.100", "hostname": "worker-01", "service_name": "my-service", "last_command_id": "cmd-uuid",
    "status": "active", "timestamp": "2025-01-08T11:00:00Z",
}  # fmt: skip
DONE = {
    "command_id": "cmd-uuid", "hostname": "worker-01", "status": "completed", "execution_time": 65,
    "error_message": None, "results_path": "s3://bucket/path/to/results",
}  # fmt: skip


def test_start_and_stop_work_without_anything_that_came_later(tmp_path: Path) -> None:
    with SourceTextServer() as server, busy_python() as pids:
        argv = [
            GPROFILER, "--enable-heartbeat-server", "--upload-results", "--token", "t", "--service-name", "web-service",
            "--hostname", "worker-01", "--api-server", server.url, "--heartbeat-interval", "1", "--output-dir",
            str(tmp_path / "profiles"), "--state-dir", str(tmp_path / "state"), "--heartbeat-log",
            str(tmp_path / "beats.log"), "--verbose",
        ]  # fmt: skip
        with started(Role("agent", argv, env={"NO_PROXY": "127.0.0.1"}, log=tmp_path / "agent.log")) as agent:
            config = {"duration": 2, "frequency": 11, "profiling_mode": "cpu", "pids": pids}
            server.offer("cmd-1", {"command_type": "start", "combined_config": config})
            eventually(lambda: server.completions, within=60, what="the first run's end")
            server.offer("cmd-2", {"command_type": "start", "combined_config": {**config, "duration": 60}})
            eventually(lambda: _runs(server, "cmd-2"), within=60, what="the second run")
            server.offer("cmd-3", {"command_type": "stop"})
            eventually(lambda: len(server.completions) >= 3, within=60, what="the stop")
            eventually(lambda: server.offered is None, within=30, what="the stop's ack")
            assert agent.stop() == 0
    ends = {told["command_id"]: told for told in server.completions}
    assert {command_id: told["status"] for command_id, told in ends.items()} == dict.fromkeys(ends, "completed")
    assert set(ends) == {"cmd-1", "cmd-2", "cmd-3"}
    assert len(server.completions) == 3
    assert ends["cmd-1"]["execution_time"] >= 2
    for command_id in ("cmd-1", "cmd-2"):
        assert Path(ends[command_id]["results_path"]).exists()
        assert ends[command_id].get("error_message") is None, "it takes no profiles, which is no fault of the run"
    assert all("execution_time" in refusal for refusal in server.refused), "fractions of a second, sent again as whole"


def _runs(server: SourceTextServer, command_id: str) -> bool:
    return any(beat.get("last_command_id") == command_id and beat["status"] == "running" for beat in server.beats)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (HEARTBEAT, {**BEAT, "ip_address": None}),
        (HEARTBEAT, {name: value for name, value in BEAT.items() if name != "timestamp"}),
        (COMPLETION, {**DONE, "execution_time": 65.5}),
        (COMPLETION, {**DONE, "execution_time": True}),
        (COMPLETION, {**DONE, "status": "done"}),
        (COMPLETION, []),
    ],
)
def test_the_server_of_this_test_refuses_what_the_text_does_not_show(path: str, body: Any) -> None:
    assert fault_of(path, body) is not None
    assert fault_of(HEARTBEAT, {**BEAT, "capabilities": {}}) is None
    assert fault_of(COMPLETION, DONE) is None
