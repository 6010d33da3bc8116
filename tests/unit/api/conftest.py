"""What tests of the door share."""

from collections.abc import AsyncIterator

import pytest

from api.doorway import Doorway
from tests.support.doors import Site, opened


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with opened(has_door=True) as one:
        yield one


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """One for each call that a parser has begun to read."""
    begun: list[bool] = []
    begin = Doorway.on_message_begin

    def noted(connection: Doorway) -> None:
        begun.append(True)
        begin(connection)

    monkeypatch.setattr(Doorway, "on_message_begin", noted)
    return begun
