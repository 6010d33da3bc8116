"""The lookout: looks at what runs on the host now and then, and knows what of it the server has been told."""

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import structlog
from structlog.typing import FilteringBoundLogger

from agent.inventory import Inventory
from agent.waiting import pause

log: FilteringBoundLogger = structlog.get_logger()

LOOK_EVERY: Final = timedelta(seconds=60)
_SILENT_AFTER_REFUSAL: Final = timedelta(hours=1)


class Lookout:
    """What runs on the host, by the last look."""

    def __init__(
        self,
        look: Callable[[], Inventory],
        *,
        announce: Callable[[], None],
        stopping: asyncio.Event,
        every: timedelta = LOOK_EVERY,
    ) -> None:
        """Prepare; nothing is looked at yet.

        Args:
            look: gives what runs there; called in a thread.
            announce: called when that is something else than before.
            stopping: ends the looking.
            every: the pause between two looks.
        """
        self._look = look
        self._announce = announce
        self._stopping = stopping
        self._every = every
        self._latest: Inventory | None = None
        self._told: Inventory | None = None
        self._silent_until = 0.0
        self._has_looked = asyncio.Event()

    async def run(self) -> None:
        """Look until the agent shuts down."""
        while not self._stopping.is_set():
            self.note(await asyncio.to_thread(self._look))
            await pause(self._every, self._stopping)

    async def first_look(self, *, within: timedelta) -> None:
        """Wait until the first look is over, but no longer than that."""
        await pause(within, self._has_looked, self._stopping)

    def news(self) -> Inventory | None:
        """What the server is to be told with the next beat; None when it knows, or wants to hear none."""
        if self._latest is self._told or time.monotonic() < self._silent_until:
            return None
        return self._latest

    def told(self, inventory: Inventory) -> None:
        """The server has taken it."""
        self._told = inventory

    def forget(self) -> None:
        """The server does not know it, or no longer."""
        self._told = None

    def was_refused(self, reason: str) -> None:
        """The server refuses a beat with it: beats matter more, so that they go without for a while."""
        log.warning("the server refuses the inventory: left out for an hour", reason=reason)
        self._silent_until = time.monotonic() + _SILENT_AFTER_REFUSAL.total_seconds()

    def note(self, seen: Inventory) -> None:
        """Take what a look has shown, and announce it if it is a change."""
        self._has_looked.set()
        if seen == self._latest:
            return
        left_out_before = self._latest.left_out if self._latest is not None else 0
        if seen.left_out and not left_out_before:
            log.warning("too many processes for an inventory: some cannot be named as targets", left_out=seen.left_out)
        self._latest = seen
        log.debug("inventory", containers=len(seen.containers))
        self._announce()
