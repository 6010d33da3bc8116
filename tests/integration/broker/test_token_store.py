"""Tokens: valid until they are revoked or run out, and kept only as a digest."""

from datetime import UTC, datetime, timedelta

import pytest

from broker import keys
from broker.connection import Broker
from broker.token_store import PREFIX, Token, TokenKind, TokenStore, new_secret

NOW = datetime(2027, 1, 8, 12, tzinfo=UTC)


@pytest.fixture
def store(broker: Broker) -> TokenStore:
    return TokenStore(broker)


async def added(store: TokenStore, secret: str, *services: str, tenant: str = "t", lasts: int | None = None) -> Token:
    expires_at = NOW + timedelta(seconds=lasts) if lasts is not None else None
    return await store.add(
        secret, kind=TokenKind.AGENT, tenant=tenant, services=services or ("*",), expires_at=expires_at
    )


def test_a_secret_is_256_random_bits_that_scanners_know() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(secret.startswith(PREFIX) and len(secret) == len(PREFIX) + 43 for secret in secrets)


async def test_a_token_is_found_by_its_secret_alone(store: TokenStore) -> None:
    secret = new_secret()
    token = await added(store, secret, "web-*", lasts=60)
    assert await store.find(secret) == token
    assert (token.kind, token.tenant, token.services) == (TokenKind.AGENT, "t", ("web-*",))
    assert await store.find(new_secret()) is None
    assert await store.find(secret[:-1]) is None


async def test_the_secret_itself_is_stored_nowhere(store: TokenStore, broker: Broker) -> None:
    secret = new_secret()
    await added(store, secret)
    async with broker.guarded() as redis:
        stored = {key: await redis.hgetall(key) async for key in redis.scan_iter()}
    assert len(stored) == 3, "the token, the index of ids, the layout"
    assert secret not in str(stored)


async def test_a_revoked_token_stays_revoked(store: TokenStore) -> None:
    secret = new_secret()
    token = await added(store, secret)
    revoked = await store.revoke(token.token_id, tenant="t")
    assert revoked is not None
    assert not revoked.is_valid(NOW)
    assert await added(store, secret) == revoked, "adding it again, as every start of the API does, changes nothing"
    assert await store.revoke(token.token_id, tenant="t") == revoked, "the first moment counts"


async def test_a_token_of_another_tenant_cannot_be_revoked(store: TokenStore) -> None:
    secret = new_secret()
    token = await added(store, secret)
    assert await store.revoke(token.token_id, tenant="other") is None
    assert await store.revoke("unknown", tenant="t") is None
    found = await store.find(secret)
    assert found is not None
    assert found.is_valid(NOW)


async def test_a_token_is_valid_until_it_runs_out(store: TokenStore) -> None:
    token = await added(store, new_secret(), lasts=60)
    assert token.is_valid(NOW + timedelta(seconds=59))
    assert not token.is_valid(NOW + timedelta(seconds=60))


@pytest.mark.parametrize(
    ("pattern", "service", "covers"),
    [
        ("*", "anything", True), ("web-*", "web-1", True), ("web-*", "Web-1", False), ("web", "web-1", False),
        ("web-?", "web-12", False), ("[ab]*", "beta", True),
    ],
)  # fmt: skip
async def test_a_token_covers_what_its_patterns_match(
    store: TokenStore, pattern: str, service: str, covers: bool
) -> None:
    assert (await added(store, new_secret(), "nothing", pattern)).covers(service) is covers


async def test_the_tokens_of_a_tenant_are_listed_oldest_first(store: TokenStore) -> None:
    mine = [await added(store, new_secret()) for _ in range(3)]
    await added(store, new_secret(), tenant="other")
    assert await store.all_of("t") == mine
    assert await store.all_of("nobody") == []


async def test_a_token_whose_adding_was_cut_short_can_be_listed_and_revoked_after_the_next(
    store: TokenStore, broker: Broker
) -> None:
    secret = new_secret()
    token = await added(store, secret)
    async with broker.guarded() as redis:  # as if the first add had died between its two writes
        await redis.delete(keys.token_ids())
    assert await added(store, secret) == token
    assert await store.all_of("t") == [token]
    assert await store.revoke(token.token_id, tenant="t") is not None
