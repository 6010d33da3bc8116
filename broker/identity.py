"""Who may call: tokens as values, and their secrets, kept only as SHA-256 of 256 random bits."""

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final

from protocol.names import HostKey

PREFIX: Final = "pcs_"
"""What our tokens begin with, so that secret scanners know one when they see it."""

ANYBODY_ID: Final = "anybody"
"""Stands for the token where authentication is switched off; no token has it."""
PERSON: Final = "oidc:"
"""What the id of somebody begins with who signed in elsewhere; the issuer's subject follows. It is not stored."""


class TokenKind(StrEnum):
    """What a token is for."""

    AGENT = "agent"
    ENROLMENT = "enrolment"
    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Token:
    """A token as one of its secrets shows it. `services` are shell-style patterns.

    A token is an identity: rotating it gives it another secret and leaves its id, and what it owns, as they are.

    Attributes:
        secret_until: the end of this very secret, where the token was rotated since.
        rotated_at: when the token got the secret that is valid longest.
        previous_until: until when the secret before that one is good.
        host: of a credential bought by enrolment: the one host that it is for.
        host_id: likewise: what that host called its machine; empty where it did not say.
        max_uses: of an enrolment token: how many hosts it can enrol.
        digest: the SHA-256 of the secret. Not a secret itself; it stands in no answer and no log.
    """

    token_id: str
    kind: TokenKind
    tenant: str
    services: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    name: str = ""
    description: str = ""
    secret_until: datetime | None = None
    rotated_at: datetime | None = None
    previous_until: datetime | None = None
    host: HostKey | None = None
    host_id: str = ""
    max_uses: int = 0
    digest: str = field(default="", repr=False, compare=False)

    def covers(self, service: str) -> bool:
        """Whether one of its patterns matches the service, case and all."""
        if self.host is not None:
            return service == self.host.service  # a name, whatever it would match as a pattern
        return any(fnmatchcase(service, pattern) for pattern in self.services)

    @property
    def is_person(self) -> bool:
        """Whether it is somebody's sign-in, which ends soon and is stored nowhere."""
        return self.token_id.startswith(PERSON)

    @property
    def ends_at(self) -> datetime | None:
        """When this secret ends by itself; None: never."""
        return min((end for end in (self.expires_at, self.secret_until) if end is not None), default=None)

    def is_valid(self, now: datetime) -> bool:
        """Whether it may be used at this moment."""
        if self.revoked_at is not None or (self.expires_at is not None and now >= self.expires_at):
            return False
        return self.secret_until is None or now < self.secret_until


def why_not_submit(token: Token | None, *, tenant: str, service: str, now: datetime) -> str:
    """What keeps a token from submitting for a service of a tenant at a moment, to go behind its name; empty: nothing.

    For what is submitted in the name of a token that is not there itself: it may have changed since.
    """
    if token is None or token.tenant != tenant or not token.is_valid(now):
        return "is unknown, revoked or expired"
    if token.kind not in {TokenKind.OPERATOR, TokenKind.ADMIN}:
        return f"is of kind {token.kind} and may not submit"
    return "" if token.covers(service) else "does not cover the service"


def new_secret() -> str:
    """The text of a new token: 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def digest_of(secret: str) -> str:
    """What is stored of a token."""
    return hashlib.sha256(secret.encode()).hexdigest()
