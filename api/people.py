"""People who sign in elsewhere: an OIDC issuer's signed token, and what we let its claims be."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import jwt
import structlog

from api.jwks import ASYMMETRIC, KeySet, NotTheKeys
from api.problems import Refusal
from api.settings import Grant, OidcSettings
from broker.sessions import Person
from broker.token_store import PERSON, Token, TokenKind
from protocol.problems import FieldFault

log = structlog.get_logger(__name__)

LONGEST: Final = 16 * 1024
CLOCK_SKEW: Final = timedelta(seconds=30)
LONGEST_LIFE: Final = timedelta(days=1)
"""A sign-in cannot be revoked here: it ends by itself, and must do so soon."""
_SHAPE: Final = re.compile(r"ey[\w-]+\.ey[\w-]+\.[\w-]+")
_SUBJECT: Final = re.compile(r"[!-~]{1,255}")


class People:
    """The people whom one issuer vouches for."""

    def __init__(self, settings: OidcSettings) -> None:
        self._settings = settings
        self.keys = KeySet(settings.oidc_issuer, settings.oidc_jwks_url)

    @staticmethod
    def looks_signed(text: str) -> bool:
        """Whether a bearer token has the shape of a JWT; ours have not."""
        return _SHAPE.fullmatch(text) is not None

    async def token_of(self, text: str) -> Token | None:
        """Who it is that shows this token, with the first grant that fits; None for one that is not good.

        Raises:
            Refusal: the issuer's keys are not to be had.
        """
        try:
            claims = await self.claims_of(text, audience=self._settings.oidc_audience)
        except jwt.PyJWTError as error:
            log.info("sign-in refused", reason=type(error).__name__)  # its text may quote a claim
            return None
        except NotTheKeys as error:
            fault = FieldFault(field="Authorization", message="the issuer's keys are not to be had", code="unavailable")
            raise Refusal("issuer_unavailable", "Sign-ins cannot be checked just now.", errors=[fault]) from error
        grant = first_grant(claims, self._settings.oidc_grants)
        if grant is None:
            log.info("sign-in refused", reason="no grant fits its claims")
            return None
        return Token(
            PERSON + claims["sub"], TokenKind(grant.kind), grant.tenant, tuple(grant.services),
            datetime.fromtimestamp(claims["iat"], UTC), datetime.fromtimestamp(claims["exp"], UTC) + CLOCK_SKEW,
            name=_name_in(claims),
        )  # fmt: skip

    def holder_of(self, person: Person, *, ends_at: datetime) -> Token | None:
        """Who it is that has a session; None where the grant that let them in is no more."""
        for grant in self._settings.oidc_grants:
            if (grant.claim, grant.value) == (person.claim, person.value):
                return Token(
                    PERSON + person.subject, TokenKind(grant.kind), grant.tenant, tuple(grant.services), person.since,
                    ends_at, name=person.name,
                )  # fmt: skip
        return None

    def person_of(self, claims: Mapping[str, Any], *, now: datetime) -> Person | None:
        """Who it is that these claims, which were checked, are of; None where no grant fits."""
        grant = first_grant(claims, self._settings.oidc_grants)
        return None if grant is None else Person(claims["sub"], _name_in(claims), grant.claim, grant.value, now)

    async def claims_of(self, text: str, *, audience: str) -> dict[str, Any]:
        """The claims of a token that was signed for an audience, every one of them checked.

        Raises:
            jwt.PyJWTError: something is wrong with it.
            NotTheKeys: the issuer's keys are not to be had.
        """
        if len(text) > LONGEST:
            raise jwt.DecodeError
        header = jwt.get_unverified_header(text)
        key_id, algorithm = header.get("kid"), header.get("alg")
        if not isinstance(key_id, str) or algorithm not in ASYMMETRIC or "crit" in header:
            raise jwt.InvalidAlgorithmError
        key = await self.keys.key(key_id)
        if key is None or key.algorithm_name != algorithm:
            raise jwt.InvalidKeyError
        claims: dict[str, Any] = jwt.decode(
            text, key, algorithms=[key.algorithm_name], audience=audience,
            issuer=self._settings.oidc_issuer, leeway=CLOCK_SKEW,
            options={"require": ["exp", "iat", "iss", "aud", "sub"]},
        )  # fmt: skip
        if claims["exp"] - claims["iat"] > LONGEST_LIFE.total_seconds():
            raise jwt.InvalidTokenError
        if _SUBJECT.fullmatch(str(claims["sub"])) is None:
            raise jwt.InvalidTokenError
        return claims


def first_grant(claims: Mapping[str, Any], grants: Sequence[Grant]) -> Grant | None:
    """The first grant whose claim has its value: as it is, or among several in a list or parted by blanks."""
    for grant in grants:
        found: Any = claims
        for part in [grant.claim] if grant.claim in claims else grant.claim.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        values = found.split() if isinstance(found, str) else found if isinstance(found, list) else []
        if grant.value == found or grant.value in values:
            return grant
    return None


def _name_in(claims: Mapping[str, Any]) -> str:
    """A name for people to read; the subject says who it is."""
    found = next((claims[each] for each in ("email", "preferred_username", "name") if each in claims), "")
    return "".join(character for character in str(found)[:256] if character.isprintable())
