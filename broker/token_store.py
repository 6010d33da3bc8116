"""Bearer tokens in the broker: made, found, rotated, revoked, listed. The secrets themselves are stored nowhere."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

from broker import codec, keys, scripts
from broker.connection import Broker
from broker.identity import ANYBODY_ID, PERSON, PREFIX, Token, TokenKind, digest_of, new_secret, why_not_submit
from broker.scripts import Bought
from protocol.names import HostKey

__all__ = [
    "ANYBODY_ID",
    "PERSON",
    "PREFIX",
    "Token",
    "TokenKind",
    "TokenStore",
    "digest_of",
    "new_secret",
    "why_not_submit",
]

PAGE: Final = 500


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
        name: str = "",
        description: str = "",
        max_uses: int = 0,
    ) -> Token:
        """Make a token valid. Adding the same secret again changes nothing, a revoked or rotated one stays so.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        digest, now = digest_of(secret), datetime.now(UTC)
        facts = facts_of(
            Token(
                token_id or str(uuid4()), kind, tenant, services, now, expires_at, name=name, description=description,
                max_uses=max_uses,
            )
        )  # fmt: skip
        async with self._broker.guarded() as redis:
            await redis.hsetnx(keys.token(digest), "facts", facts)
        stored = await self.with_digest(digest)
        assert stored is not None
        async with self._broker.guarded() as redis, redis.pipeline(transaction=True) as pipe:
            # Also for one that was there: whoever added it may have died before this line. Never over another digest:
            # that is the one it was rotated to.
            pipe.hsetnx(keys.token_ids(), stored.token_id, digest)
            pipe.zadd(keys.tokens_of(stored.tenant), {member_of(stored): 0})
            await pipe.execute()
        return stored

    async def find(self, secret: str) -> Token | None:
        """The token with this secret, valid or not; None where there is none.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        return await self.with_digest(digest_of(secret))

    async def with_digest(self, digest: str) -> Token | None:
        """The token whose secret has this digest, valid or not; None where there is none.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        fields: list[str] = await self._broker.run_on_line(scripts.find_token(digest))
        return token_of(digest, dict(zip(fields[::2], fields[1::2], strict=True)))

    async def count(self) -> int:
        """How many tokens there are, of all tenants, valid or not.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis:
            return int(await redis.hlen(keys.token_ids()))

    async def digests(self) -> AsyncIterator[str]:
        """The digest of the newest secret of every token there is, in no order; one may come twice.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        at = 0
        while True:
            async with self._broker.guarded() as redis:
                at, some = await redis.hscan(keys.token_ids(), cursor=at, count=PAGE)
            for digest in some.values():
                yield digest
            if at == 0:
                return

    async def with_id(self, token_id: str) -> Token | None:
        """The token of this id as its newest secret shows it, valid or not; None where there is none.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis:
            digest: str | None = await redis.hget(keys.token_ids(), token_id)
        return await self.with_digest(digest) if digest is not None else None

    async def rotate(
        self, token: Token, secret: str, *, overlap: timedelta, expires_at: datetime | None = None
    ) -> Token | None:
        """Give a token another secret; the present one is good for the overlap, older ones end now.

        Args:
            token: as it was read.
            secret: the new one.
            overlap: for how long both are good.
            expires_at: a new end of the token; None leaves the one it has.

        Returns:
            The token by its new secret; None when it was rotated or revoked since it was read.

        Raises:
            BrokerUnavailable: the server cannot be reached; it may or may not be rotated.
        """
        now, digest = datetime.now(UTC), digest_of(secret)
        facts = json.loads(facts_of(token)) | ({"expires_at": expires_at.isoformat()} if expires_at else {})
        call = scripts.rotate_token(
            token.token_id, before=token.digest, after=digest, facts=json.dumps(facts), now=now.isoformat(),
            until=(now + overlap).isoformat(),
        )  # fmt: skip
        return await self.with_digest(digest) if await self._broker.run(call) else None

    async def enrol(self, by: Token, host: HostKey, *, digest: str, host_id: str) -> tuple[Bought, Token | None]:
        """Buy a host an agent's credential of its own, with an enrolment token.

        Args:
            by: the enrolment token.
            host: which; the credential is good for it alone.
            digest: the SHA-256 of the credential's secret.
            host_id: what the host calls its machine, or empty; the credential is held to it.

        Returns:
            What became of it, and the credential where the host has it now.

        Raises:
            BrokerUnavailable: the server cannot be reached; it may be repeated with the same digest.
        """
        token = Token(
            str(uuid4()), TokenKind.AGENT, host.tenant, (host.service,), datetime.now(UTC), name=host.host,
            description=f"bought with the enrolment token {by.token_id}", host=host, host_id=host_id,
        )  # fmt: skip
        call = scripts.enrol(
            host.path, enrolment_id=by.token_id, max_uses=by.max_uses, tenant=host.tenant, token_id=token.token_id,
            digest=digest, facts=facts_of(token), member=member_of(token),
        )  # fmt: skip
        bought = Bought(await self._broker.run(call))
        return bought, await self.with_digest(digest) if bought in {Bought.ENROLLED, Bought.REPEATED} else None

    async def enrolled(self, token_ids: Sequence[str]) -> list[int]:
        """How many hosts each of these enrolment tokens has enrolled.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        if not token_ids:
            return []
        async with self._broker.guarded() as redis:
            return [int(count or 0) for count in await redis.hmget(keys.enrolments(), list(token_ids))]

    async def credential_of(self, host: HostKey) -> Token | None:
        """The credential that was bought for a host, valid or not; None where there is none.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis:
            token_id: str | None = await redis.hget(keys.bound_tokens(), host.path)
        return await self.with_id(token_id) if token_id is not None else None

    async def revoke(self, token_id: str, *, tenant: str) -> Token | None:
        """Make a token of this tenant worthless, every secret of it; None where there is none.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        token = await self.with_id(token_id)
        if token is None or token.tenant != tenant:
            return None
        await self._broker.run(scripts.revoke_token(token_id, digest=token.digest, now=datetime.now(UTC).isoformat()))
        return await self.with_id(token_id)

    async def all_of(self, tenant: str, *, after: str = "", newest_first: bool = False) -> AsyncIterator[Token]:
        """Every token of a tenant, oldest first unless told otherwise, behind a place in the list (see `member_of`).

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        while True:
            async with self._broker.guarded() as redis:
                first, last = ("+", "-") if newest_first else ("-", "+")
                members: list[str] = await redis.zrange(
                    keys.tokens_of(tenant), f"({after}" if after else first, last, desc=newest_first, bylex=True,
                    offset=0, num=PAGE,
                )  # fmt: skip
                ids = [member.partition(":")[2] for member in members]
                digests: list[str | None] = await redis.hmget(keys.token_ids(), ids) if ids else []
                known = [digest for digest in digests if digest is not None]
                async with redis.pipeline(transaction=False) as pipe:
                    for digest in known:
                        pipe.hgetall(keys.token(digest))
                    rows: list[dict[str, str]] = await pipe.execute() if known else []
            for digest, fields in zip(known, rows, strict=True):
                token = token_of(digest, fields)
                if token is not None:
                    yield token
            if len(members) < PAGE:
                return
            after = members[-1]

    async def note_used(self, token_ids: Mapping[str, float]) -> None:
        """Remember when tokens were used last (seconds since the epoch). Coarse: callers collect and say it rarely.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        if not token_ids:
            return
        async with self._broker.guarded() as redis:
            await redis.hset(keys.tokens_used(), mapping={each: codec.ms(at) for each, at in token_ids.items()})

    async def last_used(self, token_ids: list[str]) -> list[datetime | None]:
        """When each of these tokens was used last, to some minutes; None: not since it was made.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        if not token_ids:
            return []
        async with self._broker.guarded() as redis:
            found: list[str | None] = await redis.hmget(keys.tokens_used(), token_ids)
        return [datetime.fromtimestamp(int(at) / 1000, UTC) if at is not None else None for at in found]


def member_of(token: Token) -> str:
    """A token's place in the list of its tenant."""
    return f"{codec.ms(token.created_at.timestamp()):015}:{token.token_id}"


