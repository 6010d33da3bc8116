"""Tokens: valid until they are revoked or run out, and kept only as a digest."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from broker import keys, token_store
from broker.connection import Broker
from broker.token_changes import TokenChanges
from broker.token_store import PREFIX, Token, TokenKind, TokenStore, digest_of, member_of, new_secret
from tests.support.servers import everything_in

NOW = datetime(2027, 1, 8, 12, tzinfo=UTC)


@pytest.fixture
def store(broker: Broker) -> TokenStore:
    return TokenStore(broker)


async def added(store: TokenStore, secret: str, *services: str, tenant: str = "t", lasts: int | None = None) -> Token:
    expires_at = NOW + timedelta(seconds=lasts) if lasts is not None else None
    return await store.add(
        secret, kind=TokenKind.AGENT, tenant=tenant, services=services or ("*",), expires_at=expires_at
    )


async def some_added(store: TokenStore, count: int) -> list[Token]:
    """One after the other, each in a millisecond of its own: those of one stand in the order of their ids."""
    tokens = []
    for _ in range(count):
        tokens.append(await added(store, new_secret()))
        await asyncio.sleep(0.002)
    return tokens


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
    stored = everything_in(broker.settings)
    assert len(stored) == 4, "the token, the index of ids, the list of its tenant, the layout"
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
    mine = await some_added(store, 3)
    await added(store, new_secret(), tenant="other")
    assert [token async for token in store.all_of("t")] == mine
    assert [token async for token in store.all_of("t", after=member_of(mine[0]))] == mine[1:]
    assert [token async for token in store.all_of("t", newest_first=True)] == mine[::-1]
    assert [token async for token in store.all_of("t", after=member_of(mine[2]), newest_first=True)] == mine[1::-1]
    assert [token async for token in store.all_of("nobody")] == []


async def test_the_digests_of_all_tokens_come_whole(store: TokenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_store, "PAGE", 3)
    assert (await store.count(), [each async for each in store.digests()]) == (0, [])
    secrets = [new_secret() for _ in range(600)]  # so many that the server keeps them in a table, and gives it in pages
    for number, secret in enumerate(secrets):
        await added(store, secret, tenant=f"t{number % 2}")
    assert await store.count() == 600
    assert {each async for each in store.digests()} == {token_store.digest_of(secret) for secret in secrets}


async def test_a_list_of_many_tokens_comes_whole(store: TokenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_store, "PAGE", 2)
    mine = await some_added(store, 5)
    assert [token async for token in store.all_of("t")] == mine
    assert [token async for token in store.all_of("t", newest_first=True)] == mine[::-1]


async def test_a_token_whose_adding_was_cut_short_can_be_listed_and_revoked_after_the_next(
    store: TokenStore, broker: Broker
) -> None:
    secret = new_secret()
    token = await added(store, secret)
    async with broker.guarded() as redis:  # as if the first add had died between its two writes
        await redis.delete(keys.token_ids())
    assert await added(store, secret) == token
    assert [token async for token in store.all_of("t")] == [token]
    assert await store.revoke(token.token_id, tenant="t") is not None


# --- rotation ---------------------------------------------------------------------------------------------------------


async def rotated(store: TokenStore, token: Token, *, overlap: int = 60) -> tuple[Token, str]:
    """A token by its new secret, and that secret."""
    secret = new_secret()
    after = await store.rotate(token, secret, overlap=timedelta(seconds=overlap))
    assert after is not None
    return after, secret


async def holds(store: TokenStore, secret: str, *, later: int = 0) -> bool:
    """Whether a secret is good, now or some seconds later."""
    token = await store.find(secret)
    return token is not None and token.is_valid(datetime.now(UTC) + timedelta(seconds=later))


async def test_a_rotated_token_has_two_secrets_for_the_overlap_and_one_id(store: TokenStore) -> None:
    first = new_secret()
    token = await added(store, first, "web-*")
    after, second = await rotated(store, token, overlap=60)
    assert (after.token_id, after.services, after.created_at) == (token.token_id, token.services, token.created_at)
    assert await holds(store, first)
    assert not await holds(store, first, later=61)
    assert await holds(store, second, later=61)
    assert after.previous_until is not None
    assert (await store.with_id(token.token_id)) == after
    assert [each async for each in store.all_of("t")] == [after], "one token, listed once"


async def test_without_overlap_the_old_secret_ends_at_once(store: TokenStore) -> None:
    first = new_secret()
    _, second = await rotated(store, await added(store, first), overlap=0)
    assert not await holds(store, first)
    assert await holds(store, second)


async def test_there_are_never_more_than_two_secrets(store: TokenStore) -> None:
    secrets = [new_secret()]
    token = await added(store, secrets[0])
    for _ in range(3):
        token, secret = await rotated(store, token)
        secrets.append(secret)
    assert [await holds(store, secret) for secret in secrets] == [False, False, True, True]


async def test_revoking_a_rotated_token_ends_both_secrets(store: TokenStore) -> None:
    first = new_secret()
    token = await added(store, first)
    _, second = await rotated(store, token)
    revoked = await store.revoke(token.token_id, tenant="t")
    assert revoked is not None
    assert revoked.revoked_at is not None
    assert [await holds(store, secret) for secret in (first, second)] == [False, False]


async def test_of_two_who_rotate_at_once_one_is_told_so(store: TokenStore) -> None:
    token = await added(store, new_secret())
    await rotated(store, token)
    assert await store.rotate(token, new_secret(), overlap=timedelta(0)) is None
    await store.revoke(token.token_id, tenant="t")
    revoked = await store.with_id(token.token_id)
    assert revoked is not None
    assert await store.rotate(revoked, new_secret(), overlap=timedelta(0)) is None


async def test_adding_a_secret_that_was_rotated_away_does_not_bring_it_back(store: TokenStore) -> None:
    """As every start of the API does with the first tokens of its state directory."""
    first = new_secret()
    token = await added(store, first)
    after, _ = await rotated(store, token, overlap=0)
    await added(store, first)
    assert not await holds(store, first)
    assert await store.with_id(token.token_id) == after


async def test_a_rotation_may_give_the_token_a_new_end(store: TokenStore) -> None:
    token = await added(store, new_secret(), lasts=60)
    after = await store.rotate(token, new_secret(), overlap=timedelta(0), expires_at=NOW + timedelta(days=1))
    assert after is not None
    assert after.expires_at == NOW + timedelta(days=1)


# --- what others hear -------------------------------------------------------------------------------------------------


async def test_changes_are_heard_by_whoever_looks(store: TokenStore, broker: Broker) -> None:
    heard: list[object] = []
    changes = TokenChanges(broker)
    await changes.look(heard.append)
    assert heard == [None], "at first, anything may have changed"
    one, two = await added(store, new_secret()), await added(store, new_secret())
    await changes.look(heard.append)
    assert heard == [None], "a new token is no change of any"
    await rotated(store, one)
    await store.revoke(two.token_id, tenant="t")
    await changes.look(heard.append)
    assert heard[1:] == [{one.token_id, two.token_id}]
    assert changes.silence < 5


async def test_the_new_secret_of_a_rotation_is_told_by_its_digest(store: TokenStore, broker: Broker) -> None:
    told: list[str] = []
    changes = TokenChanges(broker, rotated=told.append)
    token, other, after = await added(store, new_secret()), await added(store, new_secret()), new_secret()
    await changes.look(lambda _: None)
    assert await store.rotate(token, after, overlap=timedelta(0)) is not None
    await store.revoke(other.token_id, tenant="t")
    await changes.look(lambda _: None)
    assert told == [digest_of(after)]


async def test_the_last_use_is_kept_by_id(store: TokenStore) -> None:
    one, two = await added(store, new_secret()), await added(store, new_secret())
    await store.note_used({one.token_id: NOW.timestamp()})
    assert await store.last_used([two.token_id, one.token_id]) == [None, NOW]
    assert await store.last_used([]) == []
