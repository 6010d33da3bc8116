"""How long a request for a fleet takes until every host's command is pending, and its cancel until none is left.

The real system: API, workers and an rq worker as processes of their own on one broker, asked over HTTP on loopback.
What is timed is what is stored: `pending` on every host's command, and what readers are shown by the API.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final

import httpx
import redis

from bench import stage
from broker import keys
from broker.keys import Place, place
from broker.settings import BrokerSettings
from cli.roles import STREAM_ROLES
from protocol.names import HostKey

SERVICE: Final = "bench"
PATIENCE_SECONDS: Final = 120.0


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(prog="bench/fan_out.py", description=__doc__)
    parser.add_argument("--hosts", type=int, default=10_000, help="hosts of the request, at most 100,000")
    parser.add_argument("--port", type=int, default=18_473, help="where the API listens on loopback")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    with ExitStack() as stack:
        settings = stack.enter_context(stage.own_broker())
        api = ("-m", "api", "--host", "127.0.0.1", "--port", str(asked.port))
        workers = ("-m", "workers", *STREAM_ROLES)
        for argv in (api, workers, ("-m", "workers", "jobs")):
            stack.enter_context(stage.process(*argv, state_dir=settings.state_dir))
        found = measure(settings, f"http://127.0.0.1:{asked.port}", asked.hosts)
        found["machine"] = stage.machine(settings)
    if asked.json:
        print(json.dumps(found))
        return
    print("\n".join(stage.told(found["machine"])))
    for name in ("answered_s", "pending_s", "shown_s", "cancel_answered_s", "none_open_s"):
        print(f"{name:<18} {found[name]:8.2f}")


def measure(settings: BrokerSettings, url: str, hosts: int) -> dict[str, Any]:
    """Submit for so many hosts, wait, cancel, wait. Seconds, each from the answer that it follows, but the answers."""
    names = [f"host-{number:06}.fleet.example" for number in range(hosts)]
    places = [place(HostKey("default", SERVICE, name), settings.partitions) for name in names]
    with httpx.Client(base_url=url, timeout=60) as client, redis.Redis.from_url(settings.url) as broker:
        until(lambda: is_ready(client), "the system to be ready")
        token = json.loads((settings.state_dir / "tokens.json").read_text())["admin"]
        client.headers["Authorization"] = f"Bearer {token}"
        began = time.monotonic()
        answer = client.post(
            "/api/metrics/profile_request", json={"service_name": SERVICE, "target_hostnames": names, "duration": 60}
        )
        answer.raise_for_status()
        request = f"/api/v1/requests/{answer.json()['request_id']}"
        answered = time.monotonic()
        # Whoever has a command has a deadline, by the same script: counting those costs the server next to nothing.
        until(lambda: with_deadline(broker, settings) == hosts, "every command to be pending")
        pending = time.monotonic()
        if (found := standing(broker, places)) != {"pending": hosts}:
            raise SystemExit(f"not every command is pending: {dict(found)}")
        until(lambda: counts(client, request) == {"pending": hosts}, "the status to show it")
        shown = time.monotonic()
        client.delete(request).raise_for_status()
        cancelled = time.monotonic()
        until(lambda: with_deadline(broker, settings) == 0, "none to be left")
        gone = time.monotonic()
        if (found := standing(broker, places)) != {"cancelled": hosts}:
            raise SystemExit(f"not every command is gone: {dict(found)}")
        until(lambda: counts(client, request) == {"cancelled": hosts}, "the status to show it")
    return {
        "hosts": hosts,
        "answered_s": answered - began,
        "pending_s": pending - answered,
        "shown_s": shown - answered,
        "cancel_answered_s": cancelled - shown,
        "none_open_s": gone - cancelled,
    }


def is_ready(client: httpx.Client) -> bool:
    """Whether every role is at work."""
    try:
        return bool(client.get("/readyz").json()["status"] == "ready")
    except httpx.TransportError:
        return False


def with_deadline(broker: redis.Redis, settings: BrokerSettings) -> int:
    """How many hosts have a clock running."""
    with broker.pipeline(transaction=False) as pipe:
        for partition in range(settings.partitions):
            pipe.zcard(keys.deadlines(partition))
        return sum(pipe.execute())


def standing(broker: redis.Redis, places: list[Place]) -> Counter[str]:
    """How many commands stand where."""
    with broker.pipeline(transaction=False) as pipe:
        for at in places:
            pipe.hget(keys.command(at), "state")
        return Counter((state or b"none").decode() for state in pipe.execute())


def counts(client: httpx.Client, request: str) -> dict[str, int]:
    """How many hosts stand where, as readers are shown."""
    shown: dict[str, int] = client.get(request, params={"limit": 0}).raise_for_status().json()["counts"]
    return shown


def until(there: Callable[[], bool], what: str) -> None:
    """Wait for something."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not there():
        if time.monotonic() > end:
            raise SystemExit(f"waited {PATIENCE_SECONDS:.0f} s for {what}")
        time.sleep(0.02)


if __name__ == "__main__":
    main()
