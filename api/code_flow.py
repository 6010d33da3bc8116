"""Signing in at the page by OpenID Connect: authorization code with PKCE, bound to the browser that began it.

What is known of a sign-in on its way lies in a cookie of that browser alone: nobody can fill the broker with sign-ins
that are never finished, and a sign-in that was begun elsewhere ends nowhere.
"""

import asyncio
import base64
import hashlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final, Self
from urllib.parse import urlencode, urlsplit

import jwt

from api.issuer_calls import NotToBeHad, posted
from api.jwks import NotTheKeys, discovery
from api.people import People
from api.settings import OidcSettings, is_private
from broker.sessions import Person

DONE: Final = "/sign-in/oidc/done"
"""Where the issuer sends browsers back to, below `PCS_PUBLIC_URL`."""
HOME: Final = "/"
FRESH_SECONDS: Final = 600.0
ASK_EVERY_SECONDS: Final = 3.0
"""An issuer that is away is not asked by each browser that comes."""
PARTS: Final = 4
"""Of a cookie: state, nonce, verifier, and where to."""
LONGEST_COOKIE: Final = 3_000
LONGEST_TO: Final = 1_500
LONGEST_CODE: Final = 4_096
STATUSES: Final[Mapping[str, HTTPStatus]] = {
    "foreign": HTTPStatus.FORBIDDEN,
    "denied": HTTPStatus.FORBIDDEN,
    "stale": HTTPStatus.FORBIDDEN,
    "unfit": HTTPStatus.FORBIDDEN,
    "nobody": HTTPStatus.FORBIDDEN,
    "not offered": HTTPStatus.NOT_FOUND,
    "too many": HTTPStatus.TOO_MANY_REQUESTS,
    "misconfigured": HTTPStatus.BAD_GATEWAY,
    "unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "not ready": HTTPStatus.SERVICE_UNAVAILABLE,
}
"""Why somebody is not signed in -> what is answered. The page has words for each: `console/src/sign-in.tsx`."""


ERRORS: Final = frozenset({"invalid_request", "invalid_client", "unauthorized_client", "unsupported_grant_type"})
"""Of RFC 6749, section 5.2: what the log tells of an issuer's refusal; anything else could be anything."""


class NotSignedIn(Exception):
    """Somebody is not signed in. `code` is of `STATUSES`; `reason` is for the log, and has no secret.

    `wait`: so many seconds until it is worth another try; 0 where time alone does not help.
    """

    def __init__(self, code: str, reason: str, *, wait: int = 0) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.wait = wait


@dataclass(frozen=True, slots=True, repr=False)
class Begun:
    """A sign-in on its way: what the browser that began it keeps. `to`: the page to show afterwards."""

    state: str
    nonce: str
    verifier: str
    to: str

    @classmethod
    def anew(cls, to: str) -> Self:
        """One that begins now; to a page of ours, whatever was asked for."""
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        return cls(state, nonce, verifier, ours(to))

    @classmethod
    def read(cls, cookie: str | None) -> Self | None:
        """What a cookie keeps; None: nothing that we wrote."""
        parts = (cookie or "").split(".")
        if len(cookie or "") > LONGEST_COOKIE or len(parts) != PARTS or not all(parts):
            return None
        state, nonce, verifier, to = parts
        try:
            return cls(state, nonce, verifier, ours(base64.b64decode(to, b"-_", validate=True).decode()))
        except ValueError:
            return None

    @property
    def cookie(self) -> str:
        """How the browser keeps it."""
        to = base64.urlsafe_b64encode(self.to.encode()).decode()
        return f"{self.state}.{self.nonce}.{self.verifier}.{to}"

    @property
    def challenge(self) -> str:
        """What the issuer is told of the verifier (RFC 7636, S256)."""
        return base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).decode().rstrip("=")


def ours(to: str) -> str:
    """A path on this server as it is; home in place of anything that could lead a browser elsewhere."""
    is_sane = len(to) <= LONGEST_TO and to.isascii() and to.isprintable() and not {" ", "\\"} & set(to)
    return to if is_sane and to.startswith("/") and not to.startswith(("//", "/api/", "/sign-in")) else HOME


