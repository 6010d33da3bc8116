"""`GET /api/v1/events` and `/api/v1/ws`: what happens, as it happens."""

import contextlib
from typing import Annotated, Any, Final

import structlog
from fastapi import APIRouter, Header, Query, Request, Response, WebSocket
from pydantic import Field, TypeAdapter, ValidationError
from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from api.dependencies import CallerDep, Studio, StudioDep
from api.documented import problems
from api.limit_settings import Lane
from api.live import (
    Ended,
    Event,
    Filter,
    Gone,
    Kind,
    as_message,
    as_sse,
    bearer_of,
    last_word,
    read_after,
    read_kinds,
    wants,
)
from api.live import stream as follow
from api.problems import Refusal, answer, invalid
from api.rights import require
from api.sign_ins import identify
from broker.entry_ids import Position
from broker.errors import BrokerUnavailable
from broker.live_cursor import LONGEST
from broker.token_store import Token, TokenKind
from protocol.names import MAX_NAME

log = structlog.get_logger(__name__)
router = APIRouter(prefix="/api/v1", tags=["operations"])

PROTOCOL: Final = "studio.v1"
GOING_AWAY: Final = 1001
POLICY_VIOLATION: Final = 1008
TRY_AGAIN_LATER: Final = 1013
ONE_TOO_MANY: Final = frozenset({"too_many_listeners", "no_room"})
HEADERS: Final = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
Name = Annotated[str | None, Query(min_length=1, max_length=MAX_NAME)]
NAMES: Final[TypeAdapter[dict[str, Any]]] = TypeAdapter(
    dict[str, Annotated[str, Field(min_length=1, max_length=LONGEST)]]
)


def _check_may_listen(caller: Token, wanted: Filter) -> None:
    """Operators hear of requests, commands and hosts; of acts, whoever may read the audit trail.

    Raises:
        Refusal: they may not.
    """
    require(caller, [TokenKind.VIEWER] if Kind.AUDIT in wanted.kinds else [TokenKind.OPERATOR, TokenKind.VIEWER])


@router.get(
    "/events",
    responses={200: {"content": {"text/event-stream": {}}}, **problems(401, 403, 422, 503)},
    response_class=Response,
    summary="What happens, as it happens",
)
async def events(
    request: Request,
    caller: CallerDep,
    parts: StudioDep,
    kinds: Annotated[str | None, Query(max_length=100, description="Some of request,command,host,audit")] = None,
    service_name: Name = None,
    hostname: Name = None,
    request_id: Name = None,
    after: Annotated[str | None, Query(max_length=LONGEST, description="The id of the last event that came")] = None,
    last_event_id: Annotated[str | None, Header(max_length=LONGEST)] = None,
) -> Response:
    """Server-sent events of the caller's tenant and services. Every one has an `id` from which another stream goes on.

    `snapshot` says that something was missed: load anew what is shown, and stay. A comment comes every 15 seconds.
    """
    wanted = Filter(read_kinds(kinds), service_name, hostname, request_id)
    _check_may_listen(caller, wanted)
    came_back = last_event_id is not None  # an EventSource that connects again says so, and keeps the old address
    position = read_after(
        parts.live, last_event_id if came_back else after, field="Last-Event-ID" if came_back else "after"
    )
    return EventStream(request, caller, parts, wanted, position)


async def _identify(parts: Studio, call: Request) -> Token:
    return await identify(call, parts, call.headers)


class EventStream(Response):
    """An answer that goes on. Its own loop, as a client that takes nothing must not hold up its end."""

    def __init__(
        self, request: Request, caller: Token, parts: Studio, wanted: Filter, after: list[Position] | None
    ) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self._request = request
        self._caller = caller
        self._parts = parts
        self._wanted = wanted
        self._after = after

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as ASGI calls it
        """Stream until something ends it."""
        feed, wanted = self._parts.live, self._wanted

        async def gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        async def finish() -> None:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        with self._parts.listeners.one_more(self._caller.token_id):
            async with feed.listening(wants(self._caller, wanted), wanted.families, after=self._after) as listener:
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                ended = await follow(
                    feed, listener, _EventsOut(send), gone=gone(),
                    identify=lambda: _identify(self._parts, self._request),
                )  # fmt: skip
            log.info("stream ended", reason=ended.value, by=self._caller.token_id)
            await last_word(finish)


