"""Bearer tokens, kept only as SHA-256 of 256 random bits."""

import hashlib
import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final
from uuid import uuid4

from broker import keys
from broker.connection import Broker

PREFIX: Final = "pcs_"
"""What our tokens begin with, so that secret scanners know one when they see it."""


ANYBODY_ID: Final = "anybody"
"""Stands for the token where authentication is switched off; no token has it."""


class TokenKind(StrEnum):
    """What a token is for."""

    AGENT = "agent"
    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Token:
    """A token without its secret. `services` are shell-style patterns."""

    token_id: str
    kind: TokenKind
    tenant: str
    services: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def covers(self, service: str) -> bool:
        """Whether one of its patterns matches the service, case and all."""
        return any(fnmatchcase(service, pattern) for pattern in self.services)

    def is_valid(self, now: datetime) -> bool:
        """Whether it may be used at this moment."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def new_secret() -> str:
    """The text of a new token: 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def digest_of(secret: str) -> str:
    """What is stored of a token."""
    return hashlib.sha256(secret.encode()).hexdigest()


class TokenStore:
    """The tokens of all tenants."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def add(
        self,
        secret: str,
        *,
        kind: TokenKind,
        tenant: str,
        services: tuple[str, ...],
        expires_at: datetime | None = None,
        token_id: str | None = None,
    ) -> Token:
        """Make a token valid. Adding the same secret again changes nothing, a revoked one stays revoked.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        digest = digest_of(secret)
        token = Token(token_id or str(uuid4()), kind, tenant, services, datetime.now(UTC), expires_at)
        body = json.dumps({
            "id": token.token_id, "kind": kind, "tenant": tenant, "services": services,
            "created_at": token.created_at.isoformat(), "expires_at": expires_at and expires_at.isoformat(),
        })  # fmt: skip
        async with self._broker.guarded() as redis:
            await redis.hsetnx(keys.token(digest), "facts", body)
            stored = await self.find(secret)
            assert stored is not None
            # Also for one that was there: whoever added it may have died before this line.
            await redis.hset(keys.token_ids(), stored.token_id, digest)
        return stored

    async def find(self, secret: str) -> Token | None:
        """The token with this secret, valid or not; None where there is none.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        return await self._read(digest_of(secret))

    async def with_id(self, token_id: str) -> Token | None:
        """The token of this id, valid or not; None where there is none.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis:
            digest: str | None = await redis.hget(keys.token_ids(), token_id)
        return await self._read(digest) if digest is not None else None

    async def revoke(self, token_id: str, *, tenant: str) -> Token | None:
        """Make a token of this tenant worthless; None where there is none.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis:
            digest: str | None = await redis.hget(keys.token_ids(), token_id)
        token = await self._read(digest) if digest is not None else None
        if digest is None or token is None or token.tenant != tenant:
            return None
        async with self._broker.guarded() as redis:
            await redis.hsetnx(keys.token(digest), "revoked_at", datetime.now(UTC).isoformat())
        return await self._read(digest)

    async def all_of(self, tenant: str) -> list[Token]:
        """Every token of a tenant, oldest first.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis:
            digests: dict[str, str] = await redis.hgetall(keys.token_ids())
        found = [await self._read(digest) for digest in digests.values()]
        return sorted(
            (token for token in found if token is not None and token.tenant == tenant),
            key=lambda token: token.created_at,
        )

    async def _read(self, digest: str) -> Token | None:
        async with self._broker.guarded() as redis:
            fields: dict[str, str] = await redis.hgetall(keys.token(digest))
        if "facts" not in fields:
            return None
        facts = json.loads(fields["facts"])
        revoked_at = fields.get("revoked_at")
        return Token(
            token_id=facts["id"],
            kind=TokenKind(facts["kind"]),
            tenant=facts["tenant"],
            services=tuple(facts["services"]),
            created_at=datetime.fromisoformat(facts["created_at"]),
            expires_at=datetime.fromisoformat(facts["expires_at"]) if facts["expires_at"] else None,
            revoked_at=datetime.fromisoformat(revoked_at) if revoked_at else None,
        )
