"""Turning callers away at the door, before there is a call for the application: those who are known to be nobody.

Anybody can send heartbeats with made-up tokens without end. What such a call costs is what it takes from the good ones,
and half of it would be the server's own: a task, ASGI's messages, and somebody woken up to read each answer.
"""

import asyncio
import time
from typing import Final

from fastapi import FastAPI
from starlette.types import Scope

from api.accompany import HEARTBEAT, REQUEST_ID, id_of
from api.connections import Leave, TurnedAway
from api.fast_refusals import FastRefusals, Made
from api.limit_settings import Lane
from api.metrics import note_call
from api.routes import heartbeats
from broker.logs import call_id

METHOD: Final = b"POST"
PATH: Final = HEARTBEAT.encode()
ROUTE: Final = heartbeats.router.routes[0]
MOST_DIGITS: Final = len(str(64 * 1024))
"""Of the length of a body that is read and thrown away; longer ones are the application's."""

LEAVES_EVERY_SECONDS: Final = 0.002
"""Refusals go out together, so often: one by one, each wakes somebody up to read it, which takes the system longer than
all else about it; and it is soon enough for who sends them one after the other."""


class Door:
    """Refuses heartbeats whose caller is known to be unknown, or asks to be looked up too often.

    It finds what the application would find, and tells it where the application would: answer, audit trail, log and
    metrics. Whatever asks for a second look is let in.
    """

    def __init__(self, app: FastAPI, refusals: FastRefusals) -> None:
        self._app = app
        self._refusals = refusals
        self._leaving: list[tuple[Leave, TurnedAway]] = []

    def turn_away(self, method: bytes, path: bytes, scope: Scope) -> TurnedAway | None:
        """The refusal of a call whose headers have come; None: let it in."""
        if path != PATH or method != METHOD:
            return None
        parts = getattr(self._app.state, "studio", None)
        authorization = _authorization(scope)
        if parts is None or authorization is None:
            return None
        came_at = time.perf_counter()
        known = parts.authenticator.recall(authorization)
        if known is not None and known.token is not None:
            return None
        if known is not None:
            over = None
        else:
            digest = parts.authenticator.stranger(authorization)
            over = None if digest is None else parts.lookups.over(digest, scope["client"])
            if over is None:
                return None
        scope.update(app=self._app, method="POST", path=HEARTBEAT, route=ROUTE)
        told = id_of(scope)
        outside = call_id.set(told)
        try:
            if over is None:
                made = self._refusals.unknown(scope, parts)
            else:
                made = self._refusals.limited(scope, parts, Lane.STRANGERS, over)
        finally:
            call_id.reset(outside)  # the connection's next call comes in the same context
        return _turned_away(made, told, came_at)

    def leave(self, leave: Leave, call: TurnedAway) -> None:
        """Have a call that has come to its end answered with the others."""
        if not self._leaving:
            asyncio.get_running_loop().call_later(LEAVES_EVERY_SECONDS, self._let_go)
        self._leaving.append((leave, call))

    def _let_go(self) -> None:
        leaving, self._leaving = self._leaving, []
        now = time.perf_counter()
        for leave, call in leaving:
            leave(call)
            note_call("POST", HEARTBEAT, call.status, now - call.came_at)


def _authorization(scope: Scope) -> bytes | None:
    """The one header that counts, of a call with a short body of a length that is told; None: let it in."""
    authorization, is_short = None, False
    for name, value in scope["headers"]:
        if name == b"authorization":
            if authorization is not None:
                return None
            authorization = value
        elif name == b"content-length":
            is_short = len(value) <= MOST_DIGITS
        elif name == b"transfer-encoding":
            return None
    return authorization if is_short else None


def _turned_away(made: Made, told: str, came_at: float) -> TurnedAway:
    lines = b"%b%b: %b\r\n" % (made.lines, REQUEST_ID, told.encode())
    return TurnedAway(made.status, lines, made.body, came_at)