class _EventsOut:
    def __init__(self, send: Send) -> None:
        self._send = send

    async def send(self, event: Event) -> None:
        await self._send({"type": "http.response.body", "body": as_sse(event), "more_body": True})


@router.websocket("/ws")
async def websocket(socket: WebSocket) -> None:
    """The same events as messages: `{"kind", "id", "data"}`. Filters and `after` as there."""
    parts: Studio = socket.app.state.studio
    identity = _identity(socket)
    try:
        caller = await _identify(parts, identity)
        identity.state.caller = caller
        await parts.limits.check(socket.scope, Lane.READS, caller.token_id)
        wanted, after = _asked(socket, parts)
        _check_may_listen(caller, wanted)
        await _tell(socket, identity, caller, wanted, after)
    except (Refusal, BrokerUnavailable) as error:
        refusal = error if isinstance(error, Refusal) else Refusal("broker_unavailable", str(error))
        await _turn_away(socket, identity, refusal)


async def _tell(
    socket: WebSocket, identity: Request, caller: Token, wanted: Filter, after: list[Position] | None
) -> None:
    parts: Studio = socket.app.state.studio
    with parts.listeners.one_more(caller.token_id):
        async with parts.live.listening(wants(caller, wanted), wanted.families, after=after) as listener:
            await _accept(socket)
            ended = await follow(
                parts.live, listener, _MessagesOut(socket), gone=_closed(socket),
                identify=lambda: _identify(parts, identity),
            )  # fmt: skip
        log.info("stream ended", reason=ended.value, by=caller.token_id)
        if ended is not Ended.GONE:
            code = {Ended.GOING_DOWN: GOING_AWAY, Ended.NOT_ALLOWED: POLICY_VIOLATION}.get(ended, TRY_AGAIN_LATER)
            await _close(socket, code, ended.value)


async def _accept(socket: WebSocket) -> None:
    offered = socket.scope["subprotocols"]
    await socket.accept(subprotocol=PROTOCOL if PROTOCOL in offered else None)


async def _close(socket: WebSocket, code: int, why: str) -> None:
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # it went away at the same moment
        await last_word(lambda: socket.close(code, why))


async def _turn_away(socket: WebSocket, identity: Request, refusal: Refusal) -> None:
    """Refuse the handshake with the problem as its answer.

    One listener too many is let in and closed: a page is told the code of a close and why, and of a refused handshake
    nothing. It is not broken and may come again, which only that tells it.
    """
    told = answer(identity, refusal)
    if refusal.code not in ONE_TOO_MANY:
        await socket.send_denial_response(told)
        return
    await _accept(socket)
    await _close(socket, TRY_AGAIN_LATER, f"{refusal.detail} Come again in {told.headers['Retry-After']} s.")


class _MessagesOut:
    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket

    async def send(self, event: Event) -> None:
        try:
            await self._socket.send_text(as_message(event))
        except WebSocketDisconnect:
            raise Gone from None


async def _closed(socket: WebSocket) -> None:
    """Wait until the client has closed, whatever it says before."""
    try:
        while (await socket.receive())["type"] != "websocket.disconnect":
            pass
    except WebSocketDisconnect:
        return


def _identity(socket: WebSocket) -> Request:
    """The call as one that has the token in its header, wherever it came."""
    secret = bearer_of(socket.scope["subprotocols"])
    headers = socket.scope["headers"]
    if secret is not None and "authorization" not in socket.headers:
        headers = [*headers, (b"authorization", f"Bearer {secret}".encode())]
    return Request({**socket.scope, "type": "http", "method": "GET", "headers": headers})


def _asked(call: HTTPConnection, parts: Studio) -> tuple[Filter, list[Position] | None]:
    given = dict(call.query_params)
    try:
        NAMES.validate_python(given)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False, include_input=False, include_context=False)) from None
    wanted = Filter(
        read_kinds(given.get("kinds")), given.get("service_name"), given.get("hostname"), given.get("request_id")
    )
    return wanted, read_after(parts.live, given.get("after"), field="after")
