"""Setting up goes on however often the broker comes and goes."""

import asyncio
import contextlib
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from api import app
from broker.errors import BrokerUnavailable, PartitionMismatch


class FlakyTokens:
    """A token store whose broker goes away at the first and the fourth call."""

    def __init__(self) -> None:
        self.calls = 0
        self.enough = asyncio.Event()

    async def find(self, secret: str) -> str:
        """Each is there already: nothing is to be audited."""
        return secret

    async def add(self, *_: object, **__: object) -> None:
        self.calls += 1
        if self.calls == 7:
            self.enough.set()
        if self.calls in {1, 4}:
            raise BrokerUnavailable("ConnectionError")


class Answers:
    async def wait_until_ready(self) -> None:
        return


@pytest.fixture
def parts() -> Any:
    return SimpleNamespace(broker=Answers(), tokens=FlakyTokens(), audit=None, is_set_up=False)


async def test_a_broker_that_leaves_in_the_middle_of_setting_up_is_waited_for_again(
    parts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "SET_UP_AGAIN", timedelta(milliseconds=10))
    task = asyncio.create_task(app._set_up(parts, {"admin": "a", "agent": "b"}))
    async with asyncio.timeout(10):
        await parts.tokens.enough.wait()
    assert parts.is_set_up
    assert not task.done()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_a_layout_that_does_not_fit_leaves_the_process_not_ready(parts: Any) -> None:
    async def mismatch() -> None:
        raise PartitionMismatch(stored=16, configured=8)

    parts.broker = SimpleNamespace(wait_until_ready=mismatch)
    with pytest.raises(PartitionMismatch):
        await app._set_up(parts, None)
    assert not parts.is_set_up
