"""What goes along with every call: an id in the log and in the answer, headers found on the way, and being counted.

Pure ASGI, and the outermost: what is refused or answered before any route is accompanied too.
"""

import re
import time
from collections.abc import Collection
from typing import Any, Final
from uuid import uuid4

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.limits import ANSWER_HEADERS
from api.metrics import UNMATCHED, note_call
from api.strangers import client
from broker import tracing
from broker.logs import call_id

HEARTBEAT: Final = "/api/metrics/heartbeat"
"""One that hands out a command is a step of that command's trace; the others are of no interest to anybody."""
REQUEST_ID: Final = b"x-request-id"
HELD: Final = b"preference-applied"
STREAM: Final = b"text/event-stream"
CLIENT_GONE: Final = 499
"""Counted where nobody was there any more to be answered."""
SANE: Final = re.compile(rb"[A-Za-z0-9._:/=+-]{1,128}")
"""What a request id from outside may look like: it goes into logs and headers as it is."""


def id_of(scope: Scope) -> str:
    """The id that a call brings along, if it is sane; else a new one."""
    for name, value in scope["headers"]:
        if name == REQUEST_ID and SANE.fullmatch(value):
            return str(value, "ascii")
    return uuid4().hex


def fixed_routes(app: FastAPI) -> frozenset[str]:
    """The paths of an application that have no parts to fill in: these are their own label."""
    paths = {getattr(route, "path", "") for route in app.routes}
    return frozenset(path for path in paths if path and "{" not in path)


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
        status, held = CLIENT_GONE, False

        async def with_headers(message: Message) -> None:
            nonlocal status, held
            if message["type"] in {"http.response.start", "websocket.accept"}:
                status = message.get("status", 101)
                headers = [*message.get("headers", ()), (REQUEST_ID, told.encode())]
                for of_lane in scope.get(ANSWER_HEADERS, {}).values():
                    headers.extend(of_lane)
                held = any(name == HELD or value.startswith(STREAM) for name, value in headers)
                message["headers"] = headers
            await send(message)

        try:
            if scope["path"] == HEARTBEAT or not tracing.is_on():
                await self._app(scope, receive, with_headers)
            else:
                with tracing.span(f"{scope.get('method', 'WS')} {scope['path']}", parent=_parent_of(scope)):
                    await self._app(scope, receive, with_headers)
        except Exception:
            status = 500  # answered outside of here, where what nobody expected is told
            raise
        finally:
            seconds = None if held or scope["type"] == "websocket" else time.perf_counter() - began
            note_call(scope.get("method", "GET"), self._route_of(scope), status, seconds)

    def _route_of(self, scope: Any) -> str:
        if scope["path"] in self._routes:
            return str(scope["path"])
        return str(getattr(scope.get("route"), "path", UNMATCHED))


def _parent_of(scope: Scope) -> str:
    return next((str(value, "latin-1") for name, value in scope["headers"] if name == b"traceparent"), "")
