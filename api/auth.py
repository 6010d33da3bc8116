"""Who is calling, and what they may do."""

import time
from collections import OrderedDict
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Final

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


class Authenticator:
    """Finds the token of a call, with a short and bounded memory for found and unknown ones alike."""

    def __init__(self, store: TokenStore, *, switched_off: bool = False) -> None:
        self._store = store
        self._switched_off = switched_off
        self._seen: OrderedDict[str, tuple[float, Token | None]] = OrderedDict()

    async def identify(self, request: Request) -> Token:
        """The caller's token.

        Raises:
            Refusal: there is none, or it is unknown, revoked or expired. The answer does not say which.
            BrokerUnavailable: it cannot be looked up.
        """
        if self._switched_off:
            return ANYBODY
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            raise _unauthenticated("Send the header Authorization: Bearer TOKEN.")
        token = await self._look_up(secret.strip())
        if token is None or not token.is_valid(datetime.now(UTC)):
            raise _unauthenticated("This token is unknown, revoked or expired.")
        return token

    async def _look_up(self, secret: str) -> Token | None:
        if len(secret) > LONGEST_SECRET:
            return None
        digest = digest_of(secret)
        now = time.monotonic()
        known = self._seen.get(digest)
        if known is not None and now - known[0] < REMEMBERED_SECONDS:
            return known[1]
        token = await self._store.find(secret)
        self._seen[digest] = (now, token)
        self._seen.move_to_end(digest)
        while len(self._seen) > REMEMBERED_TOKENS:
            self._seen.popitem(last=False)
        return token


def _unauthenticated(why: str) -> Refusal:
    fault = FieldFault(field="Authorization", message=why, code="unauthenticated")
    return Refusal("unauthenticated", why, errors=[fault])


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
