"""The effective command of each host: delivered and completed by the API, loaded and settled by the merger."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, TypeVar

import structlog
from msgspec import structs

from broker import codec, keys, scripts
from broker.codec import Loaded
from broker.connection import Broker
from broker.exchange import Answered, Exchange
from broker.host_registry import FORGOTTEN_AFTER
from broker.keys import Place
from broker.request_store import KEPT_FOR
from broker.scripts import Beat, Contested, Credential, New, Outcome, Recorded, Settled
from protocol.completions import Completion
from protocol.names import HostKey

log = structlog.get_logger(__name__)

NOBODY: Final = Credential()
HISTORY: Final = 100
"""Ended commands of a host that are told; as many are kept."""
HOSTS_PER_CALL: Final = 20
"""Hosts that one script call reads or settles. Measured: 10 to 20 cost the server a quarter less than 100 or 200."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a host stands: the fields of its effective command, if it ever had one, and those of its ended commands."""

    command: Mapping[str, str] | None
    open_requests: int
    history: Sequence[Mapping[str, str]]
    """Newest first."""


class CommandStore:
    """The commands of the fleet."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._exchange = Exchange(broker)

    async def exchange(self, heard: Beat, *, now: float) -> Outcome:
        """One heartbeat, in one atomic step; and a second one where it carries another inventory than is kept.

        `now` is in seconds since the epoch.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        outcome = await self._exchange.ask(heard, now=now)
        if isinstance(outcome, Contested | New) or not outcome.inventory_wanted or heard.inventory is None:
            return outcome
        at = self._broker.place(heard.host)
        await self._broker.run(scripts.keep_inventory(at, heard.inventory, ttl=FORGOTTEN_AFTER))
        return structs.replace(outcome, inventory_wanted=False)

    def send(self, heard: Beat, *, now: float, answered: Answered) -> None:
        """One heartbeat that carries no inventory, in one atomic step; `answered` hears what became of it.

        `now` is in seconds since the epoch.
        """
        assert heard.inventory is None
        self._exchange.send(heard, now=now, answered=answered)

    async def standing(self, host: HostKey) -> Standing:
        """What a host is to do, what was done, and how many of its requests are open.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        at = self._broker.place(host)
        async with self._broker.guarded() as redis, redis.pipeline(transaction=False) as pipe:
            pipe.hgetall(keys.command(at))
            pipe.hlen(keys.open_requests(at))
            pipe.xlen(keys.requests(at))
            pipe.xrevrange(keys.history(at), count=HISTORY)
            command, taken_up, new, history = await pipe.execute()
        return Standing(command if "id" in command else None, taken_up + new, [past for _, past in history])

    async def commands(self, places: Sequence[Place]) -> list[Mapping[str, str] | None]:
        """The effective command of each of these hosts, or what it was last; None for one that never had any.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        if not places:
            return []
        async with self._broker.guarded() as redis, redis.pipeline(transaction=False) as pipe:
            for at in places:
                pipe.hgetall(keys.command(at))
            rows: list[dict[str, str]] = await pipe.execute()
        return [row if "id" in row else None for row in rows]

    async def complete(
        self, host: HostKey, completion: Completion, *, by: Credential = NOBODY, now: float
    ) -> Recorded | Contested:
        """Record how a command ended on a host. `now` is in seconds since the epoch.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        call = scripts.complete(
            self._broker.place(host), host, command_id=completion.command_id, outcome=completion.status,
            only_started=completion.only_says_started, facts=_facts(completion), by=by,
            now=codec.ms(now),
        )  # fmt: skip
        return scripts.read_complete(await self._broker.run(call))

    async def may_speak(self, host: HostKey, *, by: Credential, now: float) -> Contested | None:
        """Why a credential may not speak for a host; None: it may. `now` is in seconds since the epoch.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        call = scripts.speak(self._broker.place(host), by=by, now=codec.ms(now))
        return scripts.read_speak(await self._broker.run(call))

    async def trace_of(self, host: HostKey, command_id: str) -> str:
        """The trace that a host's effective command belongs to; an empty text where it has none, or is another.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis:
            found: list[str | None] = await redis.hmget(keys.command(self._broker.place(host)), ["id", "reply"])
        return codec.origin_of(found[1]).traceparent if found[0] == command_id and found[1] else ""

    async def requests_of(self, host: HostKey, command_id: str) -> list[str]:
        """The ids of the requests that a command of a host works for, or worked for when it ended; none: unknown.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        at = self._broker.place(host)
        async with self._broker.guarded() as redis, redis.pipeline(transaction=False) as pipe:
            pipe.hmget(keys.command(at), ["id", "request_ids"])
            pipe.xrevrange(keys.history(at), count=HISTORY)
            (current, open_ids), history = await pipe.execute()
        if current == command_id and open_ids:
            return str(open_ids).split()
        ended = (past for _, past in history if past["command_id"] == command_id)
        return next((past.get("served", "").split() for past in ended), [])

    async def load_all(self, places: Sequence[Place]) -> dict[Place, Loaded]:
        """What compaction needs of these hosts, in their order. One that cannot be read is logged and left out.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        batches = _batches(places, lambda at: at.partition)
        loaded: dict[Place, Loaded] = {}
        answers = await self._broker.run_all([scripts.load(batch) for batch in batches])
        for batch, answer in zip(batches, answers, strict=True):
            of_hosts = scripts.read_load(_of_each(answer, batch))
            for at, of_host in zip(batch, of_hosts, strict=True):
                if isinstance(of_host, str):
                    log.error("host cannot be read", host=at.path, error=of_host)
                else:
                    loaded[at] = of_host
        return {at: loaded[at] for at in places if at in loaded}

    async def settle_all(self, settled: Sequence[Settled], *, now: float) -> dict[Place, bool]:
        """Store decisions; False for a host that has changed since it was loaded, or cannot be stored (logged).

        Raises:
            BrokerUnavailable: the server cannot be reached; each may or may not be stored, and may be repeated.
        """
        await self._tell_owners(settled)
        batches = _batches(settled, lambda each: each.at.partition)
        calls = [scripts.settle(batch[0].at.partition, batch, now=codec.ms(now)) for batch in batches]
        stored: dict[Place, bool] = {}
        for batch, answer in zip(batches, await self._broker.run_all(calls), strict=True):
            for each, said in zip(batch, _of_each(answer, batch), strict=True):
                stored[each.at] = said == "stored"
                if said not in {"stored", "changed"}:
                    log.error("decision cannot be stored", host=each.at.path, error=said)
        return stored

    async def _tell_owners(self, settled: Sequence[Settled]) -> None:
        """Before a derived command id can be handed out, say whose it is, as is said of every request's own."""
        owners = {
            each.decision.derived_id: each.host._replace(host="").path
            for each in settled
            if each.decision.derived_id is not None
        }
        if not owners:
            return
        async with self._broker.guarded() as redis, redis.pipeline(transaction=False) as pipe:
            for command_id, owner in owners.items():
                pipe.set(keys.command_owner(command_id), owner, ex=int(KEPT_FOR.total_seconds()))
            await pipe.execute()

    async def lose(
        self, host: HostKey, *, silent_since: float, reason: str, now: float, grace: timedelta = timedelta(0)
    ) -> bool:
        """Give up on what a host holds that has been silent since a moment; True when its command is lost now.

        What awaits its moment at a host is not lost before: `grace` counts from then on.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        call = scripts.lose(
            self._broker.place(host), silent_since=codec.ms(silent_since), reason=reason, now=codec.ms(now),
            grace=codec.ms(grace.total_seconds()),
        )  # fmt: skip
        return bool(await self._broker.run(call))


T = TypeVar("T")


def _of_each(answer: Any, batch: Sequence[object]) -> Sequence[Any]:
    """A script's answer for each host of a batch; a script that failed as a whole says the same of all of them."""
    return [str(answer)] * len(batch) if isinstance(answer, Exception) else answer


def _batches(items: Iterable[T], partition_of: Callable[[T], int]) -> list[list[T]]:
    """Items of one partition together, so many that one script call does not hold the server up for others."""
    by_partition: dict[int, list[T]] = {}
    for item in items:
        by_partition.setdefault(partition_of(item), []).append(item)
    return [
        of_partition[first : first + HOSTS_PER_CALL]
        for of_partition in by_partition.values()
        for first in range(0, len(of_partition), HOSTS_PER_CALL)
    ]


def _facts(completion: Completion) -> dict[str, str]:
    """What a completion adds to the record, absent parts left out."""
    facts = {
        "execution_time": completion.execution_time,
        "samples": completion.samples,
        "results_path": completion.results_path,
        "reason": completion.error_message,
        "started_at": completion.started_at and completion.started_at.isoformat(),
        "finished_at": completion.finished_at and completion.finished_at.isoformat(),
    }
    return {name: str(value) for name, value in facts.items() if value is not None}
