"""When to beat next. Pure: randomness comes in as a number between 0 and 1."""

from datetime import timedelta
from typing import Final

DEFAULT_INTERVAL: Final = timedelta(seconds=30)
MIN_INTERVAL: Final = timedelta(seconds=1)
MAX_INTERVAL: Final = timedelta(hours=1)
MAX_WAIT: Final = timedelta(seconds=60)
"""The longest a heartbeat is held: proxies between agent and server cut idle connections soon after."""
MISSED_BEATS_UNTIL_STALE: Final = 3
RETRY_AFTER: Final = timedelta(seconds=2)
JITTER: Final = 0.1


def next_beat(interval: timedelta, *, spread: float) -> timedelta:
    """The pause until the next heartbeat: the interval, give or take a tenth, so that a fleet does not beat in step.

    Args:
        interval: what the server asked for.
        spread: a random number in [0, 1).
    """
    held = min(max(interval, MIN_INTERVAL), MAX_INTERVAL)
    return held * (1 - JITTER + 2 * JITTER * spread)


def retry_pause(attempt: int, *, cap: timedelta, spread: float, retry_after: timedelta | None = None) -> timedelta:
    """The pause before try number `attempt + 1`: doubling from one second, jittered over its upper half.

    The cap bounds the base and the jitter is taken after it, so that a fleet at the cap is still spread out. What the
    server asks for (`Retry-After`) is a floor.
    """
    base = min(timedelta(seconds=2 ** min(attempt - 1, 20)), cap)
    jittered = base * (0.5 + 0.5 * spread)
    return max(jittered, retry_after * (1 + 0.5 * spread)) if retry_after is not None else jittered


def stale_after(interval: timedelta) -> timedelta:
    """The silence after which a host no longer counts as live."""
    return MISSED_BEATS_UNTIL_STALE * interval + MAX_WAIT
