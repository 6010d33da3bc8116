"""The whole system as real processes, each of which a test may kill and start again."""

import contextlib
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import redis

from agent.shelf import profiles_of
from broker.settings import BrokerSettings
from protocol.lifecycle import OUTCOMES
from tests.support.processes import ROOT, Role, api_role, broker_role, eventually, free_port, started, worker_role
from tests.support.servers import wait_for_broker


def client() -> httpx.Client:
    """A client for who is killed now and then: with a connection for each call, and no certificates to load."""
    return httpx.Client(verify=False, trust_env=False, timeout=10, limits=httpx.Limits(max_keepalive_connections=0))


@dataclass
class System:
    """Every role by name, and a client of the REST API."""

    state_dir: Path
    url: str
    roles: dict[str, Role]
    tokens: dict[str, str]
    sample_pid: int
    host: str
    service: str
    http: httpx.Client
    _others: list[Role] = field(default_factory=list)

    @property
    def settings(self) -> BrokerSettings:
        return BrokerSettings(state_dir=self.state_dir)

    @property
    def as_admin(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens['admin']}"}

    def submit(self, *, idempotency_key: str | None = None, **asked: Any) -> dict[str, Any]:
        """Submit a request for this host and give its answer; with a key, across whatever is killed meanwhile."""
        body = {"service_name": self.service, "target_hostnames": [self.host], **asked}
        headers = self.as_admin | ({"Idempotency-Key": idempotency_key} if idempotency_key else {})
        answer: dict[str, Any] = {}

        def accepted() -> bool:
            with contextlib.suppress(httpx.TransportError):
                response = self.http.post(f"{self.url}/api/metrics/profile_request", json=body, headers=headers)
                if response.status_code == 503 and idempotency_key is not None:
                    return False
                assert response.status_code == 200, response.text
                answer.update(response.json())
                return True
            assert idempotency_key is not None, "the API went away"
            return False

        eventually(accepted, within=30, what="accepting a request")
        return answer

    def status(self, request_id: str) -> dict[str, Any] | None:
        """A request as the API shows it; None while the API or the broker is away."""
        with contextlib.suppress(httpx.TransportError):
            response = self.http.get(f"{self.url}/api/v1/requests/{request_id}", headers=self.as_admin)
            if response.status_code == 200:
                body: dict[str, Any] = response.json()
                return body
            assert response.status_code == 503, response.text
        return None

    def on_host(self, request_id: str) -> dict[str, Any]:
        """A request's status on our host."""
        status = self.status(request_id)
        assert status is not None
        shown: dict[str, Any] = status["hosts"][0]
        return shown

    def wait_for(self, request_id: str, *states: str, within: float = 30.0) -> dict[str, Any]:
        """Wait until a request stands in one of these states (or any outcome, when none is named)."""
        wanted = set(states) or {outcome.value for outcome in OUTCOMES}

        def there() -> bool:
            status = self.status(request_id)
            return status is not None and status["hosts"][0]["status"] in wanted

        eventually(there, within=within, what=f"{request_id} in {sorted(wanted)}")
        return self.on_host(request_id)

    def page(self, done: dict[str, Any]) -> Path:
        """The flame graph that stays on the host; the completion names what the server has."""
        assert done["results_path"].startswith("/api/v1/profiles/"), done
        files = profiles_of(self.state_dir / "profiles", done["command_id"])
        return max(path for path in files if path.suffix == ".html")

    def told(self) -> Iterator[dict[str, str]]:
        """Every event of a command's life, as the results streams tell it, each stream in order."""
        with redis.Redis.from_url(self.settings.url, decode_responses=True) as client:
            for stream in client.scan_iter("pcs:*:results"):
                for _, fields in client.xrange(stream):
                    yield fields

    def outcomes(self) -> dict[str, list[str]]:
        """Request id -> every outcome that the results streams tell of it, in order."""
        found: dict[str, list[str]] = {}
        for fields in self.told():
            if fields["state"] in OUTCOMES:
                for request_id in fields["request_ids"].split():
                    found.setdefault(request_id, []).append(fields["state"])
        return found

    def wait_for_samples(self, request_id: str, *, within: float = 15.0) -> dict[str, Any]:
        """Wait until the late word of a stopped run's samples has reached the request's status."""
        eventually(lambda: self.on_host(request_id)["samples"] is not None, within=within, what="the kept samples")
        return self.on_host(request_id)

    def get(self, path: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """What a route shows."""
        answer = self.http.get(f"{self.url}{path}", headers=self.as_admin, params=params, timeout=30)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def runs_begun(self) -> Counter[str]:
        """How often each command was begun, by the agent's own log, over all its lives."""
        begun: Counter[str] = Counter()
        for line in self.roles["agent"].lines():
            if line.startswith("{"):
                event = json.loads(line)
                if event.get("event") == "run begun":
                    begun[event["command_id"]] += 1
        return begun

    def start_another_sample(self) -> int:
        """One more process to profile; gives its pid."""
        self._others.append(_sample(self.state_dir))
        return self._others[-1].pid

    def stop_other_samples(self) -> None:
        """End what `start_another_sample` started."""
        for role in self._others:
            role.stop()
        self._others.clear()

    def wait_until_online(self, *, within: float = 30.0) -> None:
        """Wait until the agent beats: that an earlier life of it did not long ago is not enough."""
        asked_at = datetime.now(UTC)

        def online() -> bool:
            with contextlib.suppress(httpx.TransportError):
                page = self.http.get(f"{self.url}/api/v1/hosts", headers=self.as_admin)
                return page.status_code == 200 and any(
                    host["hostname"] == self.host and datetime.fromisoformat(host["last_beat"]) > asked_at
                    for host in page.json()["items"]
                )
            return False

        eventually(online, within=within, what="the agent's first heartbeat")


def agent_role(
    state_dir: Path,
    url: str,
    token: str,
    *,
    service: str,
    host: str,
    home: str = "agent",
    interval: int = 1,
    wait: int | None = None,
) -> Role:
    """A real agent. `home` is its own state directory below the system's; `wait` 0 makes it poll."""
    return Role(
        "agent",
        [
            str(Path(sys.executable).parent / "gprofiler"), "--enable-heartbeat-server", "--upload-results",
            "--service-name", service, "--api-server", url, "--heartbeat-interval", str(interval),
            "--hostname", host, "--output-dir", str(state_dir / "profiles"), "--state-dir", str(state_dir / home),
            "--heartbeat-log", str(state_dir / "heartbeat.log"), "--verbose",
            *(("--wait", str(wait)) if wait is not None else ()),
        ],
        env={"GPROFILER_TOKEN": token},
        log=state_dir / "agent.log",
    )  # fmt: skip


@contextlib.contextmanager
def running_system(
    state_dir: Path, *, service: str = "shop", host: str = "host-1", interval: int = 1, wait: int | None = None,
    workers_of_api: int = 1, env: Mapping[str, str] | None = None,
) -> Iterator[System]:  # fmt: skip
    """Broker, API, workers, one agent and a sample program to profile, until the end of the block.

    `interval` is the pace in seconds that the server sets, `wait` how long the agent lets it hold a heartbeat; `env`
    is the API's beside what a test always gives it.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(started(broker_role(state_dir)))
        wait_for_broker(BrokerSettings(state_dir=state_dir), of=broker)
        workers = stack.enter_context(started(worker_role(state_dir)))
        jobs = stack.enter_context(started(worker_role(state_dir, "jobs")))
        of_the_api = {"PCS_HEARTBEAT_INTERVAL": str(interval), **(env or {})}
        api = stack.enter_context(started(api_role(state_dir, port, env=of_the_api, workers=workers_of_api)))
        http = stack.enter_context(client())
        eventually(lambda: _is_ready(http, url), within=30, what="a ready API", of=api)
        tokens = json.loads((state_dir / "tokens.json").read_text())
        sample = stack.enter_context(started(_sample(state_dir)))
        agent = stack.enter_context(
            started(
                agent_role(state_dir, url, tokens["agent"], service=service, host=host, interval=interval, wait=wait)
            )
        )
        roles = {"broker": broker, "api": api, "merger": workers, "jobs": jobs, "agent": agent, "sample": sample}
        system = System(state_dir, url, roles, tokens, sample.pid, host, service, http)
        stack.callback(system.stop_other_samples)
        system.wait_until_online()
        yield system


def _sample(state_dir: Path) -> Role:
    """It takes a whole core, for nothing most of the time: who has something to do goes first."""
    command = ["nice", "-n", "5", sys.executable, str(ROOT / "cli" / "sample.py")]
    return Role("sample", command, env={}, log=state_dir / "sample.log")


def _is_ready(http: httpx.Client, url: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return http.get(f"{url}/readyz", timeout=5).status_code == 200
    return False
