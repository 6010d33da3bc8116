"""The whole system around a simulated fleet: every role a process, on one server or on a cluster."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

import httpx

from broker import keys
from broker.connection import Broker
from broker.settings import BrokerSettings
from protocol.lifecycle import OUTCOMES
from tests.support.befallen_roles import BEGUN, LOG, SEED, SHARE, lines_of
from tests.support.fleet_journal import Journal, last_up
from tests.support.processes import LOOPED_ROLES, ROOT, Role, broker_role, eventually, free_port, started
from tests.support.servers import answers, wait_for_broker

HOSTS: Final = tuple(f"host-{number:02}" for number in range(50))
SERVICE: Final = "shop"
PLAIN: Final = {"api": "api", "workers": "tests.support.hurried_workers"}
TRIES: Final = 20
"""How often a reader asks again that is told 503: under faults, one call in some dozens meets one."""

Outcomes = dict[tuple[str, str], list[str]]
"""(request id, host) -> every outcome that the results streams tell of it, in order."""


@dataclass(frozen=True)
class Fleet:
    """Every role by name, where the APIs are, and which hosts' agents each agents' process plays."""

    state_dir: Path
    settings: BrokerSettings
    roles: Mapping[str, Role]
    urls: Sequence[str]
    tokens: Mapping[str, str]
    hosts: Mapping[str, Sequence[str]]
    env: Mapping[str, str]
    faults: Mapping[str, Path]
    """Where each role that has to bear them writes the faults it met; none where there are none."""
    client: httpx.Client
    """One for all calls: httpx makes a TLS context for each, and that takes longer than any call here."""

    @property
    def as_admin(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens['admin']}"}

    def journal(self, agents: str) -> Path:
        return journal_of(self.state_dir, agents)

    @property
    def journals(self) -> list[Path]:
        return [self.journal(agents) for agents in self.hosts]

    def forget(self, agents: str, hosts: Sequence[str]) -> None:
        """Take some hosts' ledgers away, while their agents are down."""
        journal = Journal(self.journal(agents))
        for host in hosts:
            journal.write(host, "forgot")

    def is_up(self, name: str, since: float) -> bool:
        """Whether the broker, an API, or agents that were started then, are at work; nobody waits for the others."""
        if name in self.hosts:
            return last_up(self.journal(name)) > since
        if name == "broker":  # who asks what has become of it all asks the broker itself
            return answers(self.settings)
        return not name.startswith("api-") or _is_ready(self.client, self.urls[int(name[-1]) - 1])

    async def outcomes(self) -> Outcomes:
        """What the results streams say now."""
        found: Outcomes = {}
        async with Broker.opened(self.settings) as broker, broker.guarded() as redis:
            for partition in range(broker.partitions):
                for _, fields in await redis.xrange(keys.results(partition)):
                    if fields["state"] in OUTCOMES:
                        for request_id in fields["request_ids"].split():
                            found.setdefault((request_id, fields["hostname"]), []).append(fields["state"])
        return found

    def until_ended(self, wanted: set[tuple[str, str]], *, within: float) -> tuple[Outcomes, float]:
        """Wait for an outcome of every request on every host, as long as it may take; gives them, and the seconds."""
        began = time.monotonic()
        while True:
            found = asyncio.run(self.outcomes())
            if wanted <= found.keys() or time.monotonic() - began > within:
                return found, time.monotonic() - began
            time.sleep(0.5)

    def statuses(self, request_id: str) -> dict[str, str]:
        """A request's status on each host, as the API shows it."""
        for _ in range(TRIES):
            answer = self.client.get(f"{self.urls[0]}/api/v1/requests/{request_id}", headers=self.as_admin)
            if answer.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
                break
        assert answer.status_code == HTTPStatus.OK, answer.text
        return {host["hostname"]: host["status"] for host in answer.json()["hosts"]}

    def faults_met(self) -> dict[str, Counter[str]]:
        """What befell the calls of each role, over all its lives."""
        return {name: Counter(line for line in lines_of(path) if line != BEGUN) for name, path in self.faults.items()}

    def rebuild_statuses(self) -> None:
        """As an operator does after a failover took what the projector had just written."""
        argv = [sys.executable, "-m", "workers.rebuild_status"]
        subprocess.run(argv, env={**os.environ, **self.env}, cwd=ROOT, check=True, capture_output=True)


