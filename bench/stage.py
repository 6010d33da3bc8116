"""What every benchmark needs: processes that end with it, a broker of its own, and the facts of the machine."""

import contextlib
import importlib.metadata
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psutil
import redis

from broker.settings import BrokerSettings

ROOT: Final = Path(__file__).parents[1]
PACKAGES: Final = ("uvicorn", "uvloop", "httptools", "fastapi", "starlette", "pydantic", "redis", "hiredis")
PATIENCE_SECONDS: Final = 60


@contextlib.contextmanager
def process(*argv: str, state_dir: Path) -> Iterator[psutil.Process]:
    """One of our processes, ended on the way out; what it says goes to a file, shown when it ends early."""
    env = {"PCS_LIMITS": "large", **os.environ, "PYTHONPATH": str(ROOT), "PCS_STATE_DIR": str(state_dir)}
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


@contextlib.contextmanager
def own_broker(*, fsync: str = "always") -> Iterator[BrokerSettings]:
    """A broker as `studio up` starts it, on a socket and data of its own, gone at the end of the block."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        state_dir = Path(folder)
        settings = BrokerSettings(state_dir=state_dir, redis_url=None)
        argv = ("-m", "broker.embedded", "--fsync", fsync, "--state-dir", folder)
        with process(*argv, state_dir=state_dir):
            wait_for(settings)
            yield settings


def wait_for(settings: BrokerSettings) -> None:
    """Until the broker answers."""
    end = time.monotonic() + PATIENCE_SECONDS
    with redis.Redis.from_url(settings.url) as client:
        while time.monotonic() < end:
            with contextlib.suppress(redis.exceptions.ConnectionError):
                client.ping()
                return
            time.sleep(0.05)
    raise SystemExit(f"the broker did not answer within {PATIENCE_SECONDS} s")


def machine(settings: BrokerSettings) -> dict[str, Any]:
    """Where and on what this was measured."""
    with redis.Redis.from_url(settings.url) as client:
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


def told(setting: dict[str, Any]) -> list[str]:
    """The machine, for people, in two lines."""
    packages = ", ".join(f"{name} {version}" for name, version in setting["packages"].items())
    return [
        f"{setting['cpu']}, {setting['cores']} cores, load {setting['load_average']:.1f}, {setting['system']}",
        f"Python {setting['python']}, {setting['broker']}, {packages}",
    ]
