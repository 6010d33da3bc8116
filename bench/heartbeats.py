"""Heartbeats per second of one real API process, next to a constant answer on the same server in the same run.

    .venv/bin/python bench/heartbeats.py

It starts a broker of its own, one `python -m api` (authentication and validation on) and bench/constant.py, and lets a
load process (bench/load.py) beat for some hosts over some connections: one after the other, in rounds, as a machine is
never quite the same twice. Every answer must be a 200. Nothing of it stays behind.
"""

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
import redis

from broker.settings import BrokerSettings

ROOT: Final = Path(__file__).parents[1]
PACKAGES: Final = ("uvicorn", "uvloop", "httptools", "fastapi", "starlette", "pydantic", "redis", "hiredis")
PATIENCE_SECONDS: Final = 60
SUBJECTS: Final = ("constant", "api")


@contextlib.contextmanager
def process(*argv: str, state_dir: Path) -> Iterator[psutil.Process]:
    """One of our processes, ended on the way out; what it says goes to a file, shown when it ends early."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PCS_STATE_DIR": str(state_dir)}
    env.pop("PCS_REDIS_URL", None)
    log = state_dir / f"{Path(argv[-1]).name}.log"
    with log.open("wb") as output:
        child = subprocess.Popen([sys.executable, *argv], env=env, cwd=ROOT, stdout=output, stderr=output)
    try:
        yield psutil.Process(child.pid)
        if child.poll() is not None:
            raise SystemExit(f"{' '.join(argv)} ended early:\n{log.read_text(errors='replace')[-2000:]}")
    finally:
        child.terminate()
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until_answers(url: str) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url, trust_env=False).status_code == 200:
                return
        time.sleep(0.1)
    raise SystemExit(f"{url} did not answer within {PATIENCE_SECONDS} s")


def beat(port: int, token: str, server: psutil.Process, given: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """One round of load on one server; with the share of a core that the server took."""
    plan = {
        "port": port, "token": token, "connections": given.connections, "hosts": given.hosts, "seconds": seconds,
        "most": given.most,
    }  # fmt: skip
    before = server.cpu_times()
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench" / "load.py")], input=json.dumps(plan), capture_output=True, text=True,
        timeout=seconds + PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise SystemExit(f"the load ended with {done.returncode}:\n{done.stderr}")
    after = server.cpu_times()
    measured: dict[str, Any] = json.loads(done.stdout)
    if measured["other_answers"]:
        raise SystemExit(f"not every answer was a 200: {measured['other_answers']}")
    busy = after.user + after.system - before.user - before.system
    return measured | {"server_cpu": busy / measured["seconds"]}


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Both servers, side by side, in rounds."""
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in SUBJECTS}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, contextlib.ExitStack() as stack:
        state_dir = Path(folder)
        ports = {name: free_port() for name in SUBJECTS}
        stack.enter_context(process("-m", "broker.embedded", "--state-dir", folder, state_dir=state_dir))
        servers = {
            "api": stack.enter_context(process("-m", "api", "--port", str(ports["api"]), state_dir=state_dir)),
            "constant": stack.enter_context(
                process(str(ROOT / "bench" / "constant.py"), "--port", str(ports["constant"]), state_dir=state_dir)
            ),
        }
        for name, path in (("api", "/readyz"), ("constant", "/")):
            wait_until_answers(f"http://127.0.0.1:{ports[name]}{path}")
        token = json.loads((state_dir / "tokens.json").read_text())["agent"]
        for name in SUBJECTS:
            beat(ports[name], token, servers[name], given, min(1.0, given.seconds))
        for _ in range(given.rounds):
            for name in SUBJECTS:
                rounds[name].append(beat(ports[name], token, servers[name], given, given.seconds))
        setting = machine(state_dir)
    results = {name: median_of(measured) for name, measured in rounds.items()}
    return {
        "machine": setting,
        "load": {name: getattr(given, name) for name in ("connections", "hosts", "rounds", "seconds", "most")},
        **results,
        "ratio": results["api"]["per_second"] / results["constant"]["per_second"],
    }


def median_of(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The median of each number over the rounds, and the rate of each round."""
    return {
        "per_second": statistics.median(one["per_second"] for one in rounds),
        "ms": {name: statistics.median(one["ms"][name] for one in rounds) for name in rounds[0]["ms"]},
        "server_cpu": statistics.median(one["server_cpu"] for one in rounds),
        "answers": sum(one["answers"] for one in rounds),
        "per_second_of_each_round": [round(one["per_second"]) for one in rounds],
    }


def machine(state_dir: Path) -> dict[str, Any]:
    """Where and on what this was measured."""
    with redis.Redis.from_url(BrokerSettings(state_dir=state_dir, redis_url=None).url) as client:
        facts: dict[str, Any] = client.info("server")
    name = "valkey" if "valkey_version" in facts else "redis"
    cpu = next((line.partition(":")[2].strip() for line in cpuinfo() if line.startswith("model name")), "unknown")
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "broker": f"{name} {facts[f'{name}_version']}",
        "packages": {package: importlib.metadata.version(package) for package in PACKAGES},
    }


def cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def told(measured: dict[str, Any]) -> str:
    """For people."""
    setting, load = measured["machine"], measured["load"]
    packages = ", ".join(f"{name} {version}" for name, version in setting["packages"].items())
    lines = [
        f"{setting['cpu']}, {setting['cores']} cores, load {setting['load_average']:.1f}, {setting['system']}",
        f"Python {setting['python']}, {setting['broker']}, {packages}",
        f"{load['connections']} connections, {load['hosts']} hosts, median of {load['rounds']} x {load['seconds']:g} s",
        "",
        f"{'':10}{'beats/s':>10}{'p50 ms':>10}{'p90 ms':>10}{'p99 ms':>10}{'max ms':>10}{'server CPU':>12}",
    ]
    for name in SUBJECTS:
        one = measured[name]
        times = "".join(f"{one['ms'][share]:>10.2f}" for share in ("p50", "p90", "p99", "max"))
        lines.append(f"{name:10}{one['per_second']:>10,.0f}{times}{one['server_cpu']:>12.0%}")
    return "\n".join([*lines, "", f"the API serves {measured['ratio']:.1%} of what a constant answer does"])


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=64, help="default: %(default)s")
    parser.add_argument("--hosts", type=int, default=1_000, help="distinct hosts (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of each server, in turn (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each round (default: %(default)s)")
    parser.add_argument("--most", type=int, default=1_000_000, help="heartbeats of a round (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    given = parser.parse_args(arguments)
    if min(given.connections, given.hosts, given.rounds, given.seconds, given.most) <= 0:
        parser.error("every number must be positive")
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    given = options(arguments)
    measured = run(given)
    print(json.dumps(measured, indent=2) if given.json else told(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
