"""Token buckets in memory: what a limit costs where a round trip would cost more than the call. Pure.

A bucket is one number, the moment at which it is full again (the virtual scheduling of GCRA, ITU-T I.371): somebody who
does nothing costs nothing, and a full bucket need not be remembered.
"""

from typing import Final

from broker.quotas import Quota, Taken

MOST: Final = 100_000
"""Buckets that are remembered: beyond that the oldest is forgotten, as if it were full."""
SWEEP_EVERY: Final = 1.0
LEAST: Final = 1e-9
"""Sums of seconds are not exact: the last of a bucket must not stay in it for that."""


class Buckets:
    """A bucket for each name; all of one size. Moments are seconds of any clock that never goes back."""

    def __init__(self, quota: Quota, *, most: int = MOST) -> None:
        self.quota = quota
        self._each = quota.seconds / quota.amount
        self._most = most
        self._full_at: dict[str, float] = {}
        self._swept_at = 0.0

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, name: str, *, now: float, cost: int = 1) -> Taken:
        """Take `cost` out of a bucket, unless there is not as much in it; then nothing is taken."""
        found = self.look(name, now=now, cost=cost)
        if found.passed:
            self.passes(name, now=now, cost=cost)
        return found

    def passes(self, name: str, *, now: float, cost: int = 1) -> bool:
        """Take as `take` does, and say no more than whether it was there: for what happens thousands of times."""
        full_at = max(now, self._full_at.get(name, now)) + cost * self._each
        if full_at - now - self.quota.seconds > LEAST:
            return False
        self._set(name, full_at, now)
        return True

    def lacks(self, name: str, *, now: float, cost: int = 1) -> float | None:
        """For how many seconds `take` would take nothing; None: it would."""
        over = max(now, self._full_at.get(name, now)) + cost * self._each - now - self.quota.seconds
        return over if over > LEAST else None

    def look(self, name: str, *, now: float, cost: int = 1) -> Taken:
        """What `take` would give."""
        full_at = max(now, self._full_at.get(name, now))
        over = self.lacks(name, now=now, cost=cost)
        if over is not None:
            return Taken(passed=False, left=self._left(full_at, now), seconds=over)
        return Taken(passed=True, left=self._left(full_at + cost * self._each, now), seconds=self._each)

    def charge(self, name: str, *, now: float, cost: int = 1) -> None:
        """Take `cost` out of a bucket, be it in it or not: what is known only afterwards. At most a bucket is owed."""
        full_at = max(now, self._full_at.get(name, now)) + cost * self._each
        self._set(name, min(full_at, now + 2 * self.quota.seconds), now)

    def _left(self, full_at: float, now: float) -> int:
        return max(0, int((self.quota.seconds - (full_at - now) + LEAST) / self._each))

    def _set(self, name: str, full_at: float, now: float) -> None:
        if name not in self._full_at and len(self._full_at) >= self._most:
            if now - self._swept_at >= SWEEP_EVERY:
                self._swept_at = now
                self._full_at = {other: until for other, until in self._full_at.items() if until > now}
            while len(self._full_at) >= self._most:
                del self._full_at[next(iter(self._full_at))]
        self._full_at[name] = full_at