class CodeFlow:
    """The page as a client of one issuer."""

    def __init__(self, settings: OidcSettings, people: People) -> None:
        self._settings = settings
        self._people = people
        self._redirect = settings.public_url.rstrip("/") + DONE
        self._document: dict[str, Any] = {}
        self._fetched_at = float("-inf")
        self._failed_at = float("-inf")
        self._asking = asyncio.Lock()

    async def address(self, begun: Begun) -> str:
        """Where the browser goes to sign in.

        Raises:
            NotSignedIn: the issuer is away.
        """
        asked = {
            "response_type": "code", "client_id": self._settings.oidc_client_id, "redirect_uri": self._redirect,
            "scope": self._settings.oidc_scopes, "state": begun.state, "nonce": begun.nonce,
            "code_challenge": begun.challenge, "code_challenge_method": "S256",
        }  # fmt: skip
        at = await self._endpoint("authorization_endpoint")
        return f"{at}{'&' if urlsplit(at).query else '?'}{urlencode(asked)}"

    async def finish(self, begun: Begun | None, answer: Mapping[str, str]) -> Person:
        """Who it is that the issuer sends back, by the query that the browser brings.

        Raises:
            NotSignedIn: it does not belong to a sign-in of this browser, or the issuer does not vouch for anybody.
        """
        if begun is None or not secrets.compare_digest(begun.state.encode(), answer.get("state", "").encode()):
            raise NotSignedIn("foreign", "no such sign-in was begun in this browser")
        if answer.get("iss", self._settings.oidc_issuer) != self._settings.oidc_issuer:  # RFC 9207
            raise NotSignedIn("foreign", "the answer is of another issuer")
        code = answer.get("code", "")
        if "error" in answer or not code or len(code) > LONGEST_CODE:
            raise NotSignedIn("denied", "the issuer gave no code")
        claims = await self._claims(await self._id_token(begun, code), begun)
        person = self._people.person_of(claims, now=datetime.now(UTC))
        if person is None:
            raise NotSignedIn("nobody", "no grant fits its claims")
        return person

    async def _id_token(self, begun: Begun, code: str) -> str:
        client_id, secret = self._settings.oidc_client_id, self._settings.oidc_client_secret
        form = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": self._redirect,
            "code_verifier": begun.verifier,
        }  # fmt: skip
        at = await self._endpoint("token_endpoint")
        try:
            if secret is None or not secret.get_secret_value():
                status, told = await posted(at, {**form, "client_id": client_id})
            elif "client_secret_basic" in self._document.get(
                "token_endpoint_auth_methods_supported", ["client_secret_basic"]
            ):
                basic = (_form_encoded(client_id), _form_encoded(secret.get_secret_value()))  # RFC 6749, 2.3.1
                status, told = await posted(at, form, basic=basic)
            else:
                form |= {"client_id": client_id, "client_secret": secret.get_secret_value()}
                status, told = await posted(at, form)
        except NotToBeHad as error:
            raise NotSignedIn("unavailable", str(error)) from error
        token = told.get("id_token")
        if status == HTTPStatus.OK and isinstance(token, str):
            return token
        raise _refused(status, told)

    async def _claims(self, id_token: str, begun: Begun) -> dict[str, Any]:
        client_id = self._settings.oidc_client_id
        try:
            claims = await self._people.claims_of(id_token, audience=client_id)
        except jwt.PyJWTError as error:
            raise NotSignedIn("unfit", type(error).__name__) from error
        except NotTheKeys as error:
            raise NotSignedIn("unavailable", str(error)) from error
        if not secrets.compare_digest(str(claims.get("nonce", "")).encode(), begun.nonce.encode()):
            raise NotSignedIn("unfit", "the nonce is of another sign-in")
        is_for_others = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if claims.get("azp", None if is_for_others else client_id) != client_id:
            raise NotSignedIn("unfit", "it was made for another client")
        return claims

    async def _endpoint(self, name: str) -> str:
        async with self._asking:  # who waits here finds what the one before has fetched
            now = time.monotonic()
            if now - self._fetched_at >= FRESH_SECONDS:
                if now - self._failed_at < ASK_EVERY_SECONDS:
                    raise NotSignedIn("unavailable", "the issuer was away just now")
                try:
                    self._document = await discovery(self._settings.oidc_issuer)
                except NotToBeHad as error:
                    self._failed_at = time.monotonic()
                    raise NotSignedIn("unavailable", str(error)) from error
                self._fetched_at = time.monotonic()
        found = self._document.get(name)
        if not isinstance(found, str) or not is_private(found):
            raise NotSignedIn("misconfigured", f"its discovery document names no {name} at an https:// address")
        return found


def _form_encoded(text: str) -> str:
    return urlencode({"": text})[1:]


def _refused(status: int, told: Mapping[str, Any]) -> NotSignedIn:
    """What it means that the issuer takes a code for none, or our call for no call of ours."""
    error = told.get("error")
    if error == "invalid_grant":
        return NotSignedIn("stale", "the code is used or expired")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
        return NotSignedIn("unavailable", f"status {status}")
    return NotSignedIn("misconfigured", f"status {status}, {error if error in ERRORS else 'no id_token'}")
