"""Who is calling: the one place that turns an Authorization header into a token."""

import asyncio
import time
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from api.problems import Refusal
from api.remembered import Known, Memory
from broker.errors import BrokerUnavailable
from broker.token_changes import TokenChanges
from broker.token_store import ANYBODY_ID, Token, TokenKind, TokenStore, digest_of
from protocol.names import DEFAULT_TENANT
from protocol.problems import FieldFault

if TYPE_CHECKING:  # it brings an HTTP client and cryptography, which only an API with an issuer needs
    from api.people import People

log = structlog.get_logger(__name__)

REMEMBERED_SECONDS: Final = 3.0
"""How long a token is not looked up again while changes are not heard: a revocation bites within this."""
REMEMBERED_WHILE_HEARD_SECONDS: Final = 300.0
"""Likewise while they are heard: what changes is forgotten at once."""
HEARD_WITHIN_SECONDS: Final = 2.5
"""Changes that were heard so long ago still count as heard; a look is due every second."""
REMEMBERED_TOKENS: Final = 100_000
REMEMBERED_UNKNOWN: Final = 10_000
REMEMBERED_PEOPLE: Final = 10_000
PERSON_REMEMBERED_SECONDS: Final = 60.0
"""A key that the issuer withdraws ends the sign-ins made with it within this, once we have heard of it."""
LONGEST_SECRET: Final = 512
LONGEST_RECALLED: Final = LONGEST_SECRET + len("Bearer ")
TELL_USE_EVERY_SECONDS: Final = 60.0

ANYBODY: Final = Token(ANYBODY_ID, TokenKind.ADMIN, DEFAULT_TENANT, ("*",), datetime.fromtimestamp(0, UTC))
"""The caller where authentication is switched off."""


