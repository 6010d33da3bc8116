"""A running API, its broker and its workers as real processes, and what a test says to them over HTTP."""

import contextlib
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import httpx

from broker.settings import BrokerSettings
from protocol.lifecycle import OUTCOMES
from tests.support.processes import Role, api_role, broker_role, eventually, free_port, started, worker_role
from tests.support.servers import wait_for_broker

REQUEST: Final = "/api/metrics/profile_request"
BULK: Final = f"{REQUEST}/bulk"
HEARTBEAT: Final = "/api/metrics/heartbeat"
COMPLETION: Final = "/api/metrics/command_completion"
HOST_STATUS: Final = "/api/metrics/profiling/host_status"
WORKLOAD_STATUS: Final = "/api/metrics/profiling/workload_status"
TOKENS: Final = "/api/v1/tokens"
SCHEDULES: Final = "/api/v1/schedules"
SERVICE: Final = "web"


class Api:
    """One API process and a client that speaks to it. `token` None in a call means: none at all."""

    def __init__(self, role: Role, *, state_dir: Path, port: int) -> None:
        self.role = role
        self.state_dir = state_dir
        self.settings = BrokerSettings(state_dir=state_dir)
        self.url = f"http://127.0.0.1:{port}"
        self.http = httpx.Client(base_url=self.url, timeout=30, trust_env=False, verify=False)
        self.made_tokens: list[str] = []

    @property
    def secrets(self) -> dict[str, str]:
        """The first tokens, by kind."""
        found: dict[str, str] = json.loads((self.state_dir / "tokens.json").read_text())
        return found

    @property
    def admin(self) -> str:
        return self.secrets["admin"]

    @property
    def agent(self) -> str:
        return self.secrets["agent"]

    @property
    def log(self) -> str:
        """Everything this process has said so far."""
        return self.role.log.read_text(errors="replace")

    def call(self, method: str, path: str, *, token: str | None, **given: Any) -> httpx.Response:
        """One HTTP call."""
        headers = {**bearer(token), **given.pop("headers", {})}
        answer = self.http.request(method, path, headers=headers, **given)
        self.http.cookies.clear()  # a sign-in of one call is not that of the next: the client is every test's
        return answer

    def ok(self, method: str, path: str, *, token: str | None, **given: Any) -> Any:
        """One HTTP call that must be answered with 200 or 201; gives the body."""
        answer = self.call(method, path, token=token, **given)
        assert answer.status_code in {200, 201}, answer.text
        return answer.json()

    def submit(self, *hosts: str, token: str | None = None, key: str | None = None, **asked: Any) -> dict[str, Any]:
        """Submit a request, by default for `web`; with no hosts named, `asked` says the targets."""
        body = {"service_name": SERVICE, **({"target_hostnames": list(hosts)} if hosts else {}), **asked}
        headers = {"Idempotency-Key": key} if key else {}
        accepted: dict[str, Any] = self.ok("POST", REQUEST, token=token or self.admin, json=body, headers=headers)
        return accepted

    def status(self, request_id: str, **params: Any) -> dict[str, Any]:
        """A request as the API shows it."""
        body: dict[str, Any] = self.ok("GET", f"/api/v1/requests/{request_id}", token=self.admin, params=params)
        return body

    def wait_for(self, request_id: str, *states: str, within: float = 20.0) -> dict[str, Any]:
        """Wait until a request as a whole stands in one of these states (any outcome, when none is named)."""
        wanted = set(states) or {*(outcome.value for outcome in OUTCOMES), "mixed"}
        eventually(
            lambda: self.status(request_id, limit=0)["status"] in wanted,
            within=within,
            what=f"{request_id} in {sorted(wanted)}",
        )
        return self.status(request_id)

    def make_token(self, kind: str, *services: str, **wish: Any) -> tuple[str, str]:
        """A new token; gives its secret and its id."""
        body = {"kind": kind, "services": list(services), **wish}
        made = self.ok("POST", TOKENS, token=self.admin, json=body)
        self.made_tokens.append(made["token"])
        return made["token"], made["id"]

    def is_ready(self) -> bool:
        """Whether /readyz is green."""
        with contextlib.suppress(httpx.TransportError):
            return self.http.get("/readyz").status_code == 200
        return False

    def serves(self) -> bool:
        """Whether /healthz answers."""
        with contextlib.suppress(httpx.TransportError):
            return self.http.get("/healthz").status_code == 200
        return False

    def check_log(self) -> None:
        """Neither a secret nor something unexpected may stand in the log.

        Raises:
            AssertionError: it does.
        """
        log = self.log
        assert not [secret for secret in (*self.secrets.values(), *self.made_tokens) if secret in log]
        assert "Traceback" not in log, log[-4000:]
        assert '"unexpected"' not in log, log[-4000:]


