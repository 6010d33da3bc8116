"""The keys of an issuer of sign-ins, fetched and kept."""

import asyncio
import time
from typing import Any, Final

import jwt
import structlog

from api.issuer_calls import NotToBeHad, json_at

log = structlog.get_logger(__name__)

ASYMMETRIC: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)
"""What a key may be for. Never HS256: whoever knows our key could make tokens, and the key is public."""
FRESH_SECONDS: Final = 600.0
KEPT_SECONDS: Final = 86_400.0
"""For so long keys are trusted that the issuer has not told us anew: it may be away, and a key may be withdrawn."""
ASK_EVERY_SECONDS: Final = 10.0
"""An unknown key id is a reason to ask, but anybody can make one up."""
MOST_KEYS: Final = 50
LEAST_RSA_BITS: Final = 2_048


class NotTheKeys(Exception):
    """The issuer cannot be asked, or what it answers are no keys."""


class KeySet:
    """An issuer's public keys by their ids."""

    def __init__(self, issuer: str, jwks_url: str = "") -> None:
        """Fetch nothing yet.

        Args:
            issuer: its address, as it stands in its tokens.
            jwks_url: of its keys; empty: where its discovery document says.
        """
        self._issuer = issuer
        self._jwks_url = jwks_url
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at = float("-inf")
        self._asked_at = float("-inf")
        self._asking = asyncio.Lock()

    async def key(self, key_id: str) -> jwt.PyJWK | None:
        """The key of this id. An unknown one makes us ask the issuer, at most once in ten seconds.

        Raises:
            NotTheKeys: we have none at all, and cannot get any.
        """
        if key_id not in self._known():
            await self._ask_again(key_id)
        found = self._known()
        if not found:
            raise NotTheKeys(f"the keys of {self._issuer} are not to be had")
        return found.get(key_id)

    async def follow(self) -> None:
        """Fetch the keys every ten minutes, and soon again where that fails, until cancelled."""
        while True:
            async with self._asking:
                is_there = await self._ask()
            await asyncio.sleep(FRESH_SECONDS if is_there else ASK_EVERY_SECONDS)

    def _known(self) -> dict[str, jwt.PyJWK]:
        return self._keys if time.monotonic() - self._fetched_at < KEPT_SECONDS else {}

    async def _ask_again(self, key_id: str) -> None:
        async with self._asking:  # who waits here finds what the one before has fetched
            if key_id not in self._known() and time.monotonic() - self._asked_at >= ASK_EVERY_SECONDS:
                await self._ask()

    async def _ask(self) -> bool:
        self._asked_at = time.monotonic()
        try:
            self._keys = _keys_of(await json_at(self._jwks_url or await self._discovered()))
        except (NotTheKeys, NotToBeHad) as error:
            log.warning("issuer's keys not fetched", issuer=self._issuer, reason=str(error))
            return False
        self._fetched_at = time.monotonic()
        log.info("issuer's keys fetched", issuer=self._issuer, keys=sorted(self._keys))
        return True

    async def _discovered(self) -> str:
        url = (await discovery(self._issuer)).get("jwks_uri")
        if not isinstance(url, str):
            raise NotTheKeys("its discovery document names no jwks_uri")
        return url


async def discovery(issuer: str) -> dict[str, Any]:
    """An issuer's discovery document.

    Raises:
        NotToBeHad: there is none, or it is of another issuer.
    """
    document = await json_at(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    if document.get("issuer") != issuer:
        raise NotToBeHad("its discovery document is of another issuer")
    return document


def _keys_of(document: dict[str, Any]) -> dict[str, jwt.PyJWK]:
    """The keys that may sign: with an id, asymmetric, large enough; others are passed over.

    Raises:
        NotTheKeys: there is none.
    """
    listed = document.get("keys")
    found: dict[str, jwt.PyJWK] = {}
    for each in listed[:MOST_KEYS] if isinstance(listed, list) else []:
        if not isinstance(each, dict) or not isinstance(each.get("kid"), str) or each.get("use", "sig") != "sig":
            continue
        try:
            key = jwt.PyJWK(each)
        except jwt.PyJWTError:
            continue
        is_large = getattr(key.key, "key_size", 0) >= LEAST_RSA_BITS or key.key_type != "RSA"
        if key.algorithm_name in ASYMMETRIC and is_large:
            found[each["kid"]] = key
    if not found:
        raise NotTheKeys("there is no key that may sign")
    return found
