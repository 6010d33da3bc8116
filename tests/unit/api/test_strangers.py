"""Which tokens there are is learned from the broker, and looked for again only now and then."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from api import strangers
from api.limit_settings import Lane
from api.limits import Limits
from api.strangers import LEARN_EVERY_SECONDS, BoundedLookups
from broker.errors import BrokerUnavailable
from broker.limits import WindowLimits
from broker.quotas import Quota
from broker.token_store import digest_of


class Listed(BoundedLookups):
    """Tokens of which no more than their digests is known."""

    def __init__(self, *secrets: str) -> None:
        limits = Limits(WindowLimits(None), {Lane.STRANGERS: Quota(1, 60)})  # type: ignore[arg-type]  # in memory
        super().__init__(None, limits)  # type: ignore[arg-type]  # the broker is not asked
        limits.charge(Lane.STRANGERS, "here", now=0.0)
        self.secrets = secrets
        self.listed = 0
        self.is_away = False

    def knows(self, secret: str) -> bool:
        """Whether the flood that has filled the bucket of this address shuts it out."""
        self._limits.charge(Lane.STRANGERS, "here", now=asyncio.get_running_loop().time())
        return self.over(digest_of(secret), "here") is None

    async def count(self) -> int:
        if self.is_away:
            raise BrokerUnavailable("ConnectionError")
        return len(self.secrets)

    async def digests(self) -> AsyncIterator[str]:
        self.listed += 1
        for secret in self.secrets:
            yield digest_of(secret)


async def test_tokens_are_listed_again_when_there_are_more_or_fewer_or_after_a_while() -> None:
    lookups = Listed("a", "b")
    assert not lookups.knows("a")
    await lookups.learn(now=0.0)
    assert lookups.knows("a")
    assert not lookups.knows("c")
    lookups.secrets = ("a", "c")
    await lookups.learn(now=LEARN_EVERY_SECONDS - 1)
    assert not lookups.knows("c"), "a rotation"
    await lookups.learn(now=LEARN_EVERY_SECONDS)
    assert lookups.knows("c")
    lookups.secrets = ("a", "b", "c", "d")
    await lookups.learn(now=LEARN_EVERY_SECONDS + 1)
    assert lookups.knows("d")
    assert lookups.listed == 3


async def test_the_new_secret_of_a_rotation_is_known_as_soon_as_it_is_told() -> None:
    lookups = Listed("a", "b")
    await lookups.learn(now=0.0)
    assert not lookups.knows("c")
    lookups.expect(digest_of("c"))
    assert lookups.knows("c")
    assert lookups.listed == 1


async def test_of_too_many_tokens_only_some_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strangers, "MOST_KNOWN", 3)
    lookups = Listed(*map(str, range(10)))
    await lookups.learn(now=0.0)
    assert sum(lookups.knows(str(number)) for number in range(10)) == 3


async def test_what_was_good_here_does_not_make_room_for_tokens_that_nobody_has_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def found() -> str:
        return "good"

    monkeypatch.setattr(strangers, "MOST_KNOWN", 3)
    lookups = Listed(*map(str, range(10)))
    await lookups.bounded(digest_of("used"), found)
    await lookups.learn(now=0.0)
    assert lookups.knows("used")
    await lookups.bounded(digest_of("another"), found)
    await lookups.learn(now=LEARN_EVERY_SECONDS)
    assert lookups.knows("another")
    assert sum(lookups.knows(str(number)) for number in range(10)) <= 2


async def test_a_broker_that_was_away_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strangers, "LOOK_EVERY_SECONDS", 0.01)
    lookups = Listed("a")
    lookups.is_away = True
    following = asyncio.create_task(lookups.follow())
    await asyncio.sleep(0.05)
    assert not lookups.knows("a")
    lookups.is_away = False
    async with asyncio.timeout(10):
        while not lookups.knows("a"):  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)
    following.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await following
