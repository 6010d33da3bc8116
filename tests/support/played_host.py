"""A host whose agent is played by a test, against the broker itself; and the records it leaves."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from broker import keys
from broker.codec import Decision, Loaded, cancelled_of, decision_of, read_effective, requests_of
from broker.command_store import CommandStore
from broker.compaction import compact
from broker.connection import Broker
from broker.effective import OpenRequest
from broker.keys import Place
from broker.request_log import RequestLog
from broker.request_record import RequestRecord
from broker.scripts import Beat, Contested, Credential, Delivered, Idle, New, Outcome, Recorded, Settled
from protocol.completions import Completion
from protocol.names import HostKey
from tests.support.builders import NOW, a_host, submitted


class PlayedHost:
    """One host. `now` is the server's clock as this host's story has it; a test moves it."""

    def __init__(self, broker: Broker, key: HostKey | None = None) -> None:
        self.broker = broker
        self.key = key or a_host()
        self.now = NOW
        self.facts = {"ip_address": "192.168.1.100"}
        self._store = CommandStore(broker)

    @property
    def at(self) -> Place:
        return self.broker.place(self.key)

    # --- what operators and the merger do ---

    async def submit(self, **asked: Any) -> RequestRecord:
        """A request for this host, stored and appended."""
        named = {"service_name": self.key.service, "target_hostnames": [self.key.host]}
        return await submitted(self.broker, now=self.now, **(named | asked))

    async def append(self, request: OpenRequest) -> int:
        """Append an open request as it is."""
        return await RequestLog(self.broker).append({self.key: request})

    async def cancel(self, request_id: str, *, reason: str = "cancelled by test") -> None:
        """Withdraw a request from this host."""
        await RequestLog(self.broker).cancel(request_id, [self.key], reason=reason)

    async def lose(self, *, silent_for: float = 200.0) -> bool:
        """Give up on what it holds, if it has been silent for so long; True when that is lost now."""
        return await self._store.lose(
            self.key, silent_since=self.now - silent_for, reason="no heartbeat", now=self.now,
            grace=timedelta(seconds=silent_for),
        )  # fmt: skip

    async def load(self) -> Loaded:
        """What a merger reads of this host."""
        return (await self._store.load_all([self.at]))[self.at]

    def decide(self, loaded: Loaded) -> Decision:
        """What a merger makes of it."""
        compacted = compact(
            requests_of(loaded), read_effective(loaded.command), self.now, cancelled_of(loaded), lead=loaded.lead
        )  # fmt: skip
        return decision_of(compacted, loaded, self.now)

    async def store(self, loaded: Loaded, decision: Decision) -> bool:
        """Store a decision; False when the host has changed since it was loaded."""
        return (await self._store.settle_all([Settled(self.at, self.key, loaded, decision)], now=self.now))[self.at]

    async def settle(self) -> None:
        """Load, decide, store; nobody comes in between."""
        loaded = await self.load()
        assert await self.store(loaded, self.decide(loaded)), f"loaded {loaded.command}, now {await self.command()}"

    # --- what the agent does ---

    async def beat(
        self, *, last: str = "", begun: bool = False, received: Sequence[str] = (), executed: Sequence[str] = ()
    ) -> Idle | Delivered:
        """One heartbeat."""
        heard = Beat(self.key, last, begun, received, executed, self.facts)
        answer = await self._store.exchange(heard, now=self.now)
        assert not isinstance(answer, Contested | New), "nobody asked whose the host is, nor whether it may join"
        return answer

    async def beat_as(self, by: Credential, *, may_join: bool = True) -> Outcome:
        """One heartbeat of a token that may or may not speak for the host."""
        return await self._store.exchange(Beat(self.key, by=by, may_join=may_join), now=self.now)

    async def take(self) -> Delivered:
        """A heartbeat that must be answered with a command."""
        answer = await self.beat()
        assert isinstance(answer, Delivered), "there was no command"
        return answer

    async def begin(self) -> Delivered:
        """Take a command and begin its run."""
        command = await self.take()
        await self.beat(last=command.command_id, received=[command.command_id], begun=True)
        assert await self.state() == "running"
        return command

    async def complete(self, command_id: str, *, status: str = "completed", **said: Any) -> Recorded:
        """Report how a command ended."""
        body = {"command_id": command_id, "hostname": self.key.host, "status": status, **said}
        recorded = await self._store.complete(self.key, Completion.model_validate(body), now=self.now)
        assert not isinstance(recorded, Contested), "nobody asked whose the host is"
        return recorded

    # --- what is stored ---

    async def command(self) -> dict[str, str]:
        """The effective command's fields."""
        async with self.broker.guarded() as redis:
            fields: dict[str, str] = await redis.hgetall(keys.command(self.at))
        return fields

    async def state(self) -> str | None:
        return (await self.command()).get("state")

    async def open_ids(self) -> set[str]:
        """The requests that have no outcome yet and were taken up."""
        async with self.broker.guarded() as redis:
            return set(await redis.hkeys(keys.open_requests(self.at)))

    async def results(self) -> list[dict[str, str]]:
        """Every change of state that was told of this host."""
        async with self.broker.guarded() as redis:
            entries = await redis.xrange(keys.results(self.at.partition))
        return [fields for _, fields in entries if fields["hostname"] == self.key.host]

    async def states_of(self, request_id: str) -> list[str]:
        """The states that were told of a request, in order."""
        return [event["state"] for event in await self.results() if request_id in event["request_ids"].split()]

    async def states_of_command(self, command_id: str) -> list[str]:
        """The states that were told of a command, in order."""
        return [event["state"] for event in await self.results() if event["command_id"] == command_id]

    async def rings(self) -> int:
        """How often this host was rung for and nobody has worked it off yet."""
        async with self.broker.guarded() as redis:
            entries = await redis.xrange(keys.doorbell(self.at.partition))
        return sum(self.at.path in fields.get("hosts", "").split(" ") for _, fields in entries)

    async def deadline(self) -> float | None:
        """When compaction is to look at this host next, in seconds."""
        async with self.broker.guarded() as redis:
            score: float | None = await redis.zscore(keys.deadlines(self.at.partition), self.at.path)
        return score / 1000 if score is not None else None

    async def history(self) -> list[dict[str, str]]:
        """The host's ended commands, oldest first."""
        async with self.broker.guarded() as redis:
            return [fields for _, fields in await redis.xrange(keys.history(self.at))]
