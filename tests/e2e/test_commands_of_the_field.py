"""The commands that the field's documentation shows, run as they stand, flag for flag, against a real Studio.

They name ports (`localhost:8000`) and folders (`/opt/gprofiler`, `/tmp/profiles`): a private host has them. Those that
would go on for minutes are interrupted once they have shown that they work.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.agents import busy_python
from tests.support.executable import BUILT, executable
from tests.support.private_host import PrivateHost, private_host
from tests.support.processes import ROOT, eventually
from tests.support.targets import is_sampled
from tests.support.tools import needs, needs_root

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.needs_root,
    pytest.mark.timeout(400),
    needs_root,
    needs("unshare", "nsenter", "curl", "objcopy", "perf"),
]

SET_VARIABLES: Final = """
export GPROFILER_TOKEN="my_token"
export GPROFILER_SERVICE="your-service-name"
export GPROFILER_SERVER="http://localhost:8080"
"""

SUBMIT_START: Final = """
curl -X POST http://localhost:8000/api/metrics/profile_request \\
  -H "Content-Type: application/json" \\
  -d '{
    "service_name": "web-service",
    "command_type": "start",
    "duration": 120,
    "frequency": 11,
    "profiling_mode": "cpu",
    "target_hostnames": ["web-01", "web-02"]
  }'
"""

SUBMIT_STOP: Final = """
curl -X POST http://localhost:8000/api/metrics/profile_request \\
  -H "Content-Type: application/json" \\
  -d '{
    "service_name": "web-service",
    "command_type": "stop",
    "stop_level": "host",
    "target_hostnames": ["web-01"]
  }'
"""

BASIC: Final = """
python gprofiler/main.py \\
  --enable-heartbeat-server \\
  --upload-results \\
  --token "your-token" \\
  --service-name "web-service" \\
  --api-server "http://performance-studio:8000" \\
  --heartbeat-interval 30 \\
  --output-dir /tmp/profiles \\
  --verbose
"""

PRODUCTION: Final = """
/opt/gprofiler/gprofiler \\
  -u \\
  --token=$GPROFILER_TOKEN \\
  --service-name=$GPROFILER_SERVICE \\
  --server-host $GPROFILER_SERVER \\
  --dont-send-logs \\
  --server-upload-timeout 10 \\
  -c \\
  --disable-metrics-collection \\
  --java-safemode= \\
  -d 60 \\
  --java-no-version-check
"""

PRODUCTION_STYLE: Final = PRODUCTION.replace("/opt/gprofiler/gprofiler", "sudo ./build/x86_64/gprofiler")

HEARTBEATS: Final = """
sudo ./build/x86_64/gprofiler \\
  --enable-heartbeat-server \\
  --upload-results \\
  --token=$GPROFILER_TOKEN \\
  --service-name=$GPROFILER_SERVICE \\
  --api-server=$GPROFILER_SERVER \\
  --server-host=$GPROFILER_SERVER \\
  --heartbeat-interval 30 \\
  --output-dir /tmp/profiles \\
  --dont-send-logs \\
  --server-upload-timeout 10 \\
  --disable-metrics-collection \\
  --java-safemode= \\
  --java-no-version-check \\
  --verbose
