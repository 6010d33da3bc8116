"""`gprofiler doctor` against a real Studio, and against what is none."""

import json
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

from tests.support.agents import GPROFILER
from tests.support.api import Api
from tests.support.processes import free_port


def doctor(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GPROFILER_")}
    return subprocess.run(
        [GPROFILER, "doctor", *arguments], env={**clean, "NO_PROXY": "127.0.0.1", **environment},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def findings(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    assert done.stderr == ""
    return {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}


def test_a_good_host_is_told_so(served: Api, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(served.agent)
    done = doctor(
        "--api-server", served.url, "--service-name", "web", "--token-file", str(tmp_path / "token"), "--json",
        "--state-dir", str(tmp_path / "state"),
    )  # fmt: skip
    found = findings(done)
    for name in ("DNS", "TCP", "HTTP", "clock", "token", "service", "py-spy", "disk", "state dir"):
        assert found[name]["verdict"] == "ok", found[name]
    assert "kind agent" in found["token"]["said"]
    assert found["at the server"]["verdict"] == "note"
    bad = [finding for finding in found.values() if finding["verdict"] == "bad"]
    assert (done.returncode, json.loads(done.stdout)["ok"]) == ((1, False) if bad else (0, True))
    assert served.agent not in done.stdout


def test_an_admins_token_also_tells_how_the_server_sees_this_host(served: Api, tmp_path: Path) -> None:
    host = f"seen-{os.getpid()}"
    arguments = ["--api-server", served.url, "--service-name", "web", "--hostname", host, "--json"]
    found = findings(doctor(*arguments, "--state-dir", str(tmp_path), GPROFILER_TOKEN=served.admin))
    assert f"{host} is not known" in found["at the server"]["said"]
    beat = {"ip_address": "127.0.0.1", "hostname": host, "service_name": "web", "status": "active"}
    served.ok("POST", "/api/metrics/heartbeat", token=served.agent, json=beat)
    found = findings(doctor(*arguments, "--state-dir", str(tmp_path), GPROFILER_TOKEN=served.admin))
    assert f"{host} is online" in found["at the server"]["said"]


def test_a_wrong_token_and_a_wrong_service_are_bad(served: Api, tmp_path: Path) -> None:
    arguments = ["--api-server", served.url, "--state-dir", str(tmp_path), "--json"]
    done = doctor(*arguments, "--service-name", "web", GPROFILER_TOKEN="pcs_wrong-one")
    assert done.returncode == 1
    assert findings(done)["token"]["verdict"] == "bad"
    assert "pcs_wrong-one" not in done.stdout
    token, _ = served.make_token("agent", "shop-*")
    done = doctor(*arguments, "--service-name", "web", "--token", token)
    assert done.returncode == 1
    assert "not among those of the token: shop-*" in findings(done)["service"]["said"]
    assert token not in done.stdout


def test_each_layer_that_is_broken_is_named_in_eighty_columns(tmp_path: Path) -> None:
    def said(address: str) -> str:
        done = doctor("--api-server", address, "--service-name", "web", "--state-dir", str(tmp_path))
        assert done.returncode == 1
        assert max(len(line) for line in done.stdout.splitlines()) <= 80
        return done.stdout

    assert "BAD   DNS" in said("http://no-such-host.invalid:8000")
    assert "BAD   TCP" in said(f"http://127.0.0.1:{free_port()}")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert "BAD   HTTP" in said(f"http://127.0.0.1:{port}")
        assert "BAD   TLS" in said(f"https://127.0.0.1:{port}")
    assert "BAD   server" in doctor("--state-dir", str(tmp_path)).stdout


def test_options_may_stand_before_the_command_and_the_help_is_its_own(served: Api, tmp_path: Path) -> None:
    done = subprocess.run(
        [GPROFILER, "--api-server", served.url, "--service-name", "web", "doctor", "--state-dir", str(tmp_path)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "ok    TCP" in done.stdout
    helped = doctor("--help").stdout
    assert "--json" in helped
    assert "--profiling-duration" not in helped
