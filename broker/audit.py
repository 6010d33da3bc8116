"""The audit trail: who did what, in a hash chain for each partition that others can follow and nobody can mend.

A tenant's records are in one chain, that of its partition, so they are in one order; a chain may hold several tenants.
What belongs to no tenant (calls of nobody we know) is with the default tenant's. Only who knows a chain's end can hash
what comes next, so a record is hashed here and appended by a script that looks whether the end is still the same.
"""

import asyncio
import binascii
import json
import random
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import Any, Final
from urllib.parse import quote
from uuid import uuid4

from broker import codec, keys, scripts
from broker.archiving import ARCHIVERS
from broker.connection import Broker
from broker.entry_ids import START, entry_id_of
from broker.errors import BrokerUnavailable
from broker.scripts import Chained, ChainEnd, ChainPart
from broker.streams import oldest_needed
from protocol import audit_chain
from protocol.audit import AuditOutcome
from protocol.audit_chain import Point
from protocol.names import DEFAULT_TENANT

KEPT_FOR: Final = timedelta(days=7)
"""In the broker; behind the archiver's position, if there is an archiver. Then in the archive alone."""
MOST_IN_A_CALL: Final = 200
GIVES_UP_AFTER: Final = timedelta(seconds=5)
PAGE: Final = 500
CLOCKS_DIFFER: Final = timedelta(minutes=1)
WRITTEN_WITHIN: Final = timedelta(hours=1)
"""Entry ids are by the broker's clock, and a refusal may have waited for the broker to come back."""
BEFORE_ALL: Final = entry_id_of(START)
"""No entry has this id."""
LONGEST_TEXT: Final = 1_024
LONGEST_FACTS: Final = 4_096
Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Something that somebody did, or was refused. Never carries a secret.

    Attributes:
        at: seconds since the epoch, by the server's clock.
        tenant: empty where nobody knows who calls; so are `actor` (a token's id) and `actor_kind`.
        objects: ids of what is acted upon.
        targets: SHA-256 of the hosts' names, see `targets_digest`.
        before: what was, where there is such a thing; `after`: what is to be; `details`: what else there is to say.
        act: of a failure, the id of the accepted record before it.
        count: how many calls it stands for, the last of them at `last_at`.
    """

    at: float
    action: str
    outcome: AuditOutcome
    tenant: str = ""
    actor: str = ""
    actor_kind: str = ""
    service: str = ""
    code: str = ""
    objects: Sequence[str] = ()
    hosts: int | None = None
    targets: str = ""
    before: Facts | None = None
    after: Facts | None = None
    details: Facts | None = None
    address: str = ""
    route: str = ""
    http_request_id: str = ""
    act: str = ""
    count: int = 1
    last_at: float | None = None
    record_id: str = field(default_factory=lambda: str(uuid4()))


def targets_digest(hosts: Iterable[str]) -> str:
    """SHA-256 of host names, sorted, one a line: tells whether two records mean the same hosts, at any number."""
    return sha256("\n".join(sorted(hosts)).encode()).hexdigest()


def body_of(act: Act) -> dict[str, str]:
    """A record's body: flat texts, what there is nothing to say of left out."""
    facts = {name: _json(getattr(act, name)) for name in ("before", "after", "details")}
    body = {
        "v": "1", "id": act.record_id, "at": str(codec.ms(act.at)), "tenant": act.tenant, "service": act.service,
        "action": act.action, "outcome": act.outcome.value, "code": act.code, "actor": act.actor,
        "actor_kind": act.actor_kind, "objects": " ".join(map(_word, act.objects)),
        "hosts": "" if act.hosts is None else str(act.hosts), "targets": act.targets, **facts, "address": act.address,
        "route": act.route, "http_request_id": act.http_request_id, "act": act.act,
        "count": str(act.count) if act.count > 1 else "",
        "last_at": "" if act.last_at is None or act.count == 1 else str(codec.ms(act.last_at)),
    }  # fmt: skip
    always = ("tenant", "service")
    return {
        name: text if name in facts else _text(text) for name, text in body.items() if text or name in always
    }  # fmt: skip


def _text(value: str) -> str:
    """As it may stand in the stream: callers make some of them up, so they may be endless or hold lone surrogates."""
    shown = value if len(value) <= LONGEST_TEXT else f"{value[:LONGEST_TEXT]}…"
    return shown.encode(errors="replace").decode()


def _word(value: str) -> str:
    """An id as one word, whatever somebody has put in its place."""
    return quote(_text(value), safe="-._~:/@+")


def _json(facts: Facts | None) -> str:
    if not facts:
        return ""
    text = json.dumps(dict(facts), sort_keys=True, default=str)
    if len(text) <= LONGEST_FACTS:
        return text
    return json.dumps({"bytes": len(text), "sha256": sha256(text.encode()).hexdigest()})


class AuditTrail:
    """Writes acts and reads them. One a process: those who write at the same time share a call."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._chains: dict[int, _Chain] = {}

    def partition_of(self, tenant: str) -> int:
        """Whose chain a tenant's records are in: by the CRC-16 that hosts are spread by."""
        return binascii.crc_hqx(quote(tenant or DEFAULT_TENANT, safe="").encode(), 0) % self._broker.partitions

    async def write(self, *acts: Act) -> None:
        """Have acts recorded; they are by the time this returns.

        Raises:
            BrokerUnavailable: the server cannot be reached; each may or may not be recorded.
        """
        waiting = [self._chain(self.partition_of(act.tenant)).put(body_of(act)) for act in acts]
        for answer in await asyncio.gather(*waiting, return_exceptions=True):
            if isinstance(answer, BaseException):
                raise answer

    def _chain(self, partition: int) -> "_Chain":
        return self._chains.setdefault(partition, _Chain(self._broker, partition))

    async def look(self, tenant: str, *, after: str = "0-0", most: int = PAGE) -> ChainPart:
        """Entries of the chain that a tenant's records are in, others' records among them, the oldest first.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        call = scripts.look_audit(self.partition_of(tenant), after=after, most=most)
        return scripts.read_part(await self._broker.run(call))

    async def records(
        self, tenant: str, *, after: str | None = None, since: float | None = None, until: float | None = None,
        newest_first: bool = True,
    ) -> AsyncIterator[tuple[str, Mapping[str, str]]]:  # fmt: skip
        """Entry id and fields of each record in a tenant's chain, others' records among them, from a cursor on.

        Args:
            tenant: whose chain.
            after: the entry id to begin behind, in the order asked for.
            since: seconds since the epoch, roughly: a record is looked for around its `at`.
            until: the same.
            newest_first: the order.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        stream = keys.audit(self.partition_of(tenant))
        # Before 1970 there is no entry, and no id of one.
        low = "-" if since is None else str(max(0, codec.ms(since - CLOCKS_DIFFER.total_seconds())))
        high = "+" if until is None else str(max(0, codec.ms(until + WRITTEN_WITHIN.total_seconds())))
        while not (newest_first and after == BEFORE_ALL):  # nothing lies before it, and the server knows no such range
            async with self._broker.guarded() as redis:
                if newest_first:
                    page = await redis.xrevrange(stream, f"({after}" if after else high, low, count=PAGE)
                else:
                    page = await redis.xrange(stream, f"({after}" if after else low, high, count=PAGE)
            for entry_id, fields in page:
                yield entry_id, fields
            if len(page) < PAGE:
                return
            after = page[-1][0]

    async def trim(self, *, now: float) -> int:
        """Drop what every group has finished with and that is older than a week, keeping where each chain begins.

        Without an archiver nothing is dropped: its group says that what is dropped is kept. Gives how many records.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        dropped = 0
        kept_since = now - KEPT_FOR.total_seconds()
        for partition in range(self._broker.partitions):
            first_kept = await oldest_needed(
                self._broker, keys.audit(partition), kept_since=kept_since, group=ARCHIVERS
            )
            if first_kept is None:
                continue
            while step := int(await self._broker.run(scripts.trim_audit(partition, first_kept=first_kept))):
                dropped += step
        return dropped


class _Chain:
    """The end of one chain as this process knows it, and who waits to have something appended there."""

    def __init__(self, broker: Broker, partition: int) -> None:
        self._broker = broker
        self._partition = partition
        self._end = ChainEnd(Point(), "0-0")
        self._waiting: list[tuple[dict[str, str], asyncio.Future[None]]] = []
        self._work: asyncio.Task[None] | None = None

    def put(self, body: dict[str, str]) -> asyncio.Future[None]:
        """Have it appended, together with what comes meanwhile; done when it is, whoever waits for that."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((body, done))
        if self._work is None or self._work.done():
            self._work = self._broker.in_background(self._drain())
        return done

    async def _drain(self) -> None:
        """Append until nobody waits. A task of its own: whoever waits may be cancelled, and the others wait for it."""
        while self._waiting:
            batch, self._waiting = self._waiting[:MOST_IN_A_CALL], self._waiting[MOST_IN_A_CALL:]
            failure: BaseException | None = None
            try:
                await self._append([body for body, _ in batch])
            except asyncio.CancelledError:
                for _, done in (*batch, *self._waiting):
                    done.cancel()
                raise
            except BaseException as error:  # noqa: BLE001 - it is theirs who wait, whatever it is
                failure = error
            for _, done in batch:
                if done.done():
                    continue
                if failure is None:
                    done.set_result(None)
                else:
                    done.set_exception(failure)

    async def _append(self, bodies: Sequence[Mapping[str, str]]) -> None:
        """Append all of them, behind whatever others append at the same time.

        Each refusal means that another process got on: somebody always does.

        Raises:
            BrokerUnavailable: the server cannot be reached, or others are always faster.
        """
        give_up_at = time.monotonic() + GIVES_UP_AFTER.total_seconds()
        while time.monotonic() < give_up_at:
            chained = await self._try(bodies)
            self._end = chained.end
            if chained.is_appended:
                return
            await asyncio.sleep(random.uniform(0, 0.003))  # noqa: S311 - so that two do not meet again
        raise BrokerUnavailable("the audit chain is always ahead")

    async def _try(self, bodies: Sequence[Mapping[str, str]]) -> Chained:
        records = audit_chain.append(bodies, after=self._end.point)
        call = scripts.append_audit(self._partition, records, after=self._end.point)
        # Replicated like a submission: a failover must not forget the record and keep what it tells of.
        (answer,) = await self._broker.run_all([call], replicated=True)
        if isinstance(answer, Exception):
            raise answer
        return scripts.read_chained(answer)
