"""Who is calling, and what they may do."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Collection
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from typing import Final, NamedTuple, TypeVar

from fastapi import Request

from api.problems import Refusal
from broker.token_store import ANYBODY_ID, Token, TokenKind, TokenStore, digest_of
from protocol.names import DEFAULT_TENANT
from protocol.problems import FieldFault

REMEMBERED_SECONDS: Final = 3.0
"""How long a token is not looked up again: a revocation bites within this."""
REMEMBERED_TOKENS: Final = 10_000
LONGEST_SECRET: Final = 512

ANYBODY: Final = Token(ANYBODY_ID, TokenKind.ADMIN, DEFAULT_TENANT, ("*",), datetime.fromtimestamp(0, UTC))
"""The caller where authentication is switched off."""


class Known(NamedTuple):
    """What was found lately: when (on the monotonic clock), and the token, None where there is none."""

    at: float
    token: Token | None


class Authenticator:
    """Finds the token of a call, with a short and bounded memory for found and unknown ones alike."""

    def __init__(self, store: TokenStore, *, switched_off: bool = False) -> None:
        self._store = store
        self._switched_off = switched_off
        self._seen: OrderedDict[str, Known] = OrderedDict()
        self._headers: OrderedDict[bytes, Known] = OrderedDict()
        self._looked_up: dict[str, asyncio.Future[Known]] = {}

    async def identify(self, request: Request) -> Token:
        """The caller's token.

        Raises:
            Refusal: there is none, or it is unknown, revoked or expired. The answer does not say which.
            BrokerUnavailable: it cannot be looked up.
        """
        if self._switched_off:
            return ANYBODY
        header = request.headers.get("authorization", "")
        scheme, _, secret = header.partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            raise _unauthenticated("Send the header Authorization: Bearer TOKEN.")
        known = await self._look_up(secret.strip())
        if len(header) <= LONGEST_SECRET:
            _remember(self._headers, _key(header.encode("latin-1")), known)
        if known.token is None or not known.token.is_valid(datetime.now(UTC)):
            raise unknown_token()
        return known.token

    def recall(self, authorization: bytes) -> Known | None:
        """What is known of a caller by the whole header, without asking anybody; None: `identify` must find out.

        Without a token: what `identify` would refuse by `unknown_token`.
        """
        if self._switched_off:
            return Known(0.0, ANYBODY)
        known = self._headers.get(_key(authorization))
        if known is None or time.monotonic() - known.at >= REMEMBERED_SECONDS:
            return None
        if known.token is not None and not known.token.is_valid(datetime.now(UTC)):
            return Known(known.at, None)
        return known

    async def _look_up(self, secret: str) -> Known:
        """What is known of a secret; of those who ask at the same time one asks for all."""
        now = time.monotonic()
        if len(secret) > LONGEST_SECRET:
            return Known(now, None)
        digest = digest_of(secret)
        known = self._seen.get(digest)
        if known is not None and now - known.at < REMEMBERED_SECONDS:
            return known
        asking = self._looked_up.get(digest)
        if asking is None:
            asking = asyncio.ensure_future(self._find(secret, digest, now))
            self._looked_up[digest] = asking
            asking.add_done_callback(partial(self._found, digest))
        return await asyncio.shield(asking)

    def _found(self, digest: str, asking: asyncio.Future[Known]) -> None:
        self._looked_up.pop(digest, None)
        if not asking.cancelled():
            asking.exception()  # those who asked have it; there may be nobody left of them

    async def _find(self, secret: str, digest: str, now: float) -> Known:
        known = Known(now, await self._store.find(secret))
        _remember(self._seen, digest, known)
        return known


Key = TypeVar("Key", str, bytes)


def _key(authorization: bytes) -> bytes:
    """What a header is remembered by: no secret stays in memory. Takes less than a microsecond."""
    return sha256(authorization).digest()


def _remember(seen: OrderedDict[Key, Known], key: Key, known: Known) -> None:
    """Keep what was found; of too many the oldest goes."""
    seen[key] = known
    seen.move_to_end(key)
    while len(seen) > REMEMBERED_TOKENS:
        seen.popitem(last=False)


def _unauthenticated(why: str) -> Refusal:
    fault = FieldFault(field="Authorization", message=why, code="unauthenticated")
    return Refusal("unauthenticated", why, errors=[fault])


def unknown_token() -> Refusal:
    """The refusal of a token that is no good. Does not say why."""
    return _unauthenticated("This token is unknown, revoked or expired.")


def may_beat(token: Token, service: str) -> bool:
    """Whether a token may send heartbeats for a service: whether neither `require` nor `require_service` refuses it."""
    return token.kind in _BEATERS and ("*" in token.services or token.covers(service))


_BEATERS: Final = frozenset({TokenKind.AGENT, TokenKind.ADMIN})


def require(token: Token, kinds: Collection[TokenKind]) -> None:
    """Refuse a token that is not of these kinds; an admin's may do everything.

    Raises:
        Refusal: it may not.
    """
    if token.kind is not TokenKind.ADMIN and token.kind not in kinds:
        needed = " or ".join(sorted({*kinds, TokenKind.ADMIN}))
        fault = FieldFault(field="Authorization", message=f"a token of kind {needed} is needed", code="token_kind")
        raise Refusal("forbidden", f"A token of kind {token.kind} may not do this.", errors=[fault])


def require_every_service(token: Token) -> None:
    """Refuse a token of some services alone: whoever makes tokens could grant itself the rest.

    Raises:
        Refusal: it covers not every service.
    """
    if "*" not in token.services:
        fault = FieldFault(field="Authorization", message="a token of every service is needed", code="token_scope")
        raise Refusal("forbidden", "Tokens are managed by an admin of every service.", errors=[fault])


def require_service(token: Token, service: str, *, field: str = "service_name") -> None:
    """Refuse a token whose patterns do not cover a service; `field` says where it was named.

    Raises:
        Refusal: they do not.
    """
    if not token.covers(service):
        fault = FieldFault(field=field, message="this token does not cover the service", code="token_scope")
        raise Refusal("forbidden", "This token does not cover the service.", errors=[fault])
