"""How long a token is believed without asking again."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from api import auth
from api.auth import REMEMBERED_SECONDS, Authenticator
from api.held import HeldHeartbeats, Hold
from api.problems import Refusal
from api.remembered import Known
from api.rights import require, require_every_service, require_service
from broker.errors import BrokerUnavailable
from broker.token_store import Token, TokenKind, digest_of

A_TOKEN = Token(
    "t-1", TokenKind.AGENT, "default", ("web-*",), datetime.now(UTC), digest=digest_of("pcs_good")
)  # fmt: skip


class FakeStore:
    """A store that counts how often it is asked."""

    def __init__(self) -> None:
        self.tokens: dict[str, Token] = {"pcs_good": A_TOKEN}
        self.asked = 0
        self.away = False
        self.used: dict[str, float] = {}

    async def find(self, secret: str) -> Token | None:
        self.asked += 1
        return await self.with_digest(digest_of(secret))

    async def with_digest(self, digest: str) -> Token | None:
        if self.away:
            raise BrokerUnavailable("ConnectionError")
        return next((token for secret, token in self.tokens.items() if digest_of(secret) == digest), None)

    async def note_used(self, token_ids: dict[str, float]) -> None:
        if self.away:
            raise BrokerUnavailable("ConnectionError")
        self.used |= token_ids


class FakeChanges:
    """Changes of tokens that a test tells of by hand."""

    def __init__(self) -> None:
        self.silence = 0.0
        self.tell: Callable[[Collection[str] | None], None]
        self.is_followed = asyncio.Event()

    async def follow(self, heard: Callable[[Collection[str] | None], None]) -> None:
        self.tell = heard
        self.is_followed.set()
        await asyncio.Event().wait()


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    moment = [1_000.0]
    monkeypatch.setattr("api.auth.time", SimpleNamespace(monotonic=lambda: moment[0], time=time.time))
    return moment


def calling(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def token_by(found: Authenticator, header: bytes) -> Token | None:
    known = found.recall(header)
    return known.token if known is not None else None


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
    monkeypatch.setattr(auth, "REMEMBERED_UNKNOWN", 10)
    found = authenticator(store)
    for _ in range(3):
        with pytest.raises(Refusal):
            await found.identify(calling("pcs_guess"))
    assert store.asked == 1
    for number in range(50):
        with pytest.raises(Refusal):
            await found.identify(calling(f"pcs_guess{number}"))
    assert len(found._unknown) == 10


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
    assert token_by(found, b"Bearer pcs_good") is A_TOKEN
    assert digest_of("pcs_good") in repr(vars(found)), "what is kept shows"
    assert "pcs_good" not in repr(vars(found))


async def test_a_secret_beyond_all_measure_is_not_even_looked_up(store: FakeStore) -> None:
    with pytest.raises(Refusal):
        await authenticator(store).identify(calling("x" * 513))
    assert store.asked == 0


# --- while changes are heard ------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def listening(store: Any) -> AsyncIterator[tuple[Authenticator, FakeChanges]]:
    """An authenticator that hears of changes."""
    changes: Any = FakeChanges()
    found = Authenticator(store, changes)
    task = asyncio.create_task(found.follow_changes())
    await changes.is_followed.wait()
    try:
        yield found, changes
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_while_changes_are_heard_a_token_is_remembered_for_long(store: FakeStore, clock: list[float]) -> None:
    async with listening(store) as (found, changes):
        await found.identify(calling("pcs_good"))
        clock[0] += 10 * REMEMBERED_SECONDS
        await found.identify(calling("pcs_good"))
        assert store.asked == 1
        changes.silence = 4.0
        await found.identify(calling("pcs_good"))
        assert store.asked == 2, "nobody listens any more: it is asked for as before"


@pytest.mark.parametrize("told", [{"t-1"}, None])
async def test_a_change_that_is_heard_is_known_at_once(
    store: FakeStore, clock: list[float], told: set[str] | None
) -> None:
    async with listening(store) as (found, changes):
        await found.identify(calling("pcs_good"))
        store.tokens["pcs_good"] = replace(A_TOKEN, revoked_at=datetime.now(UTC))
        changes.tell({"t-2"})
        await found.identify(calling("pcs_good"))
        changes.tell(told)
        with pytest.raises(Refusal):
            await found.identify(calling("pcs_good"))


async def test_an_answer_that_a_change_overtook_is_not_remembered(store: FakeStore, clock: list[float]) -> None:
    async with listening(store) as (found, changes):

        async def slowly(secret: str) -> Token | None:
            changes.tell({"t-1"})
            return A_TOKEN

        asking, store.find = store.find, slowly  # type: ignore[method-assign]  # for this one answer
        await found.identify(calling("pcs_good"))
        store.find = asking  # type: ignore[method-assign]  # as it was
        await found.identify(calling("pcs_good"))
        assert store.asked == 1


@pytest.mark.parametrize("told", [{"t-1"}, None])
async def test_what_a_header_is_recalled_by_is_forgotten_with_the_token(
    store: FakeStore, clock: list[float], told: set[str] | None
) -> None:
    async with listening(store) as (found, changes):
        await found.identify(calling("pcs_good"))
        clock[0] += 10 * REMEMBERED_SECONDS
        assert token_by(found, b"Bearer pcs_good") is A_TOKEN
        assert token_by(found, b"bearer  pcs_good ") is A_TOKEN
        changes.tell({"t-2"})
        assert token_by(found, b"Bearer pcs_good") is A_TOKEN
        changes.tell(told)
        assert found.recall(b"Bearer pcs_good") is None, "whoever asks finds out"
        await found.identify(calling("pcs_good"))
        changes.silence = 4.0
        clock[0] += REMEMBERED_SECONDS + 0.1
        assert found.recall(b"Bearer pcs_good") is None, "nobody listens any more"


async def test_an_unknown_token_is_recalled_as_such_for_a_while(store: FakeStore, clock: list[float]) -> None:
    found = authenticator(store)
    assert found.recall(b"Bearer pcs_guess") is None
    with pytest.raises(Refusal):
        await found.identify(calling("pcs_guess"))
    assert found.recall(b"Bearer pcs_guess") == Known(clock[0], None)
    clock[0] += REMEMBERED_SECONDS + 0.1
    assert found.recall(b"Bearer pcs_guess") is None


async def test_an_expired_token_is_recalled_as_none_at_once(store: FakeStore) -> None:
    found = authenticator(store)
    store.tokens["pcs_good"] = replace(A_TOKEN, expires_at=datetime.now(UTC) + timedelta(seconds=0.2))
    await found.identify(calling("pcs_good"))
    await asyncio.sleep(0.3)
    known = found.recall(b"Bearer pcs_good")
    assert known is not None
    assert known.token is None


@pytest.mark.parametrize(
    "header",
    [b"", b"Bearer", b"Bearer ", b"Basic pcs_good", b"pcs_good", b"Bearer pcs_g\xf6od", b"Bearer " + b"x" * 513],
)
async def test_an_odd_header_recalls_nobody(store: FakeStore, header: bytes) -> None:
    found = authenticator(store)
    await found.identify(calling("pcs_good"))
    assert found.recall(header) is None


async def test_of_those_who_ask_at_the_same_time_one_asks_unless_a_change_was_heard_meanwhile(store: FakeStore) -> None:
    async with listening(store) as (found, changes):
        answered, find = asyncio.Event(), store.find

        async def slowly(secret: str) -> Token | None:
            token = await find(secret)
            await answered.wait()
            return token

        store.find = slowly  # type: ignore[method-assign]  # so that others come meanwhile
        first = [asyncio.create_task(found.identify(calling("pcs_good"))) for _ in range(3)]
        await asyncio.sleep(0.01)
        assert store.asked == 1
        store.tokens["pcs_good"] = replace(A_TOKEN, revoked_at=datetime.now(UTC))
        changes.tell({"t-1"})
        late = asyncio.create_task(found.identify(calling("pcs_good")))
        await asyncio.sleep(0.01)
        answered.set()
        assert await asyncio.gather(*first) == [A_TOKEN] * 3
        with pytest.raises(Refusal):
            await late
        assert store.asked == 2


# --- held heartbeats --------------------------------------------------------------------------------------------------


def held_by(secret: str) -> Hold:
    return Hold({"type": "http", "headers": [(b"authorization", f"Bearer {secret}".encode())]})


async def test_held_heartbeats_are_woken_when_their_token_is_revoked_and_no_others(store: FakeStore) -> None:
    store.tokens["pcs_other"] = replace(A_TOKEN, token_id="t-2")
    async with listening(store) as (found, changes):
        parts: Any = SimpleNamespace(authenticator=found)
        beats, holds = HeldHeartbeats(), [held_by("pcs_good"), held_by("pcs_good"), held_by("pcs_other")]
        for hold in holds:
            beats.add(hold)
        for _ in range(3):
            await beats.look(parts)
        assert store.asked == 2, "once for each caller"
        store.tokens["pcs_good"] = replace(A_TOKEN, revoked_at=datetime.now(UTC))
        changes.tell({"t-1"})
        await beats.look(parts)
        assert [hold.woken.is_set() for hold in holds] == [True, True, False]


async def test_the_use_of_a_token_is_told_and_kept_until_it_is(store: FakeStore) -> None:
    found = authenticator(store)
    await found.identify(calling("pcs_good"))
    store.away = True
    with pytest.raises(BrokerUnavailable):
        await found.tell_use()
    store.away = False
    await found.tell_use()
    assert set(store.used) == {"t-1"}


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
