"""Looking up tokens for callers, so that a flood of random ones does not reach the broker."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Final, TypeVar

import structlog

from api.limit_settings import Lane
from api.limits import Limits, address_of
from broker.connection import Broker
from broker.errors import BrokerUnavailable
from broker.token_store import Token, TokenStore, digest_of

log = structlog.get_logger(__name__)

T = TypeVar("T")
MOST_KNOWN: Final = 100_000
LOOK_EVERY_SECONDS: Final = 5.0
LEARN_EVERY_SECONDS: Final = 60.0
"""A hundred thousand tokens take a fifth of a second, page by page."""


def _name_of(digest: str) -> int:
    """A digest as it is remembered here: in a quarter of the room."""
    return int(digest[:15], 16)


client: Final[ContextVar[tuple[str, int] | None]] = ContextVar("client", default=None)
"""Where the call that is being answered comes from, as ASGI has it."""


class BoundedLookups(TokenStore):
    """The tokens, for whoever calls. An address may ask for so many that nobody knows, and then waits.

    Tokens that exist are asked for all the same, so a flood shuts out none of the agents that beat through the same
    proxy: those that were good here before and, also after a start, those that `follow` knows of. And a token that
    turns out to be good costs its address nothing.
    """

    def __init__(self, broker: Broker, limits: Limits) -> None:
        super().__init__(broker)
        self._limits = limits
        self._good: OrderedDict[int, None] = OrderedDict()
        self._counted = 0
        self._learned_at = float("-inf")

    async def follow(self) -> None:
        """Know which tokens there are, whoever makes them; until cancelled."""
        while True:
            try:
                await self.learn(now=time.monotonic())
            except BrokerUnavailable as error:
                log.debug("tokens not learned", reason=error.reason)
            await asyncio.sleep(LOOK_EVERY_SECONDS)

    async def learn(self, *, now: float) -> None:
        """Learn of the tokens there are, as far as there is room, if their number is another one, or it is long ago.

        Args:
            now: on the monotonic clock.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        count = await self.count()
        if count == self._counted and now - self._learned_at < LEARN_EVERY_SECONDS:
            return
        async for digest in self.digests():
            if len(self._good) >= MOST_KNOWN:
                break  # those that were good here are worth more
            self._good.setdefault(_name_of(digest))
        self._counted, self._learned_at = count, now

    def expect(self, digest: str) -> None:
        """Know that there is a secret of this digest: a rotation, which changes no number of tokens."""
        self._know(_name_of(digest))

    def _know(self, name: int) -> None:
        """Keep one in mind, and should that be one too many, no longer the one that was not good for longest."""
        self._good[name] = None
        self._good.move_to_end(name)
        while len(self._good) > MOST_KNOWN:
            self._good.popitem(last=False)

    def over(self, digest: str, address: str) -> float | None:
        """For how many seconds an address may not ask for a secret of this digest; None: it may."""
        if _name_of(digest) in self._good:
            return None
        return self._limits.look_here(Lane.STRANGERS, address, now=time.monotonic())

    async def find(self, secret: str) -> Token | None:
        """The token with this secret, valid or not; None where there is none.

        Raises:
            Refusal: too many that nobody knows came from this address.
            BrokerUnavailable: the server cannot be reached.
        """
        found = super().find
        return await self.bounded(digest_of(secret), lambda: found(secret))

    async def bounded(self, digest: str, ask: Callable[[], Awaitable[T | None]]) -> T | None:
        """What `ask` finds by a secret of this digest, a token's or another; None: there is nothing.

        Raises:
            Refusal: too many that nobody knows came from this address; nothing was asked.
            BrokerUnavailable: the server cannot be reached.
        """
        if (over := self.over(digest, address_of(client.get()))) is not None:
            raise self._limits.refused(Lane.STRANGERS, over)
        name = _name_of(digest)
        found = await ask()
        if found is None:
            self._good.pop(name, None)
            self._limits.charge(Lane.STRANGERS, address_of(client.get()), now=time.monotonic())
        else:
            self._know(name)
        return found
