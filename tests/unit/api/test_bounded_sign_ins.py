"""A flood of made-up cookies does not reach the broker, and shuts nobody out who has signed in."""

from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request

from api.auth import Authenticator
from api.limit_settings import Lane
from api.limits import Limits
from api.problems import Refusal
from api.sign_ins import COOKIE, identify
from api.strangers import client
from broker.identity import Token, TokenKind, digest_of
from broker.limits import WindowLimits
from broker.quotas import Quota
from broker.sessions import Session
from tests.support.two_ways import KnownTokens, a_token

MOST = 3


class PlayedSessions:
    """Knows one session, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def find(self, secret: str, *, now: datetime) -> Session | None:
        self.asked += 1
        return Session(digest_of("viewer"), now + timedelta(hours=1)) if secret == "mine" else None


@pytest.fixture
def parts() -> Any:
    limits = Limits(WindowLimits(None), {Lane.STRANGERS: Quota(MOST, 60)})  # type: ignore[arg-type]  # in memory
    tokens = KnownTokens(limits, viewer=a_token(TokenKind.VIEWER, "*"))
    return SimpleNamespace(authenticator=Authenticator(tokens), lookups=tokens, sessions=PlayedSessions())


async def caller(parts: Any, cookie: str) -> Token:
    headers = [(b"cookie", f"{COOKIE}={cookie}".encode()), (b"host", b"studio"), (b"sec-fetch-site", b"same-origin")]
    request = Request({
        "type": "http", "method": "GET", "scheme": "http", "path": "/api/v1/hosts", "headers": headers,
        "query_string": b"", "server": ("studio", 80),
    })  # fmt: skip
    return await identify(request, parts, request.headers)


async def test_made_up_cookies_are_looked_up_only_so_often(parts: Any) -> None:
    client.set(("192.0.2.7", 1))
    assert (await caller(parts, "mine")).kind is TokenKind.VIEWER
    codes = []
    for number in range(50):
        with pytest.raises(Refusal) as refused:
            await caller(parts, f"none-{number}")
        codes.append(refused.value.code)
    assert codes == ["unauthenticated"] * MOST + ["rate_limited"] * (50 - MOST)
    assert parts.sessions.asked == 1 + MOST
    assert (await caller(parts, "mine")).kind is TokenKind.VIEWER, "who signed in here before is let in all the same"
