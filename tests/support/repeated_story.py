"""Requests from submission to outcome, by callers that repeat what failed: clients, mergers, agents, projectors."""

import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Any, TypeVar

from broker import keys
from broker.command_store import CommandStore
from broker.connection import Broker
from broker.errors import BrokerUnavailable
from broker.request_log import MERGERS, RequestLog
from broker.request_record import RequestRecord
from broker.request_store import RequestStore
from broker.results import PROJECTORS, Results
from broker.scripts import Delivered, Recorded
from protocol.lifecycle import OUTCOMES
from protocol.names import DEFAULT_TENANT, HostKey
from protocol.requests import ProfileRequest
from tests.support.builders import a_host
from tests.support.played_host import PlayedHost
from workers.merger import Merger
from workers.projector import Projector
from workers.recoverer import Recoverer

Given = TypeVar("Given")
MOST_TRIES = 200
AT_ONCE = timedelta(milliseconds=1)


async def repeated(act: Callable[[], Awaitable[Given]]) -> Given:
    """Do it again while the broker is said to be away."""
    for _ in range(MOST_TRIES):
        try:
            return await act()
        except BrokerUnavailable:
            continue
    raise AssertionError(f"it failed {MOST_TRIES} times")


@dataclass
class Agent:
    """An agent with a ledger: what is in it is never run again."""

    host: PlayedHost
    runs: Counter[str] = field(default_factory=Counter)
    ended: set[str] = field(default_factory=set)
    running: str = ""

    async def beat(self, *, is_forgetful: bool) -> None:
        """One heartbeat; a forgetful one names nothing of what was done."""
        said: dict[str, Any] = (
            {} if is_forgetful else {"last": self.running, "begun": True, "received": list(self.runs)}
        )
        answer = await self.host.beat(**said)
        if isinstance(answer, Delivered):
            assert answer.command_id not in self.ended, "handed out anew after its completion was taken"
            if answer.command_id not in self.runs:
                self.runs[answer.command_id] += 1
                self.running = answer.command_id

    async def complete(self) -> None:
        """Report the end of what runs, until the server has taken it."""
        if self.running and self.running not in self.ended:
            recorded = await self.host.complete(self.running)
            assert recorded is not Recorded.UNKNOWN
            self.ended.add(self.running)


