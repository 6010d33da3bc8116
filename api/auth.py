"""Who is calling: the one place that turns an Authorization header into a token."""

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final, TypeVar

import structlog

from api.people import People, looks_signed
from api.problems import Refusal
from api.rights import require, require_every_service, require_lasting, require_service
from broker.errors import BrokerUnavailable
from broker.token_changes import TokenChanges
from broker.token_store import ANYBODY_ID, Token, TokenKind, TokenStore, digest_of
from protocol.names import DEFAULT_TENANT
from protocol.problems import FieldFault

__all__ = ["ANYBODY", "Authenticator", "require", "require_every_service", "require_lasting", "require_service"]

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
TELL_USE_EVERY_SECONDS: Final = 60.0

ANYBODY: Final = Token(ANYBODY_ID, TokenKind.ADMIN, DEFAULT_TENANT, ("*",), datetime.fromtimestamp(0, UTC))
"""The caller where authentication is switched off."""


class _Watch:
    """Somebody who holds a connection open on a token."""

    __slots__ = ("digest", "ended", "expiry")

    def __init__(self, digest: str, ended: Callable[[], None]) -> None:
        self.digest = digest
        self.ended = ended
        self.expiry: asyncio.TimerHandle | None = None


class Authenticator:
    """Finds the token of a call. Found and unknown ones are remembered, each in a bounded memory of its own."""

    def __init__(
        self,
        store: TokenStore,
        changes: TokenChanges | None = None,
        people: People | None = None,
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
        self._persons: OrderedDict[str, tuple[float, Token]] = OrderedDict()
        self._switched_off = switched_off
        self._seen: OrderedDict[str, tuple[float, Token]] = OrderedDict()
        self._unknown: OrderedDict[str, float] = OrderedDict()
        self._watches: dict[str, set[_Watch]] = {}
        self._used: dict[str, float] = {}
        self._changed = asyncio.Event()
        self._to_check: set[str] | None = set()
        self._changes_heard = 0

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
            raise unauthenticated("This token is unknown, revoked or expired.")
        return token

    @contextlib.contextmanager
    def watch(self, token: Token, ended: Callable[[], None]) -> Iterator[None]:
        """Have `ended` called when a token that is used here ends, by revocation (within five seconds) or expiry.

        For whoever holds a connection open. `ended` is called on the event loop, at times more than once, and should
        only wake its owner, who then asks `identify` again: that refuses.
        """
        watch = _Watch(token.digest, ended)
        if token.digest:  # else it is not stored: it ends by its expiry alone
            self._watches.setdefault(token.token_id, set()).add(watch)
        self._await_expiry(watch, token)
        try:
            yield
        finally:
            if watch.expiry is not None:
                watch.expiry.cancel()
            watches = self._watches.get(token.token_id, set())
            watches.discard(watch)
            if not watches:
                self._watches.pop(token.token_id, None)

    async def follow_changes(self) -> None:
        """Forget tokens that change and end what is held on them, and tell what was used; until cancelled."""
        if self._changes is None:
            return
        following = asyncio.create_task(self._changes.follow(self._hear), name="changes of tokens")
        told_at = time.monotonic()
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(TELL_USE_EVERY_SECONDS / 4):  # wait_for may swallow a cancel
                        await self._changed.wait()
                try:
                    await self._check_watches()
                    if time.monotonic() - told_at >= TELL_USE_EVERY_SECONDS:
                        await self.tell_use()
                        told_at = time.monotonic()
                except BrokerUnavailable as error:
                    log.debug("watched tokens not checked", reason=error.reason)
                    await asyncio.sleep(0.5)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

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

    # --- looking up ---------------------------------------------------------------------------------------------------

    async def _look_up(self, secret: str) -> Token | None:
        if self._people is not None and looks_signed(secret):
            return await self._person(secret, self._people)
        if len(secret) > LONGEST_SECRET:
            return None
        digest = digest_of(secret)
        now = time.monotonic()
        known = self._seen.get(digest)
        if known is not None and now - known[0] < self._patience():
            return known[1]
        since = self._unknown.get(digest)
        if since is not None and now - since < REMEMBERED_SECONDS:
            return None
        # What is forgotten while we ask is not remembered: the answer may be older than the change.
        asking = self._changes_heard
        token = await self._store.find(secret)
        if token is None:
            _remember(self._unknown, digest, now, most=REMEMBERED_UNKNOWN)
            return None
        self._used[token.token_id] = time.time()
        if asking == self._changes_heard:
            _remember(self._seen, digest, (now, token), most=REMEMBERED_TOKENS)
        return token

    async def _person(self, text: str, people: People) -> Token | None:
        digest, now = digest_of(text), time.monotonic()
        known = self._persons.get(digest)
        if known is not None and now - known[0] < PERSON_REMEMBERED_SECONDS:
            return known[1]
        since = self._unknown.get(digest)
        if since is not None and now - since < REMEMBERED_SECONDS:
            return None
        person = await people.token_of(text)
        if person is None:
            _remember(self._unknown, digest, now, most=REMEMBERED_UNKNOWN)
        else:
            _remember(self._persons, digest, (now, person), most=REMEMBERED_PEOPLE)
        return person

    def _patience(self) -> float:
        is_heard = self._changes is not None and self._changes.silence < HEARD_WITHIN_SECONDS
        return REMEMBERED_WHILE_HEARD_SECONDS if is_heard else REMEMBERED_SECONDS

    # --- changes ------------------------------------------------------------------------------------------------------

    def _hear(self, token_ids: Collection[str] | None) -> None:
        self._changes_heard += 1
        if token_ids is None:
            self._seen.clear()
            self._to_check = None
        else:
            for digest in [digest for digest, (_, token) in self._seen.items() if token.token_id in token_ids]:
                del self._seen[digest]
            if self._to_check is not None:
                self._to_check |= token_ids & self._watches.keys()
        self._changed.set()

    async def _check_watches(self) -> None:
        """Look at the tokens that may have ended and are watched; a rotated one may have an end from now on."""
        self._changed.clear()
        token_ids = sorted(self._watches if self._to_check is None else self._to_check)
        self._to_check = set()
        try:
            for token_id in token_ids:
                for digest in {watch.digest for watch in self._watches.get(token_id, ())}:
                    token = await self._store.with_digest(digest)
                    for watch in [each for each in self._watches.get(token_id, ()) if each.digest == digest]:
                        if token is None or not token.is_valid(datetime.now(UTC)):
                            watch.ended()
                        else:
                            self._await_expiry(watch, token)
        except BrokerUnavailable:
            self._to_check = None if self._to_check is None else self._to_check | set(token_ids)
            self._changed.set()
            raise

    def _await_expiry(self, watch: _Watch, token: Token) -> None:
        if watch.expiry is not None:
            watch.expiry.cancel()
            watch.expiry = None
        if token.ends_at is not None:
            left = (token.ends_at - datetime.now(UTC)).total_seconds()
            watch.expiry = asyncio.get_running_loop().call_later(max(0.0, left), watch.ended)


T = TypeVar("T")


def _remember(memory: "OrderedDict[str, T]", digest: str, value: T, *, most: int) -> None:
    memory[digest] = value
    memory.move_to_end(digest)
    while len(memory) > most:
        memory.popitem(last=False)


def unauthenticated(why: str) -> Refusal:
    """The refusal of a caller that nobody knows."""
    fault = FieldFault(field="Authorization", message=why, code="unauthenticated")
    return Refusal("unauthenticated", why, errors=[fault])
