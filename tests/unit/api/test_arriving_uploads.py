"""Uploads that are still coming: in a file, and no more of them than there is room for."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from api import uploads
from api.problems import Refusal
from api.uploads import Intake
from profiles.objects import SPOOLED_IN_MEMORY, Objects
from profiles.shelves import RawUploads


async def coming(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


@pytest.fixture
def intake(tmp_path: Path) -> Intake:
    nobody: Any = None  # is told of what is still coming, or asked
    return Intake(RawUploads(Objects(str(tmp_path / "store"))), uploads=nobody, commands=nobody)


def below(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*")]


@pytest.mark.parametrize("size", [0, 1, SPOOLED_IN_MEMORY, SPOOLED_IN_MEMORY + 1])
async def test_what_came_is_in_a_file_without_a_name(intake: Intake, tmp_path: Path, size: int) -> None:
    content = bytes(number % 251 for number in range(size))
    async with intake.received(coming(content[:1000], content[1000:])) as file:
        file.seek(0)
        assert file.read() == content
        assert below(tmp_path) == ["store"]
    assert file.closed


async def test_more_than_there_is_room_for_is_told_to_come_again(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MOST_SPOOLED", 100)
    for _ in range(2):
        async with intake.received(coming(b"x" * 60)):
            with pytest.raises(Refusal) as refused:
                async with intake.received(coming(b"x" * 30, b"x" * 20)):
                    pass
            assert refused.value.code == "storage_unavailable"
            async with intake.received(coming(b"x" * 40)):
                pass
