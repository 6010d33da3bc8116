"""Submitted requests as records: who asked for what, for which hosts, and how far it has come on each."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

from broker import codec, keys
from broker.connection import Broker
from broker.effective import OpenRequest
from broker.errors import IdempotencyConflict
from broker.streams import GroupReader, consumer_name
from protocol.names import HostKey
from protocol.requests import ProfileRequest

KEPT_FOR: Final = timedelta(days=7)
IDEMPOTENT_FOR: Final = timedelta(hours=24)
DISPATCHERS: Final = "dispatchers"


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One accepted request. `targets` gives each host its pids, None for the whole host."""

    request_id: str
    command_id: str
    tenant: str
    submitted_by: str
    accepted_at: float
    asked: ProfileRequest
    targets: Mapping[str, Sequence[int] | None]
    hosts_appended: int = 0

    @property
    def service(self) -> str:
        """The service whose hosts are meant."""
        return self.asked.service_name

    def wishes(self) -> dict[HostKey, OpenRequest]:
        """What to append for each host."""
        return {
            HostKey(self.tenant, self.service, host): codec.open_request(
                self.asked,
                request_id=self.request_id,
                command_id=self.command_id,
                accepted_at=self.accepted_at,
                pids=pids,
            )
            for host, pids in self.targets.items()
        }


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
            "targets": json.dumps(dict(record.targets)),
        }
        key = keys.request(record.request_id)
        ttl = int(KEPT_FOR.total_seconds())
        async with self._broker.guarded() as redis:
            async with redis.pipeline(transaction=True) as pipe:
                for name, value in fields.items():
                    pipe.hsetnx(key, name, value)
                pipe.hsetnx(key, "hosts_appended", "0")
                pipe.expire(key, ttl)
                is_first = (await pipe.execute())[0] == 1
            owner = HostKey(record.tenant, record.service, "").path
            await redis.set(keys.command_owner(record.command_id), owner, ex=ttl)
        stored = None if is_first else await self.get(record.request_id)
        return stored or record

    async def get(self, request_id: str) -> RequestRecord | None:
        """The record, or None for an id that nobody got, or that is older than a week.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis:
            fields: dict[str, str] = await redis.hgetall(keys.request(request_id))
        if "asked" not in fields:
            return None
        asked = json.loads(fields["asked"])
        targets: dict[str, list[int] | None] = json.loads(fields["targets"])
        asked.pop("request_type", None)
        return RequestRecord(
            request_id=request_id,
            command_id=fields["command_id"],
            tenant=fields["tenant"],
            submitted_by=fields["submitted_by"],
            accepted_at=float(fields["accepted_at"]),
            asked=_restored(asked, targets),
            targets=targets,
            hosts_appended=int(fields["hosts_appended"]),
        )

    async def note_appended(self, request_id: str, hosts: int) -> None:
        """Say how many hosts have been appended so far.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis:
            await redis.hset(keys.request(request_id), "hosts_appended", str(hosts))

    async def statuses(self, request_id: str) -> dict[str, dict[str, Any]]:
        """Host name -> the request's status there, as projected so far.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis:
            rows: dict[str, str] = await redis.hgetall(keys.request_hosts(request_id))
        return {HostKey.from_path(path).host: json.loads(text) for path, text in rows.items()}

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

    async def ask_fan_out(self, request_id: str) -> None:
        """Ask for a stored request to be appended host by host, by a job.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis:
            await redis.xadd(keys.asked_jobs(), {"job": "fan_out", "request_id": request_id})

    def jobs_reader(self, consumer: str | None = None) -> GroupReader:
        """A dispatcher's end of the jobs asked for."""
        return GroupReader(self._broker, [keys.asked_jobs()], group=DISPATCHERS, consumer=consumer or consumer_name())


def _ticket_of(stored: str, idempotency_key: str, body_digest: str) -> Ticket:
    digest, request_id, command_id, accepted_at = json.loads(stored)
    if digest != body_digest:
        raise IdempotencyConflict(idempotency_key)
    return Ticket(request_id, command_id, accepted_at)


def _restored(asked: dict[str, Any], targets: Mapping[str, Sequence[int] | None]) -> ProfileRequest:
    """The request as it was validated; its targets live in their own field, for the service's hosts are in it too."""
    return ProfileRequest.model_construct(**{**asked, "target_hosts": None, "target_hostnames": list(targets)})
