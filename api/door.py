"""Meeting heartbeats at the door, before there is a call for the application: most are refused or answered here.

Agents beat all day, and anybody can send heartbeats with made-up tokens without end. Half of what such a call takes
would be the server's own: a task, ASGI's messages, and the turns of the event loop between them. Whatever asks for a
second look is let in, and so is every heartbeat for which there is more to say than that there is nothing new.
"""

import asyncio
import contextvars
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from fastapi import FastAPI
from starlette.types import Scope

from api import fast_bodies
from api.accompany import HEARTBEAT, new_id
from api.alike import AlikeCalls
from api.at_the_door import Admitted, Connection, Leave, TurnedAway
from api.beats import heard_of
from api.dependencies import peer_in
from api.fast_answers import IdleAnswers
from api.fast_bodies import Unusual
from api.fast_heads import MOST_BYTES, REQUEST_ID, read_head
from api.fast_path import LANE, MET, ROUTE, TOLD, Told
from api.fast_refusals import RATE_LIMITED, UNAUTHENTICATED, FastRefusals, log_if_it_may_be, note_for_audit
from api.limit_settings import Lane
from api.limits import address_of, count_refused
from api.metrics import note_call, note_calls
from api.proxies import Client
from api.remembered import Known
from api.rights import may_beat
from broker.logs import call_id
from broker.scripts import Beat, Contested, Delivered, Idle

if TYPE_CHECKING:
    from api.dependencies import Studio

METHOD: Final = "POST"
_METHOD: Final = METHOD.encode()
_PATH: Final = HEARTBEAT.encode()
KNOWN_FOR_SECONDS: Final = 1.0
"""A caller whose body takes longer is looked up again: else a token would live as long as its body takes to come."""
LEAVES_EVERY_SECONDS: Final = 0.002
"""Refusals go out together, so often: one by one, each wakes somebody up to read it, which takes the system longer than
all else about it; and it is soon enough for who sends them one after the other."""
REFUSED_AT_ONCE: Final = 8
"""So many refusals in a row a connection has as soon as that; an agent with a good token has none."""
LATER_SECONDS: Final = 1.0
"""So often go all further ones: who tries one token after the other, or goes on where they have to wait, has no more of
this server's time than a call a second on each of their connections takes."""


