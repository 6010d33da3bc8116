"""Standing requests: continuous ones for a whole service, which hosts that join the service later get too.

A host joins once: it gets a number in `joined` and is `unsent` until the request has been appended for it. A request
that has ended is kept here until nothing of it is unsent, so that whoever is killed in between leaves no host without
an outcome.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from broker import keys, scripts
from broker.connection import Broker
from broker.request_record import RequestRecord
from broker.request_store import KEPT_FOR
from protocol.names import HostKey

OPEN: Final = "open"
ENDED: Final = "ended"


@dataclass(frozen=True, slots=True)
class Stand:
    """One request that stands, or has just ended and is not cleared away. `accepted_at` is in seconds."""

    request_id: str
    service_path: str
    accepted_at: float

    @property
    def fields(self) -> str:
        """As it is stored."""
        return json.dumps([self.service_path, self.accepted_at])

    def is_of(self, tenant: str, service: str) -> bool:
        """Whether it is for this service."""
        return self.service_path == HostKey(tenant, service, "").path


class StandingRequests:
    """The requests that stand."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def open(self, record: RequestRecord) -> None:
        """Let a stored request stand, unless it has been ended; repeating it changes nothing.

        Raises:
            BrokerUnavailable: the server cannot be reached; may be repeated.
        """
        stand = Stand(record.request_id, record.key_of("").path, record.accepted_at)
        key = keys.request(record.request_id)
        async with self._broker.guarded() as redis:
            await redis.hsetnx(key, "standing", OPEN)
            if await redis.hget(key, "standing") == OPEN:
                await redis.hset(keys.standing_requests(), stand.request_id, stand.fields)

    async def all(self) -> list[Stand]:
        """Every request that stands or is to be cleared away.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis:
            rows: dict[str, str] = await redis.hgetall(keys.standing_requests())
        return [Stand(request_id, *json.loads(text)) for request_id, text in sorted(rows.items())]

    async def state_of(self, request_id: str) -> tuple[str | None, str]:
        """`open`, `ended` or None where there is no such record; and why it ended.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis:
            state, reason = await redis.hmget(keys.request(request_id), "standing", "ended_because")
        return state, reason or ""

    async def end(self, request_id: str, *, reason: str) -> None:
        """Let nobody join any more. Whoever is about to be given the request must be told by a tombstone besides.

        Raises:
            BrokerUnavailable: the server cannot be reached; may be repeated.
        """
        key = keys.request(request_id)
        async with self._broker.guarded() as redis:
            if await redis.hget(key, "standing") != OPEN:
                return
            async with redis.pipeline(transaction=True) as pipe:
                pipe.hset(key, mapping={"standing": ENDED, "ended_because": reason})
                pipe.expire(key, int(KEPT_FOR.total_seconds()))
                await pipe.execute()

    async def join(self, request_id: str, path: str) -> int | None:
        """Let a host join; gives its number, None when it joined before or the request stands no more.

        Raises:
            BrokerUnavailable: the server cannot be reached; it may have joined, and is unsent then.
        """
        number = int(await self._broker.run(scripts.join(request_id, path=path, ttl=KEPT_FOR)))
        return number if number >= 0 else None

    async def unsent(self, request_id: str) -> dict[str, int | None]:
        """The hosts that joined and may not have been given the request: path -> number, None for one that has it.

        The projection knows who has it for certain, also when the marker that keeps an append from being repeated has
        long expired.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis:
            rows: dict[str, str] = await redis.hgetall(keys.unsent(request_id))
            if not rows:
                return {}
            statuses: list[str | None] = await redis.hmget(keys.request_hosts(request_id), list(rows))
        return {
            path: int(number) if status is None else None
            for (path, number), status in zip(rows.items(), statuses, strict=True)
        }

    async def note_sent(self, request_id: str, paths: Iterable[str]) -> None:
        """Say that these hosts have been given the request.

        Raises:
            BrokerUnavailable: the server cannot be reached; may be repeated.
        """
        async with self._broker.guarded() as redis:
            await redis.hdel(keys.unsent(request_id), *paths)

    async def clear(self, request_id: str) -> None:
        """Forget about a request that has ended and of which nothing is unsent.

        Raises:
            BrokerUnavailable: the server cannot be reached; may be repeated.
        """
        async with self._broker.guarded() as redis:
            await redis.hdel(keys.standing_requests(), request_id)
