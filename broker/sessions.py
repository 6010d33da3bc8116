"""Sign-ins of people at the page: a secret of its own that stands for a token for a while. Only digests are stored."""

import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from broker import keys
from broker.connection import Broker
from broker.identity import Token, digest_of

LONGEST: Final = timedelta(hours=12)
"""A working day: whoever finds the browser tomorrow signs in again."""
LONGEST_SECRET: Final = 128


@dataclass(frozen=True, slots=True)
class Session:
    """What a sign-in stands for.

    Attributes:
        digest: of the very secret of the token that bought it: when that ends, so does the session.
        ends_at: when it ends by itself.
    """

    digest: str
    ends_at: datetime


class Sessions:
    """The sign-ins of all tenants. What a cookie holds is good for nothing once its session has ended here."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def begin(self, token: Token, *, now: datetime) -> tuple[str, Session]:
        """Buy a session with a token; gives its secret, which stands nowhere else.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        ends_at = min(now + LONGEST, token.ends_at or now + LONGEST)
        secret = secrets.token_urlsafe(32)
        fact = json.dumps({"digest": token.digest, "ends_at": ends_at.isoformat()})
        async with self._broker.guarded() as redis:
            await redis.set(keys.session(digest_of(secret)), fact, ex=max(1, int((ends_at - now).total_seconds())))
        return secret, Session(token.digest, ends_at)

    async def find(self, secret: str, *, now: datetime) -> Session | None:
        """The session of a secret; None where there is none, or none any more.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        if len(secret) > LONGEST_SECRET:
            return None
        async with self._broker.guarded() as redis:
            fact: str | None = await redis.get(keys.session(digest_of(secret)))
        if fact is None:
            return None
        told = json.loads(fact)
        session = Session(told["digest"], datetime.fromisoformat(told["ends_at"]).astimezone(UTC))
        return session if now < session.ends_at else None

    async def end(self, secret: str) -> None:
        """End a session, at once and everywhere. Ending one that is none changes nothing.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis:
            await redis.delete(keys.session(digest_of(secret)))
