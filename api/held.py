"""Held heartbeats: one event each, which is set by whatever may end the wait. No task of its own, and little memory."""

import asyncio
import time
from typing import TYPE_CHECKING, Final

import structlog
from fastapi import Request
from starlette.types import Receive, Scope

from api.beats import exchange
from api.connections import DISCONNECT
from api.metrics import HELD
from api.problems import Refusal
from broker.errors import BrokerUnavailable
from broker.nudges import Waker
from broker.scripts import Beat, Delivered, Idle

if TYPE_CHECKING:  # the parts hold what is here
    from api.dependencies import Studio

log = structlog.get_logger(__name__)

LOOKED_AT_EVERY_SECONDS: Final = 1.0
"""How often callers of held heartbeats are looked at: a revoked token ends within this and what it is remembered."""

AWAY_FOR_SECONDS: Final = 10.0
"""A broker that is back sooner finds the held heartbeats as they were: it was started again. Longer, they are told."""


class Hold:
    """One held heartbeat: why it is still waiting, or not."""

    __slots__ = ("caller", "is_gone", "is_over", "scope", "watching", "woken")

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.caller: bytes = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        self.woken = Waker()
        self.is_gone = False
        self.is_over = False
        self.watching: asyncio.Task[None] | None = None

    def gone(self) -> None:
        """The client has gone away."""
        self.is_gone = True
        self.woken.set()

    def over(self) -> None:
        """The agent wants to wait no longer."""
        self.is_over = True
        self.woken.set()

    def watch(self, receive: Receive) -> None:
        """Hear of it when the client goes away.

        Our own server tells by a call. Another one says it to whoever asks, which takes a task.
        """
        watch = self.scope.get("extensions", {}).get(DISCONNECT)
        if watch is not None:
            watch(self.gone)
        else:
            self.watching = asyncio.create_task(_disconnected(receive, self))

    def unwatch(self) -> None:
        """Hear no more of it."""
        if self.watching is not None:
            self.watching.cancel()
        elif (watch := self.scope.get("extensions", {}).get(DISCONNECT)) is not None:
            watch(None)


class HeldHeartbeats:
    """The held heartbeats of one process, by what their callers say they are."""

    def __init__(self) -> None:
        self._by_caller: dict[bytes, set[Hold]] = {}
        self._away_since: float | None = None

    @property
    def count(self) -> int:
        """How many are held."""
        return sum(len(holds) for holds in self._by_caller.values())

    def add(self, hold: Hold) -> None:
        """One more."""
        self._by_caller.setdefault(hold.caller, set()).add(hold)
        HELD.inc()

    def remove(self, hold: Hold) -> None:
        """One less."""
        holds = self._by_caller[hold.caller]
        holds.discard(hold)
        HELD.dec()
        if not holds:
            del self._by_caller[hold.caller]

    async def look(self, parts: "Studio") -> None:
        """Wake those whose caller is no longer welcome, and all of them where the broker stays away: they find out why.

        Of the calls with one and the same header one is looked at.
        """
        for holds in list(self._by_caller.values()):
            if not (hold := next(iter(holds), None)):
                continue
            known = parts.authenticator.recall(hold.caller)
            if known is not None and known.token is not None:
                continue  # of most that is all
            try:
                await parts.authenticator.identify(Request(hold.scope).headers)
            except Refusal:
                for one in holds:
                    one.woken.set()
            except BrokerUnavailable:
                self._note_absence(time.monotonic())
                return
        self._away_since = None

    def _note_absence(self, now: float) -> None:
        """The broker did not answer."""
        if self._away_since is None:
            self._away_since = now
        if now - self._away_since >= AWAY_FOR_SECONDS:
            for holds in self._by_caller.values():
                for hold in holds:
                    hold.woken.set()

    async def watch(self, parts: "Studio") -> None:
        """Look, until cancelled."""
        while True:
            await asyncio.sleep(LOOKED_AT_EVERY_SECONDS)
            await self.look(parts)


async def hold(scope: Scope, receive: Receive, heard: Beat, wait: int, parts: "Studio") -> Idle | Delivered:
    """Ask, and ask again at each nudge, until there is a command, time is up, we go down, or the agent is gone.

    Raises:
        Refusal: the caller's token has become worthless meanwhile.
        BrokerUnavailable: the broker went away meanwhile.
    """
    path = parts.broker.place(heard.host).path
    held = Hold(scope)
    woken = held.woken
    # Registered first: a command that is installed after the first question sets `woken`.
    parts.nudges.register(path, woken)
    timer = None
    parts.held.add(held)
    held.watch(receive)
    try:
        outcome = await exchange(heard, parts)
        timer = asyncio.get_running_loop().call_later(wait, held.over)
        # Waiting alone is cut short: a question to the broker may have taken the command when it is.
        while not (isinstance(outcome, Delivered) or held.is_over or held.is_gone or parts.nudges.closing):
            await woken.wait()
            # A command must not go into a dead socket.
            if held.is_over or held.is_gone or parts.nudges.closing:
                break
            woken.clear()
            await parts.authenticator.identify(Request(scope).headers)  # the token may have been revoked meanwhile
            outcome = await exchange(heard, parts)
    finally:
        if timer is not None:
            timer.cancel()
        held.unwatch()
        parts.held.remove(held)
        parts.nudges.withdraw(path, woken)
    return outcome


async def _disconnected(receive: Receive, held: Hold) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    held.gone()
