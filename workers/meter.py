"""What a role measures of itself: how many passes and items, how long the last pass took. Pure."""

from collections import deque
from typing import Any, Final

OVER_SECONDS: Final = 60.0


class Meter:
    """One instance's figures. Moments are seconds of any clock that never goes back."""

    def __init__(self, *, started: float) -> None:
        self._started = started
        self._passes = 0
        self._items = 0
        self._took = 0.0
        self._recent: deque[tuple[int, int]] = deque()

    def note(self, items: int, *, took: float, now: float) -> None:
        """A pass has ended: what it worked off, and its seconds, the wait for work among them."""
        self._passes += 1
        self._items += items
        self._took = took
        if items:
            second = int(now)
            if self._recent and self._recent[-1][0] == second:
                items += self._recent.pop()[1]
            self._recent.append((second, items))

    def facts(self, *, now: float) -> dict[str, Any]:
        """Totals since the start; the rate is that of the last minute, or of the whole life where that is shorter."""
        while self._recent and self._recent[0][0] <= now - OVER_SECONDS:
            self._recent.popleft()
        over = min(OVER_SECONDS, max(now - self._started, 1.0))
        return {
            "passes": self._passes,
            "items": self._items,
            "items_per_second": round(sum(items for _, items in self._recent) / over, 3),
            "last_pass_seconds": round(self._took, 4),
        }
