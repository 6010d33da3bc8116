"""The projector: folds the results stream into the status of each request, which people and programs read."""

import asyncio
import contextlib
from datetime import timedelta
from typing import Final

from broker.results import Change, Results
from broker.streams import Entry, GroupReader

BATCH: Final = 500
BLOCK: Final = timedelta(seconds=1)
PATIENCE: Final = timedelta(seconds=1)
IDLE: Final = timedelta(seconds=5)


class Projector:
    """Keeps the requests' status. Repeating an entry changes nothing."""

    def __init__(self, results: Results, reader: GroupReader, *, waits_for: asyncio.Event | None = None) -> None:
        self._results = results
        self._reader = reader
        self._waits_for = waits_for

    async def project(self) -> int:
        """One pass over new entries. Gives how many.

        Raises:
            BrokerUnavailable: the server cannot be reached; the entries stay pending and come again.
        """
        if self._waits_for is not None:
            # Commands come before the news of them: one server does both, and agents wait for the first.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE.total_seconds()):
                    await self._waits_for.wait()
        entries = await self._reader.read(count=BATCH, block=BLOCK)
        return await self._fold(entries)

    async def recover(self) -> int:
        """One pass over what a dead projector left. Gives how many entries."""
        return await self._fold(await self._reader.claim(idle=IDLE, count=BATCH))

    async def _fold(self, entries: list[Entry]) -> int:
        if entries:
            await self._results.project(Change.of(entry) for entry in entries)
            await self._reader.ack(entries)
        return len(entries)
