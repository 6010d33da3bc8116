"""Turning callers away at the door, before there is a call for the application: those who are known to be nobody.

Anybody can send heartbeats with made-up tokens without end. What such a call costs is what it takes from the good ones,
and half of it would be the server's own: a task, ASGI's messages, and somebody woken up to read each answer.
"""

import asyncio
import contextvars
import time
from collections.abc import Sequence
from typing import Final

from fastapi import FastAPI
from starlette.types import Scope

from api.accompany import HEARTBEAT, REQUEST_ID, id_of
from api.connections import Leave, TurnedAway
from api.fast_path import MET
from api.fast_refusals import RATE_LIMITED, UNAUTHENTICATED, FastRefusals, log_if_it_may_be, note_for_audit
from api.limit_settings import Lane
from api.limits import address_of, count_refused
from api.metrics import note_calls
from api.remembered import Known
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
        met = parts.authenticator.meet(authorization)
        if isinstance(met, Known):
            if met.token is not None:
                scope[MET] = met
                return None
            code, made = UNAUTHENTICATED, self._refusals.to_unknown
        else:
            over = None if met is None else parts.lookups.over(met, scope["client"])
            if over is None:
                return None
            code, made = RATE_LIMITED, self._refusals.told_to_wait(Lane.STRANGERS, over, parts.limits)
        told = id_of(scope)
        lines = b"%b%b: %b\r\n" % (made.lines, REQUEST_ID, told.encode())
        return TurnedAway(made.status, lines, made.body, time.perf_counter(), scope, code, told)

    def leave(self, leave: Leave, call: TurnedAway) -> None:
        """Have a call that has come to its end answered with the others."""
        if not self._leaving:
            asyncio.get_running_loop().call_later(LEAVES_EVERY_SECONDS, self._let_go)
        self._leaving.append((leave, call))

    def _let_go(self) -> None:
        leaving, self._leaving = self._leaving, []
        alike: dict[tuple[str, str], list[TurnedAway]] = {}
        for leave, call in leaving:
            alike.setdefault((call.code, address_of(call.scope["client"])), []).append(call)
            leave(call)
        for calls in alike.values():
            self._tell(calls)

    def _tell(self, calls: Sequence[TurnedAway]) -> None:
        """Tell of refusals what would be told of each further in; they came from one address, with one fault."""
        first, count, now = calls[0], len(calls), time.perf_counter()
        note_calls("POST", HEARTBEAT, first.status, [now - call.came_at for call in calls])
        if first.code == RATE_LIMITED:
            count_refused(Lane.STRANGERS, count)
        first.scope.update(app=self._app, method="POST", path=HEARTBEAT, route=ROUTE)
        context = contextvars.copy_context()
        context.run(call_id.set, first.call_id)
        context.run(note_for_audit, first.scope, self._app.state.studio, None, first.code, count)
        for number, call in enumerate(calls):
            context.run(call_id.set, call.call_id)
            if not context.run(log_if_it_may_be, call.code, count - number):
                break


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
