"""What the tests of the agent's command line share."""

from typing import Any

import pytest

from agent import cli


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The settings that the command line led to, instead of a running agent."""
    settings: list[Any] = []

    def take(given: Any) -> int:
        settings.append(given)
        return 0

    monkeypatch.setattr(cli, "_serve", take)
    monkeypatch.setattr(cli, "_profile", take)
    return settings