class RepeatedStory:
    """Some hosts, some requests, every role; which of them acts next is the seed's choice."""

    def __init__(self, broker: Broker, seed: int, *, hosts: int = 5) -> None:
        self.broker = broker
        self.agents = [Agent(PlayedHost(broker, a_host(f"web-{seed}-{number}"))) for number in range(hosts)]
        self.accepted: dict[str, RequestRecord] = {}
        self._seed = seed
        self._random = Random(seed)
        log, store, results = RequestLog(broker), CommandStore(broker), Results(broker)
        self._requests = RequestStore(broker)
        self._readers = [log.reader("merger"), log.reader("recoverer"), results.reader(consumer="projector")]
        self.merger = Merger(log, store, self._readers[0])
        self.recoverer = Recoverer(log, self.merger, self._readers[1])
        self.projector = Projector(results, self._readers[2])
        for agent in self.agents:
            agent.host.now = time.time()

    async def play(self, *, requests: int = 6) -> None:
        """Submit, and let everybody act in any order, until everything has come to its end."""
        for number in range(requests):
            await self._submit(number)
            for _ in range(6):
                await self._somebody_acts()
        for _ in range(60):
            for _ in range(4):
                await self._somebody_acts()
            await self._everybody_acts()
            if await repeated(self._is_over):
                return
        raise AssertionError(f"seed {self._seed}: it never came to an end: {await repeated(self._left)}")

    async def _submit(self, number: int) -> None:
        """As a client with an Idempotency-Key: from the beginning, until it is accepted."""
        chosen = self._random.sample(self.agents, self._random.randint(1, len(self.agents)))
        body = ProfileRequest.model_validate(
            {
                "service_name": "web",
                "target_hostnames": [agent.host.key.host for agent in chosen],
                "frequency": self._random.choice((11, 50, 99)),
                "duration": 60,
            }
        )

        async def once() -> RequestRecord:
            ticket = await self._requests.ticket(
                tenant=DEFAULT_TENANT, token_id="t", idempotency_key=f"{self._seed}-{number}", body_digest="d",
                now=time.time(),
            )  # fmt: skip
            record = RequestRecord(
                ticket.request_id, ticket.command_id, DEFAULT_TENANT, "t", ticket.accepted_at, body, body.targets()
            )
            await self._requests.put(record)
            await RequestLog(self.broker).append(record.wishes())
            return record

        record = await repeated(once)
        self.accepted[record.request_id] = record

    async def _somebody_acts(self) -> None:
        agent = self._random.choice(self.agents)
        act: Callable[[], Awaitable[object]] = self._random.choice(
            (
                self.merger.merge,
                self.recoverer.recover,
                self.projector.project,
                self.projector.recover,
                lambda: agent.beat(is_forgetful=False),
                lambda: agent.beat(is_forgetful=True),
                agent.complete,
            )
        )
        try:
            await act()
        except BrokerUnavailable:
            return  # a role goes on with its next pass, an agent with its next beat

    async def _everybody_acts(self) -> None:
        await repeated(self.merger.merge)
        await repeated(self.recoverer.recover)
        for agent in self.agents:
            await repeated(lambda agent=agent: agent.beat(is_forgetful=False))  # type: ignore[misc]  # bound now
            await repeated(agent.complete)
        await repeated(self.projector.project)
        await repeated(self.projector.recover)

    async def _left(self) -> dict[str, int]:
        """What is still to be done, and where."""
        for reader in self._readers:
            await reader.prepare()
        async with self.broker.guarded() as redis, redis.pipeline(transaction=False) as pipe:
            for agent in self.agents:
                pipe.xlen(keys.requests(agent.host.at))
                pipe.hlen(keys.open_requests(agent.host.at))
            for partition in range(self.broker.partitions):
                pipe.xpending(keys.doorbell(partition), MERGERS)
                pipe.xpending(keys.results(partition), PROJECTORS)
                pipe.xlen(keys.doorbell(partition))
                pipe.xinfo_groups(keys.results(partition))
                pipe.xinfo_stream(keys.results(partition))
            counts = await pipe.execute()
        hosts = 2 * len(self.agents)
        return {
            "submitted": sum(counts[:hosts:2]),
            "open": sum(counts[1:hosts:2]),
            "doorbell in hand": sum(row["pending"] for row in counts[hosts::5]),
            "results in hand": sum(row["pending"] for row in counts[hosts + 1 :: 5]),
            "doorbell": sum(counts[hosts + 2 :: 5]),
            "results unread": sum(
                groups[0]["last-delivered-id"] != stream["last-generated-id"]
                for groups, stream in zip(counts[hosts + 3 :: 5], counts[hosts + 4 :: 5], strict=True)
            ),
        }

    async def _is_over(self) -> bool:
        return not any((await self._left()).values())

    async def check(self) -> None:
        """Every accepted request ended once on each of its hosts, nothing was said twice, nothing ran twice."""
        told: Counter[tuple[str, str, str]] = Counter()
        of_commands: Counter[tuple[str, str, str, str]] = Counter()
        async with self.broker.guarded() as redis:
            for partition in range(self.broker.partitions):
                for _, event in await redis.xrange(keys.results(partition)):
                    who = (event["hostname"], event["state"])
                    requests = event["request_ids"].split()
                    told.update((*who, request_id) for request_id in requests)
                    of_commands.update((*who, event["command_id"], request_id) for request_id in requests)
        wished = {(host.host, request_id) for request_id, record in self.accepted.items() for host in record.wishes()}
        ended = Counter((host, request) for host, state, request in told.elements() if state in OUTCOMES)
        assert ended == dict.fromkeys(wished, 1), "each accepted request has one outcome on each host"
        submitted = {key: count for key, count in told.items() if key[1] == "submitted"}
        assert submitted == {(host, "submitted", request): 1 for host, request in wished}, "appended once"
        assert max(of_commands.values()) == 1, "no change of state is told twice"
        for agent in self.agents:
            assert set(agent.runs.values()) <= {1}
            assert agent.ended <= set(agent.runs), "only what ran is reported"
        for request_id, record in self.accepted.items():
            assert await self._requests.get(request_id) == record
            statuses = await self._requests.statuses(request_id)
            projected = {(name, status["state"]) for name, status in statuses.items()}
            assert projected == {(h, s) for h, s, r in told if r == request_id and s in OUTCOMES}, "and shown as it was"

    @property
    def hosts(self) -> list[HostKey]:
        """Who takes part."""
        return [agent.host.key for agent in self.agents]
