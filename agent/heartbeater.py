"""The heartbeat loop: beat, obey, and beat again when there is something to say or the time has come."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

import structlog
from structlog.typing import FilteringBoundLogger

from agent.backoff import retrying
from agent.books import Books
from agent.conductor import Conductor
from agent.inventory import Inventory
from agent.lookout import Lookout
from agent.replies import Reply
from agent.transport import Refused, TransportError, Unreachable
from agent.waiting import pause, unless
from protocol.heartbeats import RUNNING, Heartbeat
from protocol.pacing import MAX_WAIT, MIN_INTERVAL, next_beat, retry_pause

log: FilteringBoundLogger = structlog.get_logger()

_ACTIVE: Final = "active"
_HELD_FOR_A_WHILE: Final = timedelta(seconds=5)
"""A held call that breaks after this long was cut by something between, not refused by a server that is down."""
_PROBE_EVERY: Final = timedelta(minutes=10)
_OF_THE_BODY: Final = frozenset({400, 413, 422})
"""Refusals of what a beat says, rather than of who says it."""


class Beats(Protocol):
    """The part of the transport that beats."""

    async def heartbeat(self, beat: Heartbeat, *, wait: timedelta) -> Reply:
        """Beat."""


@dataclass(frozen=True)
class Pace:
    """How often to beat: `wait` is how long the server may hold a call, `interval` holds where it does not."""

    interval: timedelta
    wait: timedelta


@dataclass(frozen=True)
class Identity:
    """Who beats. `host_id` is told where the host has a credential of its own, which is held to it."""

    hostname: str
    service_name: str
    agent_version: str
    ip_address: str
    host_id: str | None = None


class Heartbeater:
    """One agent's heartbeats."""

    def __init__(
        self,
        beats: Beats,
        books: Books,
        conductor: Conductor,
        lookout: Lookout,
        *,
        pace: Pace,
        identify: Callable[[], Awaitable[Identity]],
        probe: Callable[[], Awaitable[dict[str, Any]]],
        on_recovery: Callable[[], None],
        changed: asyncio.Event,
        stopping: asyncio.Event,
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            beats: sends.
            books: what to say of commands.
            conductor: takes the answers.
            lookout: knows what runs on the host, and what of it the server has been told.
            pace: how often.
            identify: who beats; asked at start and after an outage, as addresses change.
            probe: the host's capabilities.
            on_recovery: called when the server answers again after an outage.
            changed: set when there is something to say at once; ends a held call.
            stopping: set once, when the agent shuts down.
        """
        self._beats = beats
        self._books = books
        self._conductor = conductor
        self._lookout = lookout
        self._pace = pace
        self._identify = identify
        self._probe = probe
        self._on_recovery = on_recovery
        self._changed = changed
        self._stopping = stopping
        self._identity: Identity | None = None
        self._capabilities: dict[str, Any] | None = None
        self._capabilities_told: dict[str, Any] | None = None
        self._probed: float | None = None
        self._failing = False
        self._recovered = False
        self._offered_again = 0

    async def run(self) -> None:
        """Beat until the agent shuts down."""
        while not self._stopping.is_set():
            began = time.monotonic()
            attempts = retrying(cap=self._pace.interval, stopping=self._stopping, on_failure=self._note_failure)
            try:
                reply: Reply | None = await attempts(self.beat, self._pace.wait)
            except TransportError:
                return  # shutting down; each failure has been noted
            if reply is not None:
                rest = self._rest(reply, took=timedelta(seconds=time.monotonic() - began))
                await pause(rest, self._changed, self._stopping)

    async def beat(self, wait: timedelta) -> Reply | None:
        """One beat, and obedience to its answer. None: it was let go, because there is something new to say.

        Raises:
            TransportError: no good answer.
        """
        await self._look_around()
        self._changed.clear()
        acks, sent, inventory = self._books.acks, self._capabilities, self._lookout.news()
        if self._failing:
            wait = timedelta(0)  # first see whether the server is back; completions wait for that
        call = self._beats.heartbeat(self._compose(inventory), wait=min(wait, MAX_WAIT))
        try:
            reply = await unless(call, self._changed, self._stopping) if wait else await call
        except Unreachable as error:
            if error.after < _HELD_FOR_A_WHILE or not wait:
                raise
            log.info("a held heartbeat was cut", after_seconds=round(error.after.total_seconds(), 1), reason=str(error))
            return Reply(held=True)
        except Refused as error:
            if inventory is not None and error.status in _OF_THE_BODY:
                self._lookout.was_refused(str(error))
            raise
        if reply is None:
            return None
        log.debug("beat", command_id=reply.command_id, held=reply.held)
        self._books.told(acks)
        self._capabilities_told = sent
        if reply.inventory_wanted:
            self._lookout.forget()
        elif inventory is not None:
            self._lookout.told(inventory)
        self._note_success()
        fresh = self._obey(reply)
        self._offered_again = self._offered_again + 1 if reply.command_id is not None and not fresh else 0
        return reply

    def look_again(self) -> None:
        """The host's capabilities are others than they were: tell them with the next beat, which goes out at once."""
        self._probed = None
        self._changed.set()

    async def last_beat(self) -> None:
        """Say once, without waiting, how things stand at the end.

        Raises:
            TransportError: no good answer.
        """
        if self._identity is not None:
            await self._beats.heartbeat(self._compose(), wait=timedelta(0))

    def _obey(self, reply: Reply) -> bool:
        try:
            return self._conductor.obey(reply)
        except Exception:  # an answer that trips us up must not end the beating; the server offers its command again
            log.exception("an answer could not be taken", command_id=reply.command_id)
            return False

    def _rest(self, reply: Reply, *, took: timedelta) -> timedelta:
        """The pause after an answer; a change of state ends it."""
        spread = random.random()  # noqa: S311 - jitter, not a secret
        if self._offered_again:
            return retry_pause(self._offered_again, cap=self._pace.interval, spread=spread)
        if reply.held or self._recovered:
            return MIN_INTERVAL - took  # a server that lets go at once must not be hammered
        return next_beat(reply.interval or self._pace.interval, spread=spread)

    def _compose(self, inventory: Inventory | None = None) -> Heartbeat:
        if self._identity is None:
            raise RuntimeError("the agent has not looked around yet")
        last = self._books.history.last_command_id
        acks = self._books.acks
        return Heartbeat(
            ip_address=self._identity.ip_address,
            hostname=self._identity.hostname,
            service_name=self._identity.service_name,
            agent_version=self._identity.agent_version,
            last_command_id=last,
            status=RUNNING if last is not None and self._conductor.has_begun(last) else _ACTIVE,
            timestamp=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            received_command_ids=list(acks.received),
            executed_command_ids=list(acks.executed),
            host_id=self._identity.host_id,
            capabilities=self._capabilities if self._capabilities != self._capabilities_told else None,
            containers=list(inventory.containers) if inventory else None,
            namespace=inventory.own.namespace if inventory and inventory.own else None,
            pod_name=inventory.own.name if inventory and inventory.own else None,
        )

    async def _look_around(self) -> None:
        if self._identity is None:
            self._identity = await self._identify()
        now = time.monotonic()
        if self._probed is None or now - self._probed > _PROBE_EVERY.total_seconds():
            self._capabilities = await self._probe()
            self._probed = now

    def _note_failure(self, error: TransportError, attempt: int, rest: timedelta) -> None:
        tell = log.debug if self._failing else log.warning
        refused = isinstance(error, Refused)
        tell(
            "the server refuses heartbeats" if refused else "the server cannot be reached",
            reason=str(error),
            attempt=attempt,
            next_try_in_seconds=round(rest.total_seconds(), 1),
        )
        self._failing = True
        # After an outage the server may be another one, and so may our address.
        self._identity, self._capabilities_told = None, None
        self._lookout.forget()

    def _note_success(self) -> None:
        self._recovered = self._failing
        if self._failing:
            log.info("the server answers again")
            self._failing = False
            self._on_recovery()