"""

MAKE_EXECUTABLE: Final = "chmod +x build/x86_64/gprofiler"
ONCE: Final = (
    ("sudo ./build/x86_64/gprofiler -o /tmp/gprofiler-output -d 30", "/tmp/gprofiler-output"),
    ("sudo ./build/x86_64/gprofiler -o /tmp/results -d 30", "/tmp/results"),
    ("sudo python3 -m gprofiler -o /tmp/from-source -d 30", "/tmp/from-source"),
)


class Studio:
    """A Studio on the private host, without authentication, on the ports that the commands name."""

    def __init__(self, host: PrivateHost, logs: Path) -> None:
        self.host = host
        self.logs = logs

    def get(self, path: str) -> Any:
        done = self.host.run(f"curl -fsS http://localhost:8000{path}")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def post(self, path: str, body: Any) -> Any:
        done = self.host.run(
            f"curl -fsS http://localhost:8000{path} -H 'Content-Type: application/json' -d '{json.dumps(body)}'"
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return json.loads(done.stdout)

    def is_online(self, service: str) -> bool:
        items = self.get(f"/api/v1/hosts?service_name={service}")["items"]
        return any(item["hostname"] == socket.gethostname() and item["status"] == "online" for item in items)

    def uploaded(self, service: str) -> int:
        """How many profiles of a service the Studio has, of this hour."""
        now = datetime.now(UTC)
        start, end = (f"{now + timedelta(hours=hours):%Y-%m-%dT%H:%M:%SZ}" for hours in (-1, 1))
        return len(self.get(f"/api/v1/profiles?service={service}\\&start={start}\\&end={end}")["items"])

    def profile(self, service: str, **asked: Any) -> dict[str, Any]:
        """Ask for a profile of this host and wait for its end."""
        body = {"service_name": service, "target_hostnames": [socket.gethostname()], "duration": 2, **asked}
        request = self.post("/api/metrics/profile_request", body)["request_id"]

        def ended() -> dict[str, Any] | None:
            shown: dict[str, Any] = self.get(f"/api/v1/requests/{request}")["hosts"][0]
            return shown if shown["status"] in {"completed", "failed"} else None

        eventually(ended, within=60, what=f"the end of {request}")
        return ended() or {}


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    logs = tmp_path_factory.mktemp("commands")
    path = f"/tmp/bin:{Path(sys.executable).parent}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    env = {"PCS_LIMITS": "off", "PCS_STATE_DIR": "/tmp/studio", "PYTHONPATH": str(ROOT), "PCS_HEARTBEAT_INTERVAL": "30"}
    with private_host(path=path, names="localhost performance-studio", env=env) as host:
        assert host.run("mkdir -m 700 /tmp/studio && mkdir /tmp/bin /opt/gprofiler").returncode == 0
        sudo = host.file("/tmp/bin/sudo")
        sudo.write_text('#!/bin/sh\nexec "$@"\n')  # who runs these tests is root already
        sudo.chmod(0o755)
        roles = (
            "python -m broker.embedded --state-dir /tmp/studio",
            "python -m workers merger recoverer projector janitor dispatcher pacer greeter scheduler",
            "python -m workers jobs",
            "python -m api --port 8000 --insecure-no-auth",
            "python -m api --port 8080 --insecure-no-auth",
            "python -m api --port 8001",
        )
        started = [host.running(f"exec {role}", log=logs / f"role-{number}.log") for number, role in enumerate(roles)]
        processes = [one.__enter__() for one in started]
        try:
            for port in (8000, 8080, 8001):
                wait = f"until curl -fsS http://localhost:{port}/readyz; do sleep 0.2; done"
                assert host.run(wait, within=150).returncode == 0, "six processes start at once"
            yield Studio(host, logs)
        finally:
            for process in reversed(processes):
                process.terminate()
                process.wait(60)
            for one in reversed(started):
                one.__exit__(None, None, None)


@pytest.fixture(scope="module")
def hot(built: Path) -> Iterator[int]:
    """A program to see; not before there is something that looks, as it takes a whole core."""
    with busy_python(niceness=0) as (pid,):
        yield pid


@pytest.fixture(scope="module")
def built(studio: Studio) -> Path:
    """What `./scripts/build_x86_64_executable.sh --fast` built, also where production has it."""
    program = executable()
    studio.host.file("/opt/gprofiler/gprofiler").write_bytes(program.read_bytes())
    studio.host.file("/opt/gprofiler/gprofiler").chmod(0o755)
    return program


def interrupt(process: "subprocess.Popen[bytes]") -> int:
    """As Ctrl-C does: every process of the command's group is told."""
    os.killpg(process.pid, signal.SIGINT)
    return process.wait(30)


# Requests by curl -----------------------------------------------------------------------------------------------------


def test_requests_are_submitted_as_shown(studio: Studio) -> None:
    beat = {"ip_address": "192.168.1.100", "hostname": "web-01", "service_name": "web-service", "status": "active"}
    studio.post("/api/metrics/heartbeat", beat)
    submitted = studio.host.run(SUBMIT_START)
    answer = json.loads(submitted.stdout)
    assert answer["success"] is True
    assert {"message", "request_id", "command_id", "estimated_completion_time"} <= set(answer)
    offered: dict[str, Any] = {}

    def comes(command_type: str) -> bool:
        offered.update(studio.post("/api/metrics/heartbeat", {**beat, "last_command_id": offered.get("command_id")}))
        command = offered["profiling_command"]
        return command is not None and command["command_type"] == command_type

    eventually(lambda: comes("start"), what="the start")
    config = offered["profiling_command"]["combined_config"]
    assert (config["duration"], config["frequency"], config["profiling_mode"]) == (120, 11, "cpu")
    assert json.loads(studio.host.run(SUBMIT_STOP).stdout)["success"] is True
    eventually(lambda: comes("stop"), what="the stop")


# The agent ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "service"),
    [(BASIC, "web-service"), (SET_VARIABLES + HEARTBEATS, "your-service-name")],
    ids=["from source", "the executable"],
)
@pytest.mark.usefixtures("built", "hot")
def test_heartbeats_come_and_commands_are_carried_out(studio: Studio, command: str, service: str) -> None:
    log = studio.logs / f"{service}.log"
    with studio.host.running(command, log=log) as agent:
        eventually(lambda: studio.is_online(service), within=60, what=f"a heartbeat; see {log}")
        ended = studio.profile(service)
        assert ended["status"] == "completed", ended
        assert ended["samples"] > 0
        page = studio.host.file("/tmp/profiles/last_flamegraph.html")
        assert page.exists()
        assert "hot_loop" in page.read_text()
        assert interrupt(agent) == 0, log.read_text()
    said = log.read_text()
    assert not {"my_token", "your-token"} & set(said.replace('"', " ").split())
    assert studio.host.file("/tmp/gprofiler-heartbeat.log").exists()
    studio.host.run("rm -rf /tmp/profiles")