class PlayedAgent:
    """An agent played by a test: it beats, acks with its next beat, and completes."""

    def __init__(self, api: Api, host: str, *, service: str = SERVICE, token: str | None = None) -> None:
        self.host = host
        self.service = service
        self._api = api
        self._token = token or api.agent
        self.last_command_id: str | None = None

    def body(self, **said: Any) -> dict[str, Any]:
        """A heartbeat in the seed's words."""
        return {
            "ip_address": "192.168.1.100",
            "hostname": self.host,
            "service_name": self.service,
            "last_command_id": self.last_command_id,
            "status": "active",
            "timestamp": "2025-01-08T11:00:00Z",
            **said,
        }

    def beat(self, **said: Any) -> dict[str, Any]:
        """Beat once and give the answer at once."""
        reply: dict[str, Any] = self._api.ok("POST", HEARTBEAT, token=self._token, json=self.body(**said))
        return reply

    def take(self, *, within: float = 15.0) -> dict[str, Any]:
        """Beat until there is a command; it is not acked yet."""
        taken: dict[str, Any] = {}

        def came() -> bool:
            taken.update(self.beat())
            return taken["profiling_command"] is not None

        eventually(came, within=within, what=f"a command for {self.host}")
        return taken

    def ack(self, command_id: str) -> dict[str, Any]:
        """The beat after a command was taken: it is in the ledger now."""
        self.last_command_id = command_id
        return self.beat(received_command_ids=[command_id])

    def say_running(self, command_id: str) -> dict[str, Any]:
        """The beat once the run has begun."""
        self.last_command_id = command_id
        return self.beat(status="running")

    def complete(self, command_id: str, **said: Any) -> httpx.Response:
        """Report how a command ended; in the seed's words, without the service."""
        body = {
            "command_id": command_id,
            "hostname": self.host,
            "status": "completed",
            "execution_time": 65,
            "error_message": None,
            "results_path": "s3://bucket/path/to/results",
            **said,
        }
        return self._api.call("POST", COMPLETION, token=self._token, json=body)

    def run(self, *, within: float = 15.0, **said: Any) -> dict[str, Any]:
        """Take a command, ack it, say that it runs, and complete it; gives the command."""
        taken = self.take(within=within)
        self.ack(taken["command_id"])
        if taken["profiling_command"]["command_type"] == "start":
            self.say_running(taken["command_id"])
        assert self.complete(taken["command_id"], **said).status_code == 200
        return taken


def bearer(token: str | None) -> dict[str, str]:
    """The header that carries a token."""
    return {} if token is None else {"Authorization": f"Bearer {token}"}


@contextlib.asynccontextmanager
async def talking_to(api: Api, token: str | None) -> AsyncIterator[httpx.AsyncClient]:
    """A client for tests that hold several calls at once."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
    async with httpx.AsyncClient(
        base_url=api.url, headers=bearer(token), timeout=40, trust_env=False, verify=False, limits=limits
    ) as client:
        yield client


@contextlib.contextmanager
def running_api(
    state_dir: Path,
    *,
    env: Mapping[str, str] | None = None,
    until: Literal["is ready", "serves"] | None = "is ready",
    log: str = "api.log",
    port: int | None = None,
) -> Iterator[Api]:
    """One API process on a state directory, until the end of the block; waited for until it is so far."""
    port = port or free_port()
    with started(api_role(state_dir, port, env=env, log=log)) as role:
        api = Api(role, state_dir=state_dir, port=port)
        try:
            if until is not None:
                so_far = api.is_ready if until == "is ready" else api.serves
                eventually(so_far, within=40, what=f"an API that {until}", of=role)
            yield api
        finally:
            api.http.close()


@contextlib.contextmanager
def running_site(state_dir: Path, *, workers: bool) -> Iterator[tuple[Api, dict[str, Role]]]:
    """A broker and an API, with every worker role or with none, until the end of the block."""
    with contextlib.ExitStack() as stack:
        roles = {"broker": stack.enter_context(started(broker_role(state_dir)))}
        wait_for_broker(BrokerSettings(state_dir=state_dir), of=roles["broker"])
        if workers:
            roles["workers"] = stack.enter_context(started(worker_role(state_dir)))
            roles["jobs"] = stack.enter_context(started(worker_role(state_dir, "jobs")))
        api = stack.enter_context(running_api(state_dir))
        if workers:
            eventually(lambda: api.http.get("/readyz").json()["status"] == "ready", within=40, what="workers at work")
        yield api, roles | {"api": api.role}
