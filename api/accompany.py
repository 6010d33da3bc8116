"""What goes along with every call: an id in the log and in the answer, headers found on the way, and being counted.

Pure ASGI, and the outermost: what is refused or answered before any route is accompanied too.
"""

import itertools
import secrets
import time
from collections.abc import Collection
from typing import Any, Final

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.connections import WHOLE
from api.fast_heads import REQUEST_ID, SANE
from api.limits import ANSWER_HEADERS
from api.metrics import UNMATCHED, note_call
from api.strangers import client
from broker import tracing
from broker.logs import call_id

HEARTBEAT: Final = "/api/metrics/heartbeat"
"""One that hands out a command is a step of that command's trace; the others are of no interest to anybody."""
HELD: Final = b"preference-applied"
STREAM: Final = b"text/event-stream"
CLIENT_GONE: Final = 499
"""Counted where nobody was there any more to be answered."""
_OURS: Final = secrets.token_hex(8)
_count: Final = itertools.count(secrets.randbits(32))


def id_of(scope: Scope) -> str:
    """The id that a call brings along, if it is sane; else a new one: this process's own beginning and a number."""
    for name, value in scope["headers"]:
        if name == REQUEST_ID and SANE.fullmatch(value):
            return str(value, "ascii")
    return new_id()


def new_id() -> str:
    """The id of a call that brings none along."""
    return f"{_OURS}{next(_count):016x}"


def fixed_routes(app: FastAPI) -> frozenset[str]:
    """The paths of an application that have no parts to fill in: these are their own label."""
    paths = {route.path for route in iter_route_contexts(app.routes)}
    return frozenset(path for path in paths if path and "{" not in path)


class Answering:
    """Sends what answers one call, with the headers that belong to it, and sees what it was."""

    __slots__ = ("_id", "_scope", "_send", "held", "status")

    def __init__(self, scope: Scope, send: Send, told: str) -> None:
        self._scope = scope
        self._send = send
        self._id = told.encode()
        self.status = CLIENT_GONE
        self.held = False

    async def __call__(self, message: Message) -> None:
        """Send a message as ASGI has it."""
        if message["type"] in {"http.response.start", "websocket.accept"}:
            self.status = message.get("status", 101)
            headers = [*message.get("headers", ()), (REQUEST_ID, self._id)]
            for of_lane in self._scope.get(ANSWER_HEADERS, {}).values():
                headers.extend(of_lane)
            self.held = any(name == HELD or value.startswith(STREAM) for name, value in headers)
            message["headers"] = headers
        await self._send(message)

    def whole(self, status: int, lines: bytes, body: bytes) -> bool:
        """Send an answer that was not held in one piece, where the server can; False: it cannot, and nothing was sent.

        Args:
            status: the HTTP status.
            lines: the headers as they stand on the wire.
            body: all of it.
        """
        put = (self._scope.get("extensions") or {}).get(WHOLE)
        if put is None or ANSWER_HEADERS in self._scope:
            return False
        if not put(self._scope, status, b"%b%b: %b\r\n" % (lines, REQUEST_ID, self._id), body):
            return False
        self.status = status
        return True


class Accompany:
    """Gives each call its id, each answer the headers that belong to it, and counts both."""

    def __init__(self, app: ASGIApp, routes: Collection[str]) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        told = id_of(scope)
        call_id.set(told)  # each call is a task of its own, with a context of its own
        client.set(scope.get("client"))
        began = time.perf_counter()
        answering = Answering(scope, send, told)
        try:
            if scope["path"] == HEARTBEAT or not tracing.is_on():
                await self._app(scope, receive, answering)
            else:
                with tracing.span(f"{scope.get('method', 'WS')} {scope['path']}", parent=_parent_of(scope)):
                    await self._app(scope, receive, answering)
        except Exception:
            answering.status = 500  # answered outside of here, where what nobody expected is told
            raise
        finally:
            seconds = None if answering.held or scope["type"] == "websocket" else time.perf_counter() - began
            note_call(scope.get("method", "GET"), self._route_of(scope), answering.status, seconds)

    def _route_of(self, scope: Any) -> str:
        if scope["path"] in self._routes:
            return str(scope["path"])
        return str(getattr(scope.get("route"), "path", UNMATCHED))


def _parent_of(scope: Scope) -> str:
    return next((str(value, "latin-1") for name, value in scope["headers"] if name == b"traceparent"), "")
