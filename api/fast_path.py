"""The way of most heartbeats, before the framework's routing: decoded once, callers known, answers made before.

It knows good heartbeats in the usual words, and turns down whom nobody knows or who calls too often: anybody can send
those without end. Whatever else comes goes to the ordinary route, which is the contract: what both can read they answer
alike, to the byte.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import fast_bodies
from api.accompany import HEARTBEAT, Answering
from api.beats import exchange, heard_of, reply_of, settled
from api.dependencies import Studio, peer_in
from api.fast_answers import IdleAnswers, Made
from api.fast_bodies import Unusual
from api.fast_heads import MOST_BYTES, read_head
from api.fast_refusals import UNAUTHENTICATED, FastRefusals
from api.held import hold
from api.limit_settings import IN_MEMORY, Lane
from api.limits import address_of, lane_of
from api.preferences import preferred_wait
from api.problems import Refusal, answer, turned_down
from api.remembered import Known
from api.rights import may_beat
from api.routes import heartbeats
from broker.errors import BrokerUnavailable
from broker.scripts import Beat, Contested, Delivered, Idle
from broker.token_store import Token

PATH: Final = HEARTBEAT
ROUTE: Final = heartbeats.router.routes[0]
MET: Final = "studio.met"
"""Where a call's scope says what its caller was found to be a moment ago."""
TOLD: Final = "studio.told"
"""Where a call's scope has what the broker has told of it already, see `Told`."""
LANE: Final = Lane.HEARTBEATS
assert lane_of("POST", PATH) is LANE
assert LANE in IN_MEMORY


class Told(NamedTuple):
    """What became of a heartbeat at the door, where the answer to it is not one that is made already."""

    heard: Beat
    outcome: Delivered | Contested | Exception


class ToHold(NamedTuple):
    """A heartbeat that is ready to wait so many seconds."""

    heard: Beat
    wait: int


class FastPath:
    """Answers heartbeats; passes on everything else, and every heartbeat that it does not understand."""

    def __init__(
        self, app: ASGIApp, refusals: FastRefusals | None = None, idle_answers: IdleAnswers | None = None
    ) -> None:
        self._app = app
        self._refusals = refusals or FastRefusals()
        self._idle_answers = idle_answers or IdleAnswers()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        scope["route"] = ROUTE  # what is counted and audited is told by it
        parts: Studio = scope["app"].state.studio
        read: list[Message] = []
        try:
            asked = await self._beat(parts, scope, receive, read)
            if isinstance(asked, Made):
                await _send(send, asked)
                return
            interval = parts.settings.heartbeat_interval
            if isinstance(asked, ToHold):
                read.clear()
                # From here and not from further in: each frame that waits takes half a KiB, and what it read as well.
                response = reply_of(await hold(scope, receive, *asked, parts), interval=interval)
                response.headers["Preference-Applied"] = f"wait={asked.wait}"
            else:
                response = reply_of(asked, interval=interval)
            await response(scope, receive, send)
        except Unusual:
            await self._app(scope, _again(read, receive), send)
        except (Refusal, BrokerUnavailable) as error:
            await answer(Request(scope), turned_down(error))(scope, receive, send)

    async def _beat(
        self, parts: Studio, scope: Scope, receive: Receive, read: list[Message]
    ) -> "Made | Delivered | ToHold":
        """What to answer to one heartbeat, or one that is to be held. What has come of its body is in `read`.

        Raises:
            Unusual: this is for the ordinary route; nothing was done.
            Refusal: nobody knows the caller, or it may not speak for this host.
            BrokerUnavailable: the broker is away.
        """
        head = read_head(scope["headers"])
        if not head.is_usual:
            raise Unusual
        met = scope.get(MET) or parts.authenticator.meet(head.authorization)
        caller = met.token if isinstance(met, Known) else await self._look_up(parts, scope, met)
        if caller is None:
            return self._refusals.unknown(scope, parts)
        if isinstance(caller, Made):
            return caller
        told: Told | None = scope.get(TOLD)
        if told is not None:
            scope.setdefault("state", {})["caller"] = caller
            outcome = await settled(told.outcome, told.heard, parts)
        else:
            message = await receive()
            read.append(message)
            raw: bytes = message.get("body", b"")
            if message.get("more_body", False) or message["type"] != "http.request" or len(raw) > MOST_BYTES:
                raw = await _rest(raw, message, receive, read)
            heartbeat = fast_bodies.read(raw, zipped=head.is_zipped)
            if not may_beat(caller, heartbeat.service_name):
                raise Unusual
            scope.setdefault("state", {})["caller"] = caller  # for the audit, should it be refused from here on
            if (over := parts.limits.over_here(LANE, caller.token_id)) is not None:
                return self._refusals.limited(scope, parts, LANE, over, caller)
            heard = heard_of(
                heartbeat, caller, peer_in(scope, parts), interval=parts.settings.heartbeat_interval
            )  # fmt: skip
            if head.preferences and (wait := preferred_wait([said.decode("latin-1") for said in head.preferences])):
                return ToHold(heard, wait)
            outcome = await exchange(heard, parts)
        if isinstance(outcome, Idle):
            return self._idle_answers.of(outcome, parts.settings.heartbeat_interval)
        return outcome

    async def _look_up(self, parts: Studio, scope: Scope, digest: str | None) -> Token | Made | None:
        """The caller's token; None where there is no such token; or the refusal to look for it.

        Args:
            parts: of this process.
            scope: of the call.
            digest: of a secret that the store of tokens has to be asked for; None: it has not.

        Raises:
            Refusal: there is no secret to look for, or it is to be looked for elsewhere.
            BrokerUnavailable: the broker is away.
        """
        if digest is None:
            return await parts.authenticator.identify(Request(scope).headers)
        if (over := parts.lookups.over(digest, address_of(scope.get("client")))) is not None:
            return self._refusals.limited(scope, parts, Lane.STRANGERS, over)
        try:
            return await parts.authenticator.identify(Request(scope).headers)
        except Refusal as refused:
            if refused.code != UNAUTHENTICATED:
                raise
            return None


async def _rest(body: bytes, message: Message, receive: Receive, read: list[Message]) -> bytes:
    """The whole body, of a size that heartbeats have.

    Raises:
        Unusual: it is larger, or the client went away in the middle.
    """
    while message.get("more_body", False) and len(body) <= MOST_BYTES:
        message = await receive()
        read.append(message)
        body += message.get("body", b"")
    if message["type"] != "http.request" or len(body) > MOST_BYTES:
        raise Unusual
    return body


def _again(read: Sequence[Message], receive: Receive) -> Receive:
    """Gives once more what was read, and then what comes."""
    messages = iter(read)

    async def received() -> Message:
        for message in messages:
            return message
        return await receive()

    return received


async def _send(send: Send, made: Made) -> None:
    if isinstance(send, Answering) and send.whole(made.status, made.lines, made.body):
        return
    await send({"type": "http.response.start", "status": made.status, "headers": list(made.headers)})
    await send({"type": "http.response.body", "body": made.body})
