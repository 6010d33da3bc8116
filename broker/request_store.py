"""Submitted requests as records: who asked for what, for which hosts, and how far it has come on each."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

from broker import codec, keys
from broker.connection import Broker
from broker.errors import IdempotencyConflict
from broker.request_record import RequestRecord, Tally, read_record, read_tally
from broker.streams import GroupReader, consumer_name
from protocol.names import HostKey

KEPT_FOR: Final = timedelta(days=7)
IDEMPOTENT_FOR: Final = timedelta(hours=24)
DISPATCHERS: Final = "dispatchers"
PAGE: Final = 100
"""Requests that are read at once: one for 100,000 hosts has megabytes."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """The identity of a request before it is stored: a repeated Idempotency-Key gets the first one's."""

    request_id: str
    command_id: str
    accepted_at: float


class RequestStore:
    """The records of the requests."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def ticket(
        self, *, tenant: str, token_id: str, idempotency_key: str | None, body_digest: str, now: float
    ) -> Ticket:
        """A new identity, or the one that this key and body got within the last 24 hours.

        Raises:
            IdempotencyConflict: the key was used with another body.
            BrokerUnavailable: the server cannot be reached.
        """
        fresh = Ticket(str(uuid4()), str(uuid4()), now)
        if idempotency_key is None:
            return fresh
        key = keys.idempotency(tenant, token_id, idempotency_key)
        body = json.dumps([body_digest, fresh.request_id, fresh.command_id, fresh.accepted_at])
        async with self._broker.guarded() as redis:
            first = await redis.set(key, body, nx=True, ex=int(IDEMPOTENT_FOR.total_seconds()), get=True)
        return fresh if first is None else _ticket_of(first, idempotency_key, body_digest)

    async def repeated(
        self, *, tenant: str, token_id: str, idempotency_key: str, body_digest: str
    ) -> RequestRecord | None:
        """The request that this key and body made within the last 24 hours; None where there is none yet.

        Raises:
            IdempotencyConflict: the key was used with another body.
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis:
            first: str | None = await redis.get(keys.idempotency(tenant, token_id, idempotency_key))
        if first is None:
            return None
        return await self.get(_ticket_of(first, idempotency_key, body_digest).request_id)

    async def put(self, record: RequestRecord) -> RequestRecord:
        """Store a request before any of it is appended; of several with one identity the first stays, and is given.

        The hosts of a service may be others when a call is repeated: one record must say which are meant.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        fields = {
            "command_id": record.command_id,
            "tenant": record.tenant,
            "submitted_by": record.submitted_by,
            "accepted_at": repr(record.accepted_at),
            "asked": record.asked.model_dump_json(exclude={"target_hosts", "target_hostnames"}, exclude_unset=False),
            **({"traceparent": record.traceparent} if record.traceparent else {}),
        }
        key = keys.request(record.request_id)
        ttl = int(KEPT_FOR.total_seconds())
        async with self._broker.guarded() as redis, redis.pipeline(transaction=True) as pipe:
            for name, value in fields.items():
                pipe.hsetnx(key, name, value)
            pipe.hsetnx(key, "targets", json.dumps(dict(record.targets)))
            pipe.hsetnx(key, "hosts_appended", "0")
            pipe.expire(key, ttl)
            is_first = (await pipe.execute())[0] == 1
        owner = HostKey(record.tenant, record.service, "").path
        # The same life once more, on a connection that waits for a replica: the transaction came before it.
        commands = [("EXPIRE", key, ttl), ("SET", keys.command_owner(record.command_id), owner, "EX", ttl)]
        for answer in await self._broker.send(commands, replicated=True):
            if isinstance(answer, Exception):
                raise answer
        index = keys.request_index(record.tenant)
        async with self._broker.guarded() as redis, redis.pipeline(transaction=True) as pipe:
            pipe.zadd(index, {record.request_id: codec.ms(record.accepted_at)})
            pipe.zremrangebyscore(index, "-inf", codec.ms(record.accepted_at - ttl))
            pipe.expire(index, ttl)
            await pipe.execute()
        stored = None if is_first else await self.get(record.request_id)
        return stored or record

    async def get(self, request_id: str) -> RequestRecord | None:
        """The record, or None for an id that nobody got, or that is older than a week.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis, redis.pipeline(transaction=True) as pipe:
            pipe.hgetall(keys.request(request_id))
            pipe.hkeys(keys.joined(request_id))
            fields, joined = await pipe.execute()
        return read_record(request_id, fields, joined)

    async def all_of(
        self, tenant: str, *, after: tuple[int, str] | None = None, newest_first: bool = True
    ) -> AsyncIterator[RequestRecord]:
        """A tenant's requests of the last seven days, by when they were accepted, then by id.

        Args:
            tenant: whose.
            after: the place (`place_of`) of the last one that is known already.
            newest_first: the other way round.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        index = keys.request_index(tenant)
        ends = ("+inf", "-inf") if newest_first else ("-inf", "+inf")
        first = ends[0] if after is None else str(after[0])
        offset = 0
        while True:
            async with self._broker.guarded() as redis:
                rows: list[tuple[str, float]] = await redis.zrange(
                    index, first, ends[1], byscore=True, desc=newest_first, withscores=True, offset=offset, num=PAGE
                )
            offset += len(rows)
            ids = [each for each, score in rows if after is None or _is_behind((int(score), each), after, newest_first)]
            for record in await self._records(ids):
                yield record
            if len(rows) < PAGE:
                return

    async def _records(self, request_ids: Sequence[str]) -> list[RequestRecord]:
        if not request_ids:
            return []
        async with self._broker.guarded() as redis, redis.pipeline(transaction=False) as pipe:
            for request_id in request_ids:
                pipe.hgetall(keys.request(request_id))
                pipe.hkeys(keys.joined(request_id))
            rows = await pipe.execute()
        records = [read_record(*each) for each in zip(request_ids, rows[::2], rows[1::2], strict=True)]
        return [record for record in records if record is not None]

    def place_of(self, record: RequestRecord) -> tuple[int, str]:
        """Where a list of requests stands at this one."""
        return codec.ms(record.accepted_at), record.request_id

    async def note_cancelled(self, request_id: str, *, by: str, now: float) -> None:
        """Say that a request is withdrawn, before any host hears of it; the first word stands.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis, redis.pipeline(transaction=True) as pipe:
            pipe.hsetnx(keys.request(request_id), "cancelled_at", repr(now))
            pipe.hsetnx(keys.request(request_id), "cancelled_by", by)
            await pipe.execute()

    async def note_cancels_appended(self, request_id: str) -> None:
        """Say that every host of a withdrawn request has heard of it.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis:
            await redis.hset(keys.request(request_id), "cancels_appended", "1")

    async def are_cancels_appended(self, request_id: str) -> bool:
        """Whether every host of a withdrawn request has heard of it.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis:
            return bool(await redis.hexists(keys.request(request_id), "cancels_appended"))

    async def keep(self, record: RequestRecord) -> None:
        """Keep the record of a request that is still at work for another seven days.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        ttl = int(KEPT_FOR.total_seconds())
        async with self._broker.guarded() as redis:
            for key in (keys.request(record.request_id), keys.joined(record.request_id)):
                await redis.expire(key, ttl)
            await redis.expire(keys.request_hosts(record.request_id), ttl)
            await redis.expire(keys.command_owner(record.command_id), ttl)

    async def note_appended(self, request_id: str, hosts: int) -> None:
        """Say how many hosts have been appended so far.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis:
            await redis.hset(keys.request(request_id), "hosts_appended", str(hosts))

    async def statuses(self, request_id: str, paths: Sequence[str] | None = None) -> dict[str, dict[str, Any]]:
        """Host name -> the request's status there, as projected so far; of these hosts alone, where they are given.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        if paths is not None and not paths:
            return {}
        key = keys.request_hosts(request_id)
        async with self._broker.guarded() as redis, redis.pipeline(transaction=False) as pipe:
            pipe.hget(keys.request(request_id), "command_id")
            if paths is None:
                pipe.hgetall(key)
            else:
                pipe.hmget(key, paths)
            own_command, found = await pipe.execute()
        rows: dict[str, str | None] = found if paths is None else dict(zip(paths, found, strict=True))
        return {
            HostKey.from_path(path).host: _whole(json.loads(text), own_command)
            for path, text in rows.items()
            if text is not None
        }

    async def tallies(self, request_ids: Sequence[str]) -> list[Tally]:
        """For each request: how many of its hosts stand where, as projected so far, and when they began.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        if not request_ids:
            return []
        async with self._broker.guarded() as redis, redis.pipeline(transaction=False) as pipe:
            for request_id in request_ids:
                pipe.hgetall(keys.request_counts(request_id))
            rows: list[dict[str, str]] = await pipe.execute()
        return [read_tally(row) for row in rows]

    async def owner_of(self, command_id: str) -> tuple[str, str] | None:
        """Tenant and service of a command id.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis:
            path: str | None = await redis.get(keys.command_owner(command_id))
        if path is None:
            return None
        owner = HostKey.from_path(path)
        return owner.tenant, owner.service

    async def ask_for_job(self, job: str, request_id: str) -> None:
        """Ask for slow work on a stored request to be done by a job: `fan_out` or `cancel`.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis:
            await redis.xadd(keys.asked_jobs(), {"job": job, "request_id": request_id})

    def jobs_reader(self, consumer: str | None = None) -> GroupReader:
        """A dispatcher's end of the jobs asked for."""
        return GroupReader(self._broker, [keys.asked_jobs()], group=DISPATCHERS, consumer=consumer or consumer_name())


def _whole(status: dict[str, Any], own_command: str | None) -> dict[str, Any]:
    """A status with what `project` leaves out of it."""
    status.setdefault("at", status["timeline"].get(status["state"]))
    if own_command is not None:
        status.setdefault("command_id", own_command)
    return status


def _is_behind(at: tuple[int, str], after: tuple[int, str], newest_first: bool) -> bool:
    return at < after if newest_first else at > after


def _ticket_of(stored: str, idempotency_key: str, body_digest: str) -> Ticket:
    digest, request_id, command_id, accepted_at = json.loads(stored)
    if digest != body_digest:
        raise IdempotencyConflict(idempotency_key)
    return Ticket(request_id, command_id, accepted_at)
