"""A rollout of hosts that a test plays, and what the results say of it."""

import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from broker import keys
from broker.connection import Broker
from broker.request_log import RequestLog
from broker.request_record import RequestRecord
from broker.request_store import RequestStore
from broker.results import Change, Results
from broker.rollouts import Progress, Rollouts
from broker.scripts import Delivered
from broker.streams import GroupReader
from protocol.lifecycle import OUTCOMES
from protocol.names import DEFAULT_TENANT
from protocol.requests import ProfileRequest
from tests.support.played_host import PlayedHost
from workers.pacer import Pacer


@dataclass
class PlayedRollout:
    """One request with `max_concurrency`, paced and projected when the test says so."""

    broker: Broker
    record: RequestRecord
    hosts: dict[str, PlayedHost]
    changes: GroupReader
    pacer: Pacer
    ended: list[str] = field(default_factory=list)

    @classmethod
    async def of(cls, broker: Broker, hosts: int, **asked: Any) -> "PlayedRollout":
        """Stored and opened as the API does it; nobody has paced it yet."""
        names = [f"web-{number:02}" for number in range(hosts)]
        body = ProfileRequest.model_validate({"service_name": "web", "target_hostnames": names, **asked})
        store, now = RequestStore(broker), time.time()
        ticket = await store.ticket(tenant=DEFAULT_TENANT, token_id="t", idempotency_key=None, body_digest="", now=now)
        record = RequestRecord(
            ticket.request_id, ticket.command_id, DEFAULT_TENANT, "t", ticket.accepted_at, body, body.targets()
        )
        await store.put(record)
        await Rollouts(broker).open(record)
        played = {name: PlayedHost(broker, record.key_of(name)) for name in names}
        for host in played.values():
            host.now = now
        return cls(broker, record, played, Results(broker).reader(), a_pacer(broker))

    async def progress(self) -> Progress:
        """Where it stands."""
        found = await Rollouts(self.broker).look(self.record.request_id)
        assert found is not None
        return found

    async def open_hosts(self) -> list[str]:
        """The hosts that it was appended for and that have not ended."""
        return sorted(name for name, states in (await self.told()).items() if not OUTCOMES & set(states))

    async def told(self) -> dict[str, list[str]]:
        """Host -> the states that were told of the request there, in order."""
        states: dict[str, list[str]] = {}
        async with self.broker.guarded() as redis:
            for partition in range(self.broker.partitions):
                for _, event in await redis.xrange(keys.results(partition)):
                    if self.record.request_id in event["request_ids"].split():
                        states.setdefault(event["hostname"], []).append(event["state"])
        return states

    async def end(self, name: str, status: str = "completed") -> None:
        """The host takes its command and ends it."""
        host = self.hosts[name]
        await host.settle()
        taken = await host.take()
        await host.complete(taken.command_id, status=status)
        self.ended.append(name)

    async def end_all(self, status: str = "completed") -> None:
        """Every open host ends, and the projection knows."""
        for name in await self.open_hosts():
            await self.end(name, status)
        await self.project()

    async def project(self) -> None:
        """Fold what was told so far, as the projector does, without its wait for more."""
        entries = await self.changes.read(count=500, block=timedelta(milliseconds=1))
        await Results(self.broker).project(Change.of(entry) for entry in entries)
        if entries:
            await self.changes.ack(entries)

    async def outcomes(self) -> Counter[str]:
        """The outcome of each host as the projection has it; those without one count as open."""
        await self.project()
        statuses = await RequestStore(self.broker).statuses(self.record.request_id)
        return Counter(statuses[name]["state"] if name in statuses else "no turn" for name in self.hosts)


def a_pacer(broker: Broker) -> Pacer:
    """One pacer, wired as the role is."""
    return Pacer(Rollouts(broker), RequestStore(broker), RequestLog(broker))


async def carry_on(hosts: dict[str, PlayedHost], held: dict[str, str], *, until_held: int = 1) -> int:
    """Each host that holds no command beats once; once so many hold one, all of them end it. Gives how many ended."""
    for name, host in hosts.items():
        host.now = time.time()
        if name not in held:
            match await host.beat():
                case Delivered(command_id):
                    held[name] = command_id
    if len(held) < until_held:
        return 0
    for name, command_id in held.items():
        await hosts[name].complete(command_id)
    ended = len(held)
    held.clear()
    return ended


async def most_open_at_once(broker: Broker, request_id: str) -> int:
    """The most hosts that stood open at one instant, by the order in which the server told of their changes."""
    steps: list[tuple[str, int]] = []
    async with broker.guarded() as redis:
        for partition in range(broker.partitions):
            for entry_id, event in await redis.xrange(keys.results(partition)):
                if request_id not in event["request_ids"].split():
                    continue
                moment = entry_id.partition("-")[0]
                if event["state"] == "submitted":
                    steps.append((moment, 1))
                elif event["state"] in OUTCOMES:
                    steps.append((moment, -1))  # of one millisecond, ends come first: a turn is given for an end
    most = now_open = 0
    for _, change in sorted(steps):
        now_open += change
        most = max(most, now_open)
    return most
