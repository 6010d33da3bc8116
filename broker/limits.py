"""How often somebody did something lately, counted in the broker: one count for all API processes together.

The counting is that of the `limits` library, a sliding window made of two counters. Its own storage for Redis would
open connections of its own, repeat commands and know no cluster as ours: so its scripts run on our connection, and a
check and what it has left over are one round trip.
"""

import hashlib
import math
import time
from typing import Any, Final, NamedTuple

from limits import RateLimitItemPerSecond
from limits.aio.storage import Storage
from limits.aio.storage.base import SlidingWindowCounterSupport
from limits.aio.storage.redis.bridge import RedisBridge
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from broker import keys
from broker.connection import Broker, Call, RedisError, Script
from broker.errors import BrokerError
from broker.quotas import Quota, Taken


def _script(name: str, text: bytes) -> Script:
    return Script(name, text.decode(), hashlib.sha1(text).hexdigest())  # noqa: S324 - the name Redis gives a script


TAKE: Final = _script("acquire_sliding_window", RedisBridge.SCRIPT_ACQUIRE_SLIDING_WINDOW)
LOOK: Final = _script("sliding_window", RedisBridge.SCRIPT_SLIDING_WINDOW)


A_MOMENT: Final = 0.001
"""The server's clock for keys counts milliseconds: at the very moment there may be no room yet."""


class Window(NamedTuple):
    """The two counters and what is left of their lives, in seconds."""

    before: int
    before_left: float
    now: int
    now_left: float


def seconds_until_room(window: Window, quota: Quota, cost: int = 1) -> float:
    """How long nobody may take anything until `cost` fits; infinity where it never will.

    The library's script lets something pass while floor(before * before_left / seconds) + now + cost <= amount.
    """
    room = quota.amount - cost
    if room < 0:
        return math.inf

    def fading(count: int, left: float, most: int) -> float:
        """Until a count that fades within `left` seconds has less than `most + 1` of it left."""
        return max(0.0, left - (most + 1) * quota.seconds / count + A_MOMENT) if count else 0.0

    if window.now <= room:
        return fading(window.before, window.before_left, room - window.now)
    return window.now_left + fading(window.now, quota.seconds, room)


class BrokerStorage(Storage, SlidingWindowCounterSupport):
    """Counters of the library on our connection. Both of a window lie in one slot."""

    STORAGE_SCHEME = None

    def __init__(self, broker: Broker) -> None:
        super().__init__()
        self._broker = broker
        self._seen: dict[str, Window] = {}

    @property
    def base_exceptions(self) -> type[Exception] | tuple[type[Exception], ...]:
        """What it fails with."""
        return (BrokerError, RedisError)

    async def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Take something out of a window, unless it would be too much; and look at the window, in the same round trip.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        both = [keys.window_before(key), keys.window(key)]
        calls = [Call(TAKE, both, [limit, expiry, amount]), Call(LOOK, both, [expiry])]
        took, looked = await self._broker.run_all(calls)
        for answer in (took, looked):
            if isinstance(answer, Exception):
                raise BrokerError(str(answer)) from answer
        self._seen[key] = _read(looked, expiry)
        return bool(took)

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """The window as it was seen when something was taken out of it last; asked for where nothing was."""
        window = self._seen.pop(key, None)
        if window is None:
            both = [keys.window_before(key), keys.window(key)]
            window = _read(await self._broker.run(Call(LOOK, both, [expiry])), expiry)
        return window

    async def clear_sliding_window(self, key: str, expiry: int) -> None:  # noqa: ARG002 - the library's signature
        """Forget a window."""
        await self.clear(key)

    async def clear(self, key: str) -> None:
        """Forget what is counted under a key."""
        async with self._broker.guarded() as redis:
            await redis.delete(keys.window_before(key), keys.window(key))

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count in a window that does not slide."""
        async with self._broker.guarded() as redis, redis.pipeline(transaction=True) as pipe:
            pipe.incrby(keys.window(key), amount)
            pipe.expire(keys.window(key), expiry, nx=True)
            counted: int = (await pipe.execute())[0]
        return counted

    async def get(self, key: str) -> int:
        """What is counted in a window."""
        async with self._broker.guarded() as redis:
            return int(await redis.get(keys.window(key)) or 0)

    async def get_expiry(self, key: str) -> float:
        """When a window ends, in seconds since the epoch."""
        async with self._broker.guarded() as redis:
            left: int = await redis.ttl(keys.window(key))
        return time.time() + max(left, 0)

    async def check(self) -> bool:
        """Whether the server answers.

        Raises:
            BrokerUnavailable: it does not.
        """
        await self._broker.ping()
        return True

    async def reset(self) -> int | None:
        """Nothing: every window goes by itself."""
        return None


def _read(answer: Any, expiry: int) -> Window:
    before, before_left, now, now_left = (float(part or 0) for part in answer)
    # The counter of now lives for two windows: in the second of them it is the one before.
    return Window(int(before), max(0.0, before_left) / 1000, int(now), max(0.0, now_left / 1000 - expiry))


class WindowLimits:
    """Counts what somebody does in a lane, for all processes."""

    def __init__(self, broker: Broker) -> None:
        self._storage = BrokerStorage(broker)
        self._limiter = SlidingWindowCounterRateLimiter(self._storage)

    async def take(self, lane: str, who: str, quota: Quota, *, cost: int = 1) -> Taken:
        """Count `cost` things that somebody does in a lane, unless they are too many; then none is counted.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        item = RateLimitItemPerSecond(quota.amount, quota.seconds, namespace=lane)
        passed = await self._limiter.hit(item, who, cost=cost)
        window = Window(*await self._storage.get_sliding_window(item.key_for(who), quota.seconds))
        shares = window.before * window.before_left / quota.seconds
        left = max(0, quota.amount - math.floor(shares) - window.now)
        return Taken(passed, left, seconds_until_room(window, quota, cost if not passed else left + 1))