class Authenticator:
    """Finds the token of a call. Found and unknown ones are remembered, each in a bounded memory of its own.

    Whoever holds a connection open asks again every second or so: of what is remembered that costs next to nothing,
    and what has changed is not remembered.
    """

    def __init__(
        self,
        store: TokenStore,
        changes: TokenChanges | None = None,
        people: "People | None" = None,
        *,
        switched_off: bool = False,
    ) -> None:
        """Remember nothing yet.

        Args:
            store: where tokens are.
            changes: where their changes are heard, once `follow_changes` runs; None: nobody listens.
            people: who signs in elsewhere; None: nobody.
            switched_off: whether everybody may do everything.
        """
        self._store = store
        self._changes = changes
        self._people = people
        self._switched_off = switched_off
        self._seen = Memory(REMEMBERED_TOKENS)
        self._unknown = Memory(REMEMBERED_UNKNOWN)
        self._persons = Memory(REMEMBERED_PEOPLE)
        self._looked_up: dict[str, asyncio.Future[Token | None]] = {}
        self._changes_heard = 0
        self._used: dict[str, float] = {}

    async def identify(self, headers: Mapping[str, str]) -> Token:
        """The caller's token. `headers` are looked up in lower case.

        Raises:
            Refusal: there is none, or it is unknown, revoked or expired. The answer does not say which.
            BrokerUnavailable: it cannot be looked up.
        """
        if self._switched_off:
            return ANYBODY
        scheme, _, secret = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            raise unauthenticated("Send the header Authorization: Bearer TOKEN.")
        token = await self._look_up(secret.strip())
        if token is None or not token.is_valid(datetime.now(UTC)):
            raise unknown()
        return token

    async def holder_of(self, digest: str) -> Token:
        """The token whose secret has this digest: of a sign-in, which was bought with it.

        Raises:
            Refusal: it is revoked or expired, or has another secret by now.
            BrokerUnavailable: it cannot be looked up.
        """
        now, heard = time.monotonic(), self._changes_heard
        known = self._remembered(digest, now)
        token = known.token if known is not None else await self._store.with_digest(digest)
        if token is None or not token.is_valid(datetime.now(UTC)):
            raise unauthenticated("The sign-in has ended: its token is revoked or expired.")
        if known is None:
            self._used[token.token_id] = time.time()
            if heard == self._changes_heard:
                self._seen.keep(digest, Known(now, token))
        return token

    @property
    def is_switched_off(self) -> bool:
        """Whether everybody may do everything."""
        return self._switched_off

    def recall(self, authorization: bytes) -> Known | None:
        """What is known of a caller by the whole header, without asking anybody; None: `identify` must find out.

        Without a token: what `identify` would refuse. People are never known here.
        """
        met = self.meet(authorization)
        return met if isinstance(met, Known) else None

    def meet(self, authorization: bytes) -> Known | str | None:
        """What `recall` tells; else the digest of a secret that the store of tokens would have to be asked for now.

        None: `identify` must find out, and would not ask the store, or not again.
        """
        if self._switched_off:
            return Known(0.0, ANYBODY)
        scheme, _, told = authorization.partition(b" ")
        if scheme.lower() != b"bearer" or len(authorization) > LONGEST_RECALLED or not authorization.isascii():
            return None
        secret = told.decode("ascii").strip()
        digest = digest_of(secret)
        known = self._remembered(digest, time.monotonic())
        if known is None:
            is_signed = self._people is not None and self._people.looks_signed(secret)
            return None if not secret or is_signed or digest in self._looked_up else digest
        if known.token is not None and not known.token.is_valid(datetime.now(UTC)):
            return Known(known.at, None)
        return known

    async def follow_changes(self) -> None:
        """Forget tokens that change, and tell what was used; until cancelled."""
        if self._changes is None:
            return
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._changes.follow(self._hear), name="changes of tokens")
            while True:
                await asyncio.sleep(TELL_USE_EVERY_SECONDS)
                try:
                    await self.tell_use()
                except BrokerUnavailable as error:
                    log.debug("use of tokens not told", reason=error.reason)

    async def tell_use(self) -> None:
        """Store which tokens were used since this was told last.

        Raises:
            BrokerUnavailable: the server cannot be reached; it is told the next time.
        """
        used, self._used = self._used, {}
        try:
            await self._store.note_used(used)
        except BrokerUnavailable:
            self._used = {**used, **self._used}
            raise

    def _hear(self, token_ids: Collection[str] | None) -> None:
        """Forget what has changed. What is being asked for now is not remembered: it may be older than the change."""
        self._changes_heard += 1
        self._looked_up.clear()
        if token_ids is None:
            self._seen.clear()
        else:
            self._seen.forget(frozenset(token_ids))

    # --- looking up ---------------------------------------------------------------------------------------------------

    def _remembered(self, digest: str, now: float) -> Known | None:
        if digest in self._seen and (found := self._seen.lately(digest, now=now, within=self._patience())):
            return found
        return self._unknown.lately(digest, now=now, within=REMEMBERED_SECONDS)

    def _patience(self) -> float:
        is_heard = self._changes is not None and self._changes.silence < HEARD_WITHIN_SECONDS
        return REMEMBERED_WHILE_HEARD_SECONDS if is_heard else REMEMBERED_SECONDS

    async def _look_up(self, secret: str) -> Token | None:
        """The token of a secret; of those who ask at the same time one asks for all."""
        if self._people is not None and self._people.looks_signed(secret):
            return await self._person(secret, self._people)
        if len(secret) > LONGEST_SECRET:
            return None
        digest = digest_of(secret)
        known = self._remembered(digest, time.monotonic())
        if known is not None:
            return known.token
        asking = self._looked_up.get(digest)
        if asking is None:
            asking = asyncio.ensure_future(self._find(secret, digest))
            self._looked_up[digest] = asking
            asking.add_done_callback(partial(self._found, digest))
        return await asyncio.shield(asking)

    def _found(self, digest: str, asking: asyncio.Future[Token | None]) -> None:
        if self._looked_up.get(digest) is asking:  # after a change that was heard others ask anew
            del self._looked_up[digest]
        if not asking.cancelled():
            asking.exception()  # those who asked have it; there may be nobody left of them

    async def _find(self, secret: str, digest: str) -> Token | None:
        now, heard = time.monotonic(), self._changes_heard
        token = await self._store.find(secret)
        if token is None:
            self._unknown.keep(digest, Known(now, None))
            return None
        self._used[token.token_id] = time.time()
        if heard == self._changes_heard:
            self._seen.keep(digest, Known(now, token))
        return token

    async def _person(self, text: str, people: "People") -> Token | None:
        digest, now = digest_of(text), time.monotonic()
        known = self._persons.lately(digest, now=now, within=PERSON_REMEMBERED_SECONDS) or self._unknown.lately(
            digest, now=now, within=REMEMBERED_SECONDS
        )
        if known is not None:
            return known.token
        person = await people.token_of(text)
        (self._unknown if person is None else self._persons).keep(digest, Known(now, person))
        return person


def unknown() -> Refusal:
    """The refusal of a token that is none, or no longer. It does not say which."""
    return unauthenticated("This token is unknown, revoked or expired.")


def unauthenticated(why: str) -> Refusal:
    """The refusal of a caller that nobody knows."""
    fault = FieldFault(field="Authorization", message=why, code="unauthenticated")
    return Refusal("unauthenticated", why, errors=[fault])