@pytest.mark.parametrize("command", [PRODUCTION, PRODUCTION_STYLE], ids=["/opt/gprofiler", "sudo"])
def test_continuous_profiling_for_a_server_uploads_what_it_sampled(studio: Studio, hot: int, command: str) -> None:
    log = studio.logs / "production.log"
    profiles = "/var/lib/gprofiler/profiles"
    before = studio.uploaded("your-service-name")
    studio.host.run(f"rm -rf {profiles}")
    with studio.host.running(SET_VARIABLES + command, log=log) as agent:
        eventually(lambda: is_sampled(hot, by=agent.pid), within=100, what=f"sampling; see {log}")
        interrupt(agent)
    said = log.read_text()
    assert studio.host.file(f"{profiles}/last_profile.col").exists(), said
    assert "hot_loop" in studio.host.file(f"{profiles}/last_profile.col").read_text()
    eventually(lambda: studio.uploaded("your-service-name") > before, within=30, what=f"the upload; it said {said}")
    for flag in ("--dont-send-logs", "--disable-metrics-collection"):
        assert f"{flag} has no effect" in said
    assert "my_token" not in said


@pytest.mark.parametrize(("command", "folder"), ONCE)
def test_one_profile_is_taken(studio: Studio, hot: int, command: str, folder: str) -> None:
    assert studio.host.run(MAKE_EXECUTABLE).returncode == 0
    log = studio.logs / "once.log"
    with studio.host.running(command, log=log) as agent:
        eventually(lambda: is_sampled(hot, by=agent.pid), within=100, what=f"sampling; see {log}")
        interrupt(agent)
    said = log.read_text()
    assert f"{folder}/last_flamegraph.html" in said
    assert "hot_loop" in studio.host.file(f"{folder}/last_flamegraph.html").read_text()


# The test scripts -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("hot")
def test_the_test_agent_runs_as_shown(studio: Studio) -> None:
    log = studio.logs / "scripts.log"
    with studio.host.running("exec python run_heartbeat_agent.py", cwd=ROOT / "tests", log=log) as agent:
        eventually(lambda: studio.is_online("test-service"), within=60, what=f"the test agent; see {log}")
        assert studio.profile("test-service")["status"] == "completed"
        agent.send_signal(signal.SIGINT)
        agent.wait(30)
    assert agent.returncode == 0, log.read_text()
    assert "1 commands ended" in log.read_text()


def test_the_test_of_the_whole_flow_runs_as_shown(studio: Studio) -> None:
    """Against a Studio that asks for tokens, as one of its steps is that strangers are turned away."""
    tokens = json.loads(studio.host.file("/tmp/studio/tokens.json").read_text())
    variables = f"export GPROFILER_SERVER=http://localhost:8001 STUDIO_TOKEN={tokens['admin']}; "
    told = studio.host.run(variables + "python test_heartbeat_system.py", cwd=ROOT / "tests", within=120)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "ok      two starts arrive as one command" in told.stdout


# Building -------------------------------------------------------------------------------------------------------------


def test_the_image_is_asked_of_docker(studio: Studio) -> None:
    docker = studio.host.file("/tmp/bin/docker")
    docker.write_text('#!/bin/sh\necho "docker $@"\n')  # a stand-in: no engine can be had where these tests run
    docker.chmod(0o755)
    done = studio.host.run("./scripts/build_x86_64_container.sh -t gprofiler")
    docker.unlink()
    assert done.returncode == 0
    assert done.stdout == "docker build --platform linux/amd64 --target agent --build-arg EXTRA=agent -t gprofiler .\n"


def test_without_an_engine_that_is_said(studio: Studio) -> None:
    done = studio.host.run("PATH=/tmp/bin:/usr/bin:/bin ./scripts/build_x86_64_container.sh -t gprofiler")
    assert done.returncode == 1
    assert "no container engine answers" in done.stderr
    assert "build_x86_64_executable.sh" in done.stderr


def test_requirements_and_resources_make_a_run_from_source(tmp_path: Path) -> None:
    """In a Python of its own, with the machine's network."""
    import studio as bootstrap  # noqa: PLC0415 - the file in the root, needed here alone

    uv = bootstrap.find_uv(dict(os.environ))
    assert uv is not None
    environment = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONPATH"}}
    subprocess.run([uv, "venv", "--quiet", "--seed", tmp_path / "env"], check=True, env=environment, timeout=120)
    environment["PATH"] = f"{tmp_path / 'env' / 'bin'}:{os.environ['PATH']}"
    for command in (
        "pip3 install -r requirements.txt",
        "./scripts/copy_resources_from_image.sh",
        "python3 -m gprofiler --version",
    ):
        done = subprocess.run(
            ["bash", "-euc", command],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert os.access(ROOT / "gprofiler" / "resources" / "py-spy", os.X_OK)
    assert BUILT.parts[-3:] == ("build", BUILT.parent.name, "gprofiler")
