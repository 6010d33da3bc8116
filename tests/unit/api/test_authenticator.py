"""How long a token is believed without asking again."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import Request

from api import auth
from api.auth import REMEMBERED_SECONDS, Authenticator, require, require_every_service, require_service
from api.problems import Refusal
from broker.errors import BrokerUnavailable
from broker.token_store import Token, TokenKind

A_TOKEN = Token("t-1", TokenKind.AGENT, "default", ("web-*",), datetime.now(UTC))


class FakeStore:
    """A store that counts how often it is asked."""

    def __init__(self) -> None:
        self.tokens: dict[str, Token] = {"pcs_good": A_TOKEN}
        self.asked = 0
        self.away = False

    async def find(self, secret: str) -> Token | None:
        self.asked += 1
        if self.away:
            raise BrokerUnavailable("ConnectionError")
        return self.tokens.get(secret)


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    moment = [1_000.0]
    monkeypatch.setattr("api.auth.time", SimpleNamespace(monotonic=lambda: moment[0]))
    return moment


def calling(secret: str) -> Request:
    headers = [(b"authorization", f"Bearer {secret}".encode())]
    return Request({"type": "http", "method": "GET", "path": "/", "headers": headers})


def authenticator(store: Any) -> Authenticator:
    return Authenticator(store)


async def test_a_token_is_asked_for_once_in_a_while(store: FakeStore, clock: list[float]) -> None:
    found = authenticator(store)
    for _ in range(5):
        assert await found.identify(calling("pcs_good")) is A_TOKEN
    assert store.asked == 1
    clock[0] += REMEMBERED_SECONDS + 0.1
    await found.identify(calling("pcs_good"))
    assert store.asked == 2


async def test_a_revoked_token_is_refused_once_it_is_asked_for_again(store: FakeStore, clock: list[float]) -> None:
    found = authenticator(store)
    await found.identify(calling("pcs_good"))
    store.tokens["pcs_good"] = replace(A_TOKEN, revoked_at=datetime.now(UTC))
    clock[0] += REMEMBERED_SECONDS + 0.1
    with pytest.raises(Refusal):
        await found.identify(calling("pcs_good"))
    assert REMEMBERED_SECONDS < 5


async def test_an_expiry_bites_at_once(store: FakeStore, clock: list[float]) -> None:
    found = authenticator(store)
    store.tokens["pcs_good"] = replace(A_TOKEN, expires_at=datetime.now(UTC) + timedelta(seconds=0.5))
    await found.identify(calling("pcs_good"))
    await asyncio.sleep(0.6)
    with pytest.raises(Refusal):
        await found.identify(calling("pcs_good"))
    assert store.asked == 1, "it was remembered, and refused all the same"


async def test_unknown_tokens_are_remembered_too_and_the_memory_is_bounded(
    store: FakeStore, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "REMEMBERED_TOKENS", 10)
    found = authenticator(store)
    for _ in range(3):
        with pytest.raises(Refusal):
            await found.identify(calling("pcs_guess"))
    assert store.asked == 1
    for number in range(50):
        with pytest.raises(Refusal):
            await found.identify(calling(f"pcs_guess{number}"))
    assert len(found._seen) == 10


async def test_a_broker_that_is_away_is_no_answer_to_remember(store: FakeStore, clock: list[float]) -> None:
    found = authenticator(store)
    store.away = True
    with pytest.raises(BrokerUnavailable):
        await found.identify(calling("pcs_good"))
    store.away = False
    assert await found.identify(calling("pcs_good")) is A_TOKEN


async def test_no_secret_is_kept_in_memory(store: FakeStore, clock: list[float]) -> None:
    found = authenticator(store)
    await found.identify(calling("pcs_good"))
    assert "pcs_good" not in repr(vars(found))


async def test_a_secret_beyond_all_measure_is_not_even_looked_up(store: FakeStore) -> None:
    with pytest.raises(Refusal):
        await authenticator(store).identify(calling("x" * 513))
    assert store.asked == 0


@pytest.mark.parametrize(("kind", "may"), [(TokenKind.AGENT, True), (TokenKind.ADMIN, True), (TokenKind.VIEWER, False)])
def test_a_kind_is_required_and_an_admin_is_every_kind(kind: TokenKind, may: bool) -> None:
    if may:
        require(replace(A_TOKEN, kind=kind), [TokenKind.AGENT])
        return
    with pytest.raises(Refusal, match="viewer") as refused:
        require(replace(A_TOKEN, kind=kind), [TokenKind.AGENT])
    assert refused.value.errors[0].message == "a token of kind admin or agent is needed"


def test_a_service_is_required_by_pattern() -> None:
    require_service(A_TOKEN, "web-1")
    with pytest.raises(Refusal):
        require_service(A_TOKEN, "db")


def test_every_service_means_every_service() -> None:
    require_every_service(replace(A_TOKEN, services=("a", "*")))
    for services in (("web",), ("*web",), ("**",), ("?*",)):
        with pytest.raises(Refusal):
            require_every_service(replace(A_TOKEN, services=services))
