"""What a server can do, tried out on scratch keys: every command of ours that a server could refuse."""

import asyncio
import hashlib
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Final

from redis.exceptions import NoScriptError, ResponseError

from broker import keys
from broker.connection import Client

TRIES: Final = 21
LASTS_SECONDS: Final = 60
HEARD_WITHIN_SECONDS: Final = 2.0
SCRIPT: Final = """
local row = cjson.decode(ARGV[1])
redis.call('HSET', KEYS[1], row.name, cjson.encode(row))
redis.call('EXPIRE', KEYS[1], ARGV[2])
redis.call('ZADD', KEYS[2], 'LT', 1, row.name)
redis.call('EXPIRE', KEYS[2], ARGV[2])
redis.call('SPUBLISH', KEYS[3], row.name)
return { row.name, redis.call('HLEN', KEYS[1]) }
"""


class Trials:
    """Tries at one server.

    Args:
        redis: a client that finds the keys.
        server: the server that they are at.
        tag: their hash tag.
    """

    def __init__(self, redis: Client, server: Client, tag: str) -> None:
        self._redis = redis
        self._server = server
        self._hash, self._ordered, self._stream, self._text = (
            keys.scratch(tag, name) for name in ("hash", "ordered", "stream", "text")
        )
        self._channel = keys.scratch(tag, "channel")
        self._took_ms: list[float] = []

    async def all(self) -> tuple[float, list[str]]:
        """How long a script takes (median, ms), and what the server refuses to do, each with its reason.

        Raises:
            redis.exceptions.RedisError: it went away meanwhile.
        """
        trials: dict[str, Callable[[], Awaitable[None]]] = {
            "Lua scripts": self._script,
            "sharded channels": self._nudge,
            "streams with groups": self._streams,
            "SET NX GET, ZRANGE BYSCORE": self._others,
        }
        refused: list[str] = []
        for name, trial in trials.items():
            try:
                await trial()
            except ResponseError as error:
                refused.append(f"{name}: {error}")
            except TimeoutError:
                refused.append(f"{name}: nothing was heard within {HEARD_WITHIN_SECONDS:.0f} s")
        for key in (self._hash, self._ordered, self._stream, self._text):
            await self._redis.delete(key)
        return (statistics.median(self._took_ms) if self._took_ms else 0.0), refused

    async def _script(self) -> None:
        sha = hashlib.sha1(SCRIPT.encode()).hexdigest()  # noqa: S324 - the name Redis gives a script
        call = (3, self._hash, self._ordered, self._channel, '{"name": "a"}', LASTS_SECONDS)
        for _ in range(TRIES):
            started = time.perf_counter()
            try:
                answer = await self._redis.evalsha(sha, *call)
            except NoScriptError:
                answer = await self._redis.eval(SCRIPT, *call)
            self._took_ms.append((time.perf_counter() - started) * 1000)
            if answer != ["a", 1]:
                raise ResponseError(f"answered {answer!r}")

    async def _nudge(self) -> None:
        pubsub = self._server.pubsub()
        try:
            async with asyncio.timeout(HEARD_WITHIN_SECONDS):
                await pubsub.ssubscribe(self._channel)
                async for message in pubsub.listen():
                    if message["type"] == "ssubscribe":
                        await self._redis.execute_command("SPUBLISH", self._channel, "hello")
                    elif message["type"] == "smessage":
                        return
        finally:
            await pubsub.aclose()

    async def _streams(self) -> None:
        redis, stream = self._redis, self._stream
        entry = await redis.xadd(stream, {"a": "b"})
        await redis.expire(stream, LASTS_SECONDS)
        await redis.xgroup_create(stream, "g", id="0")
        if not await redis.xreadgroup("g", "one", {stream: ">"}, count=1):
            raise ResponseError("the group was not given its entry")
        if not await redis.xpending_range(stream, "g", "-", "+", 1, idle=0):
            raise ResponseError("the entry is not pending")
        if not (await redis.xautoclaim(stream, "g", "two", min_idle_time=0))[1]:
            raise ResponseError("the entry was not claimed")
        await redis.xack(stream, "g", entry)
        await redis.xtrim(stream, minid=entry, approximate=True)

    async def _others(self) -> None:
        if await self._redis.set(self._text, "1", nx=True, get=True, ex=LASTS_SECONDS) is not None:
            raise ResponseError("gave what was not there")
        await self._redis.zrange(self._ordered, 0, "+inf", byscore=True)