def journal_of(state_dir: Path, agents: str) -> Path:
    """Where an agents' process writes what it does."""
    return state_dir / f"{agents}.journal"


@contextlib.contextmanager
def running_fleet(
    state_dir: Path, *, cluster: BrokerSettings | None = None, share_of_faults: float = 0.0, seed: int = 0
) -> Iterator[Fleet]:
    """A server (or none, where there is a cluster), two APIs, two workers' processes, two of agents.

    With a share of faults, so many calls of the APIs and the workers are executed and never answered, by the seed.
    """
    settings = cluster or BrokerSettings(state_dir=state_dir)
    own = BrokerSettings(state_dir=state_dir)
    env = {"PCS_STATE_DIR": str(state_dir), "PCS_HEARTBEAT_INTERVAL": "1"}
    if cluster is not None:
        env |= {"PCS_REDIS_URL": cluster.url, "PCS_RQ_URL": own.url}
    roles: dict[str, Role] = {}
    faults: dict[str, Path] = {}

    def started_role(name: str, kind: str, *arguments: str) -> Role:
        """One of ours, as it is, or with every call of it to Redis befallen."""
        its, module = env, [PLAIN[kind]]
        if share_of_faults:
            faults[name] = state_dir / f"{name}.faults"
            its = env | {SHARE: str(share_of_faults), SEED: str(seed), LOG: str(faults[name])}
            module = ["tests.support.befallen_roles", kind]
        argv = [sys.executable, "-m", *module, *arguments]
        return stack.enter_context(started(Role(name, argv, env=its, log=state_dir / f"{name}.log")))

    with contextlib.ExitStack() as stack:
        client = stack.enter_context(httpx.Client(timeout=10, trust_env=False, verify=False))
        server = stack.enter_context(started(broker_role(state_dir)))  # rq's own, where there is a cluster
        wait_for_broker(own, of=server)
        if cluster is None:
            roles["broker"] = server
        for name, does in (("merger", LOOPED_ROLES), ("projector", ("projector",))):
            roles[name] = started_role(name, "workers", *does)
        urls = []
        for number in (1, 2):
            port = free_port()
            urls.append(f"http://127.0.0.1:{port}")
            roles[f"api-{number}"] = started_role(f"api-{number}", "api", "--port", str(port))
        for url in urls:
            eventually(lambda url=url: _is_ready(client, url), within=60, what="a ready API")  # type: ignore[misc]  # bound now
        tokens = json.loads((state_dir / "tokens.json").read_text())
        hosts = {"agents-1": HOSTS[::2], "agents-2": HOSTS[1::2]}
        for (name, theirs), url in zip(hosts.items(), urls, strict=True):
            argv = [
                sys.executable, "-m", "tests.support.fleet_agents", "--url", url, "--service", SERVICE,
                "--journal", str(journal_of(state_dir, name)), *theirs,
            ]  # fmt: skip
            role = Role(name, argv, env={"GPROFILER_TOKEN": tokens["agent"]}, log=state_dir / f"{name}.log")
            roles[name] = stack.enter_context(started(role))
        fleet = Fleet(state_dir, settings, roles, urls, tokens, hosts, env, faults, client)
        eventually(lambda: all(fleet.is_up(name, 0) for name in hosts), within=60, what="agents at work")
        yield fleet


def _is_ready(client: httpx.Client, url: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return client.get(f"{url}/readyz").status_code == HTTPStatus.OK
    return False
