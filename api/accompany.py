"""What goes along with every call: an id in the log and in the answer, and headers that were found on the way.

Pure ASGI, and the outermost: what is refused before any route is accompanied too.
"""

import re
from typing import Final
from uuid import uuid4

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.limits import ANSWER_HEADERS
from api.strangers import client
from broker.logs import call_id

REQUEST_ID: Final = b"x-request-id"
SANE: Final = re.compile(rb"[A-Za-z0-9._:/=+-]{1,128}")
"""What a request id from outside may look like: it goes into logs and headers as it is."""


def id_of(scope: Scope) -> str:
    """The id that a call brings along, if it is sane; else a new one."""
    for name, value in scope["headers"]:
        if name == REQUEST_ID and SANE.fullmatch(value):
            return str(value, "ascii")
    return uuid4().hex


class Accompany:
    """Gives each call its id, and each answer the headers that belong to it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        told = id_of(scope)
        call_id.set(told)  # each call is a task of its own, with a context of its own
        client.set(scope.get("client"))

        async def with_headers(message: Message) -> None:
            if message["type"] in {"http.response.start", "websocket.accept"}:
                message["headers"] = [
                    *message.get("headers", ()), (REQUEST_ID, told.encode()), *scope.get(ANSWER_HEADERS, ()),
                ]  # fmt: skip
            await send(message)

        await self._app(scope, receive, with_headers)