class Door:
    """Refuses heartbeats whose caller is known to be unknown, or asks to be looked up too often; answers usual ones.

    It finds what the application would find, and tells it where the application would: answer, audit trail, log and
    metrics.
    """

    def __init__(self, app: FastAPI, refusals: FastRefusals, idle_answers: IdleAnswers) -> None:
        self._app = app
        self._refusals = refusals
        self._idle_answers = idle_answers
        self._parts: Studio | None = None
        self._alike = AlikeCalls()
        self._leaving: list[tuple[Leave, TurnedAway]] = []
        self._leaving_later: list[tuple[Leave, TurnedAway]] = []

    def meet(self, method: bytes, path: bytes, scope: Scope, client: Client) -> TurnedAway | Admitted | None:
        """What becomes of a call whose headers have come; None: let it in."""
        if path != _PATH or method != _METHOD:
            return None
        parts = self._parts or self._look_for_parts()
        head = read_head(scope["headers"])
        if parts is None or not head.authorization or not head.is_short:
            return None
        met = parts.authenticator.meet(head.authorization)
        told = head.call_id.decode() or new_id()
        if not isinstance(met, Known) or met.token is None:
            authorization = b"" if head.call_id else head.authorization
            return None if met is None else self._turned_away(met, client, told, authorization, parts)
        scope[MET] = met
        if head.preferences or not head.is_usual:
            return None
        return Admitted(scope, time.perf_counter(), told, METHOD, HEARTBEAT, met.token, head.is_zipped)

    def glance(self, data: bytes, client: Client) -> TurnedAway | None:
        """What is refused without being parsed, as it differs by its token alone from one that was."""
        authorization, parts = self._alike.authorization_in(data), self._parts
        if authorization is None or parts is None:
            return None
        met = parts.authenticator.meet(authorization)
        if met is None or (isinstance(met, Known) and met.token is not None):
            return None
        return self._turned_away(met, client, new_id(), b"", parts)

    def learn(self, data: bytes, call: TurnedAway) -> None:
        """Have calls like this one be refused at a glance."""
        if call.authorization:
            self._alike.learn(data, call.authorization, call.body_bytes)

    def _turned_away(
        self, met: Known | str, client: Client, told: str, authorization: bytes, parts: "Studio"
    ) -> TurnedAway | None:
        """A call whose caller nobody knows, or that would have to be looked up once too often; None: look it up."""
        address = address_of(client)
        if isinstance(met, Known):
            code, made = UNAUTHENTICATED, self._refusals.to_unknown
        else:
            over = parts.lookups.over(met, address)
            if over is None:
                return None
            code, made = RATE_LIMITED, self._refusals.told_to_wait(Lane.STRANGERS, over, parts.limits)
        lines = _with_id(made.lines, told)
        now = time.perf_counter()
        return TurnedAway(None, now, told, code, client, address, made.status, lines, made.body, authorization)

    def _look_for_parts(self) -> "Studio | None":
        self._parts = getattr(self._app.state, "studio", None)
        return self._parts

    # --- answering ----------------------------------------------------------------------------------------------------

    def take(self, call: Admitted, connection: Connection) -> None:
        """Answer an admitted call that has come to its end once the broker has told, or have it let in."""
        parts = self._parts
        assert parts is not None  # by which it was admitted
        if time.perf_counter() - call.came_at > KNOWN_FOR_SECONDS:
            del call.scope[MET]  # the token may have been revoked while the body came
            connection.let_in(call)
            return
        try:
            heard = _heard(call, parts)
        except Unusual:
            connection.let_in(call)
            return
        answered = partial(self._answered, call, connection, heard, parts.settings.heartbeat_interval)
        parts.command_store.send(heard, now=time.time(), answered=answered)

    def _answered(
        self,
        call: Admitted,
        connection: Connection,
        heard: Beat,
        interval: int,
        outcome: Idle | Delivered | Contested | Exception,
    ) -> None:
        if not isinstance(outcome, Idle):
            call.scope[TOLD] = Told(heard, outcome)
            connection.let_in(call)
            return
        made = self._idle_answers.of(outcome, interval)
        connection.answer(call, made.status, _with_id(made.lines, call.call_id), made.body)
        note_call(METHOD, HEARTBEAT, made.status, time.perf_counter() - call.came_at)

    # --- refusing -----------------------------------------------------------------------------------------------------

    def leave(self, leave: Leave, call: TurnedAway, in_a_row: int) -> None:
        """Have a refused call that has come to its end answered with the others: later, if it is one of many."""
        is_late = in_a_row > REFUSED_AT_ONCE
        leaving = self._leaving_later if is_late else self._leaving
        if not leaving:
            seconds = LATER_SECONDS if is_late else LEAVES_EVERY_SECONDS
            asyncio.get_running_loop().call_later(seconds, self._let_go, leaving)
        leaving.append((leave, call))

    def _let_go(self, waiting: list[tuple[Leave, TurnedAway]]) -> None:
        leaving = waiting.copy()
        waiting.clear()
        alike: dict[tuple[str, str], list[TurnedAway]] = {}
        for leave, call in leaving:
            alike.setdefault((call.code, call.address), []).append(call)
            leave(call)
        for calls in alike.values():
            self._tell(calls, was_held=waiting is self._leaving_later)

    def _tell(self, calls: Sequence[TurnedAway], *, was_held: bool) -> None:
        """Tell of refusals what would be told of each further in; they came from one address, with one fault."""
        first, count, now = calls[0], len(calls), time.perf_counter()
        note_calls(METHOD, HEARTBEAT, first.status, [None if was_held else now - call.came_at for call in calls])
        if first.code == RATE_LIMITED:
            count_refused(Lane.STRANGERS, count)
        scope = {
            "type": "http", "app": self._app, "method": METHOD, "path": HEARTBEAT, "route": ROUTE,
            "client": first.client, "headers": (),
        }  # fmt: skip
        context = contextvars.copy_context()
        context.run(call_id.set, first.call_id)
        context.run(note_for_audit, scope, self._app.state.studio, None, first.code, count)
        for number, call in enumerate(calls):
            context.run(call_id.set, call.call_id)
            if not context.run(log_if_it_may_be, call.code, count - number):
                break


def _heard(call: Admitted, parts: "Studio") -> Beat:
    """A call as the broker hears it.

    Raises:
        Unusual: this is for the application; nothing was done.
    """
    if len(call.body) > MOST_BYTES:
        raise Unusual
    heartbeat = fast_bodies.read(bytes(call.body), zipped=call.is_zipped)
    caller = call.caller
    if not may_beat(caller, heartbeat.service_name) or parts.limits.over_here(LANE, caller.token_id) is not None:
        raise Unusual
    return heard_of(heartbeat, caller, peer_in(call.scope, parts), interval=parts.settings.heartbeat_interval)


def _with_id(lines: bytes, told: str) -> bytes:
    return b"%b%b: %b\r\n" % (lines, REQUEST_ID, told.encode())