def facts_of(token: Token) -> str:
    """What does not change in a token's life, as it is stored."""
    facts: dict[str, Any] = {
        "id": token.token_id, "kind": token.kind, "tenant": token.tenant, "services": token.services,
        "created_at": token.created_at.isoformat(),
        "expires_at": token.expires_at.isoformat() if token.expires_at else None,
    }  # fmt: skip
    further = {
        "name": token.name, "description": token.description, "host": token.host, "host_id": token.host_id,
        "max_uses": token.max_uses,
    }  # fmt: skip
    return json.dumps(facts | {name: value for name, value in further.items() if value})


def token_of(digest: str, fields: Mapping[str, str]) -> Token | None:
    """A token as it is stored; None for a record that is none."""
    if "facts" not in fields:
        return None
    facts = json.loads(fields["facts"])
    return Token(
        token_id=facts["id"],
        kind=TokenKind(facts["kind"]),
        tenant=facts["tenant"],
        services=tuple(facts["services"]),
        created_at=datetime.fromisoformat(facts["created_at"]),
        expires_at=_moment(facts["expires_at"]),
        revoked_at=_moment(fields.get("revoked_at")),
        name=facts.get("name", ""),
        description=facts.get("description", ""),
        secret_until=_moment(fields.get("until")),
        rotated_at=_moment(fields.get("rotated_at")),
        previous_until=_moment(fields.get("previous_until")),
        host=HostKey(*facts["host"]) if "host" in facts else None,
        host_id=facts.get("host_id", ""),
        max_uses=facts.get("max_uses", 0),
        digest=digest,
    )


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
