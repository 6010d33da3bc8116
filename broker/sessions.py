"""Sign-ins of people at the page: a secret of its own that stands for a token for a while. Only digests are stored."""

import json
import secrets
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from broker import keys
from broker.connection import Broker
from broker.identity import Token, digest_of

LONGEST: Final = timedelta(hours=12)
"""A working day: whoever finds the browser tomorrow signs in again."""
LONGEST_SECRET: Final = 128


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who signed in elsewhere: the issuer's subject, a name to read, and which grant's claim and value fitted.

    What the grant lets them do is looked up at each call: it may be another one by then, or none.
    """

    subject: str
    name: str
    claim: str
    value: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Session:
    """What a sign-in stands for.

    Attributes:
        digest: of the very secret of the token that bought it: when that ends, so does the session.
        ends_at: when it ends by itself.
        person: who has it, where no token bought it; `digest` is empty then.
    """

    digest: str
    ends_at: datetime
    person: Person | None = None


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
        return await self._keep(Session(token.digest, ends_at), {"digest": token.digest}, now=now)

    async def begin_for(self, person: Person, *, lasts: timedelta) -> tuple[str, Session]:
        """A session of somebody whom their issuer has vouched for just now; gives its secret.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        session = Session("", person.since + min(lasts, LONGEST), person)
        fact = {"person": {**asdict(person), "since": person.since.isoformat()}}
        return await self._keep(session, fact, now=person.since)

    async def _keep(self, session: Session, fact: dict[str, Any], *, now: datetime) -> tuple[str, Session]:
        secret = secrets.token_urlsafe(32)
        told = json.dumps({**fact, "ends_at": session.ends_at.isoformat()})
        life = max(1, int((session.ends_at - now).total_seconds()))
        async with self._broker.guarded() as redis:
            await redis.set(keys.session(digest_of(secret)), told, ex=life)
        return secret, session

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
        who = told.get("person")
        person = who and Person(**{**who, "since": datetime.fromisoformat(who["since"]).astimezone(UTC)})
        session = Session(told.get("digest", ""), datetime.fromisoformat(told["ends_at"]).astimezone(UTC), person)
        return session if now < session.ends_at else None

    async def end(self, secret: str) -> None:
        """End a session, at once and everywhere. Ending one that is none changes nothing.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis:
            await redis.delete(keys.session(digest_of(secret)))
