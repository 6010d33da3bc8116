"""Long work on the loop that answers heartbeats: it lets them have their turn by time, whatever a step of it costs."""

import asyncio
import time
from typing import Final

LONGEST_SECONDS: Final = 0.002
"""Of work without a break. A beat costs a tenth of that; so one that comes meanwhile hardly waits."""


class Breath:
    """One piece of work, and since when it has the loop for itself."""

    def __init__(self, *, longest: float = LONGEST_SECONDS) -> None:
        self._longest = longest
        self._since = time.perf_counter()

    async def take(self) -> None:
        """Let others have their turn, if it is time."""
        if time.perf_counter() - self._since >= self._longest:
            await asyncio.sleep(0)
            self._since = time.perf_counter()
