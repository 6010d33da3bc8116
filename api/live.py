"""Live events at the edge: who is told of what, how it is said, and when a stream ends."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Protocol

from api.problems import Refusal, invalid
from api.routes.audit import item, may_see
from broker.entry_ids import Position
from broker.errors import BrokerUnavailable
from broker.live import Listener, LiveFeed, Told
from broker.live_cursor import BadCursor
from broker.token_store import Token
from protocol.problems import FieldFault

BEATS_EVERY: Final = timedelta(seconds=15)
LOOKS_EVERY: Final = timedelta(seconds=1)
"""How often a stream's token is looked at; with what is remembered of it, a revocation bites within five seconds."""
STUCK_AFTER: Final = timedelta(seconds=60)
"""A client that takes nothing for so long is sent away."""
LAST_WORD_WITHIN: Final = 1.0
WITHOUT_COMMAND: Final = frozenset({"submitted", "queued"})
COPIED: Final = ("state", "command_id", "reason", "results_path", "started_at", "finished_at")


class Kind(StrEnum):
    """What an event is about: a request that has no command yet, a command, a host, somebody's act."""

    REQUEST = "request"
    COMMAND = "command"
    HOST = "host"
    AUDIT = "audit"


USUAL: Final = (Kind.REQUEST, Kind.COMMAND, Kind.HOST)
FAMILY_OF: Final[Mapping[Kind, str]] = {
    Kind.REQUEST: "results", Kind.COMMAND: "results", Kind.HOST: "events", Kind.AUDIT: "audit",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Filter:
    """What a caller wants to hear of; None: any."""

    kinds: Collection[Kind] = USUAL
    service_name: str | None = None
    hostname: str | None = None
    request_id: str | None = None

    @property
    def families(self) -> list[str]:
        """The streams that have to be looked through."""
        return sorted({FAMILY_OF[kind] for kind in self.kinds})


@dataclass(frozen=True, slots=True)
class Event:
    """One event on its way out. `cursor`: from where to go on after it. Without data it is a beat."""

    kind: str
    cursor: str
    data: Mapping[str, Any] | None = None


class Ended(StrEnum):
    """Why a stream is over."""

    GOING_DOWN = "the server is going down"
    NOT_ALLOWED = "the token is not valid any more"
    GONE = "the client is gone"
    STUCK = "the client takes nothing"


class Gone(Exception):
    """The client is found to be gone while something is sent."""


class Out(Protocol):
    """The way to one client."""

    async def send(self, event: Event) -> None:
        """Send an event; waits while the client is slow.

        Raises:
            Gone: there is no client any more.
        """


def wants(caller: Token, wanted: Filter) -> Callable[[Told], bool]:
    """Whether an entry is for this caller: of their tenant and services, and what they asked for."""
    covered: dict[str, bool] = {}

    def is_wanted(told: Told) -> bool:
        fields = told.fields
        if kind_of(told) not in wanted.kinds:
            return False
        if told.family == "audit":
            if not may_see(caller, fields):
                return False
            ids, hostname = fields.get("objects", ""), None
        else:
            service = fields["service"]
            if fields["tenant"] != caller.tenant or not covered.setdefault(service, caller.covers(service)):
                return False
            ids, hostname = fields.get("request_ids", ""), fields["hostname"]
        return (
            wanted.service_name in {None, fields.get("service")}
            and wanted.hostname in {None, hostname}
            and (wanted.request_id is None or wanted.request_id in ids.split())
        )

    return is_wanted


def kind_of(told: Told) -> Kind:
    """What an entry is about."""
    match told.family:
        case "events":
            return Kind.HOST
        case "audit":
            return Kind.AUDIT
        case _:
            return Kind.REQUEST if told.fields["state"] in WITHOUT_COMMAND else Kind.COMMAND


def view(told: Told) -> dict[str, Any]:
    """An entry as clients are told of it."""
    fields = told.fields
    if told.family == "audit":
        return item(fields).model_dump(mode="json", exclude_none=True)
    facts: dict[str, Any] = {"at": _moment(fields["at"]), "service_name": fields["service"]}
    facts["hostname"] = fields["hostname"] or None
    if told.family == "events":
        silent = {"silent_since": _moment(fields["silent_since"])} if "silent_since" in fields else {}
        command = {"command_id": fields["command_id"]} if "command_id" in fields else {}
        counts = {name: int(fields[name]) for name in ("known_hosts", "silent_hosts") if name in fields}
        return {**facts, "event": fields["kind"], **silent, **command, **counts}
    facts |= {name: fields[name] for name in COPIED if fields.get(name)}
    facts |= {name: int(fields[name]) for name in ("generation", "attempt", "samples") if name in fields}
    if "execution_time" in fields:
        facts["execution_time"] = float(fields["execution_time"])
    return {**facts, "request_ids": fields["request_ids"].split()}


def read_after(feed: LiveFeed, text: str | None, *, field: str) -> list[Position] | None:
    """Where a client stood.

    Raises:
        Refusal: what it says is no cursor.
    """
    if text is None:
        return None
    try:
        return feed.read_cursor(text)
    except BadCursor as error:
        raise invalid(more=[FieldFault(field=field, message=str(error), code="cursor")]) from None


def read_kinds(text: str | None) -> tuple[Kind, ...]:
    """The kinds that a caller names, parted by commas.

    Raises:
        Refusal: one of them is none.
    """
    if text is None:
        return USUAL
    try:
        return tuple(Kind(word.strip()) for word in text.split(","))
    except ValueError:
        known = ", ".join(Kind)
        raise invalid(more=[FieldFault(field="kinds", message=f"may be some of: {known}", code="enum")]) from None


async def stream(
    feed: LiveFeed, listener: Listener, out: Out, *, gone: Awaitable[None], identify: Callable[[], Awaitable[Token]]
) -> Ended:
    """Send what a listener hears until something ends it; gives what did."""
    ends = {
        asyncio.ensure_future(_pump(feed, listener, out)): Ended.STUCK,
        asyncio.ensure_future(feed.closing.wait()): Ended.GOING_DOWN,
        asyncio.ensure_future(gone): Ended.GONE,
        asyncio.ensure_future(_until_not_allowed(identify)): Ended.NOT_ALLOWED,
    }
    try:
        done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        return min((ends[task] for task in done), key=list(Ended).index)
    except Gone:
        return Ended.GONE
    finally:
        for task in ends:
            task.cancel()
        await asyncio.gather(*ends, return_exceptions=True)


async def _pump(feed: LiveFeed, listener: Listener, out: Out) -> None:
    """Send until the client is stuck. Nothing is sent twice: where it stands moves with each event."""
    with contextlib.suppress(TimeoutError):
        await _say(out, Event("hello", listener.cursor, {}))
        while True:
            taken = await feed.take(listener, within=BEATS_EVERY.total_seconds())
            for told in taken:
                await _say(out, Event(kind_of(told), listener.passed(told), view(told)))
            if taken:
                continue
            why = feed.rejoin(listener)
            if why is not None:
                await _say(out, Event("snapshot", listener.cursor, {"reason": why}))
            else:
                feed.note_idle(listener)
                await _say(out, Event("beat", listener.cursor))


async def _say(out: Out, event: Event) -> None:
    async with asyncio.timeout(STUCK_AFTER.total_seconds()):
        await out.send(event)


async def _until_not_allowed(identify: Callable[[], Awaitable[Token]]) -> None:
    while True:
        await asyncio.sleep(LOOKS_EVERY.total_seconds())
        try:
            await identify()
        except Refusal:
            return
        except BrokerUnavailable:
            continue  # nobody can be told of a revocation just now, nor can anybody revoke


async def last_word(send: Callable[[], Awaitable[None]]) -> None:
    """End a stream in good order, unless the client does not even take that."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LAST_WORD_WITHIN):
            await send()


def as_sse(event: Event) -> bytes:
    """An event as `text/event-stream` has it. A beat is a comment that moves the client's last event id on."""
    if event.data is None:
        return f": {event.kind}\nid: {event.cursor}\n\n".encode()
    return f"id: {event.cursor}\nevent: {event.kind}\ndata: {json.dumps(event.data)}\n\n".encode()


def as_message(event: Event) -> str:
    """An event as one message of a websocket."""
    return json.dumps({"kind": event.kind, "id": event.cursor, **({} if event.data is None else {"data": event.data})})


def bearer_of(protocols: Sequence[str]) -> str | None:
    """The token among a websocket's subprotocols (`bearer.TOKEN`): browsers can set no other header."""
    return next((each.removeprefix("bearer.") for each in protocols if each.startswith("bearer.")), None)


def _moment(ms: str) -> str:
    return datetime.fromtimestamp(int(ms) / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
