"""Waking held heartbeats: a nudge says "this host has a command now" and is never the truth, only a reason to ask."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import structlog

from broker import keys
from broker.cluster import ClusterClient
from broker.connection import Broker, Client
from broker.errors import BrokerUnavailable

log = structlog.get_logger(__name__)

LOOK_AGAIN_SECONDS: Final = 0.5
"""How soon nudges follow a slot to another node."""


class Waker:
    """An event for one who waits. asyncio's takes 700 bytes, as it has room for many."""

    __slots__ = ("_is_set", "_waiting")

    def __init__(self) -> None:
        self._is_set = False
        self._waiting: asyncio.Future[None] | None = None

    def is_set(self) -> bool:
        """Whether there is nothing to wait for."""
        return self._is_set

    def set(self) -> None:
        """Wake who waits, now or next."""
        self._is_set = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def clear(self) -> None:
        """Wait again."""
        self._is_set = False

    async def wait(self) -> None:
        """Until it is set. Only one may wait."""
        if not self._is_set:
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None


class Nudges:
    """The held heartbeats of one process, by host, and the task that wakes them."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._waiters: dict[str, set[Waker]] = {}
        self._closing = False

    @property
    def closing(self) -> bool:
        """Whether the process is going down: held heartbeats answer now."""
        return self._closing

    @property
    def held(self) -> int:
        """How many heartbeats are held."""
        return sum(len(waiters) for waiters in self._waiters.values())

    @contextmanager
    def waiter(self, path: str) -> Iterator[Waker]:
        """An event that is set when this host may have a command.

        Register first, then ask the broker, then wait: a command that comes between asking and waiting is not missed.
        """
        woken = Waker()
        self.register(path, woken)
        try:
            yield woken
        finally:
            self.withdraw(path, woken)

    def register(self, path: str, woken: Waker) -> None:
        """Have a waker set when this host may have a command, until it is withdrawn."""
        self._waiters.setdefault(path, set()).add(woken)
        if self._closing:
            woken.set()

    def withdraw(self, path: str, woken: Waker) -> None:
        """Nobody waits any more."""
        waiters = self._waiters[path]
        waiters.discard(woken)
        if not waiters:
            del self._waiters[path]

    def wake(self, path: str) -> None:
        """Wake who waits for this host."""
        for woken in self._waiters.get(path, ()):
            woken.set()

    def wake_all(self) -> None:
        """Wake everybody: nudges may have been missed."""
        for path in list(self._waiters):
            self.wake(path)

    def close(self) -> None:
        """Answer every held heartbeat now, and hold no more."""
        self._closing = True
        self.wake_all()

    async def listen(self) -> None:
        """Wake held heartbeats until cancelled, across restarts of the broker."""
        channels = [keys.nudge(partition) for partition in range(self._broker.partitions)]
        while True:
            try:
                async with self._broker.guarded_blocking() as redis:
                    if self._broker.is_cluster:
                        await self._listen_to_nodes(redis, channels)
                    else:
                        await self._listen(redis, channels)
            except BrokerUnavailable as error:
                log.warning("nudges interrupted", reason=error.reason)
                await asyncio.sleep(0.5)

    async def _listen_to_nodes(self, cluster: ClusterClient, channels: Sequence[str]) -> None:
        """One listener a node: a channel is heard only at the node that owns its slot. Anew when a slot has moved."""
        owned = await cluster.nodes_of(channels)
        listeners = [
            asyncio.create_task(self._listen(cluster.client(node), mine), name=f"nudges {node.host}:{node.port}")
            for node, mine in owned.items()
        ]
        try:
            while await cluster.nodes_of(channels) == owned:
                done, _ = await asyncio.wait(listeners, timeout=LOOK_AGAIN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                for listener in done:
                    cluster.slots.doubt()
                    listener.result()
                if done:
                    return
        finally:
            for listener in listeners:
                listener.cancel()
            await asyncio.gather(*listeners, return_exceptions=True)

    async def _listen(self, redis: Client, channels: Sequence[str]) -> None:
        """Listen to one server, until a channel is taken from it."""
        pubsub = redis.pubsub()
        try:
            for channel in channels:  # one by one: together they would have to be of one slot
                await pubsub.ssubscribe(channel)
            async for message in pubsub.listen():
                if message["type"] == "smessage":
                    for path in message["data"].split():
                        self.wake(path)
                elif message["type"] == "ssubscribe" and message["data"] == len(channels):
                    # The last of our channels is on, by the server's word: ask for what was published before.
                    self.wake_all()
                elif message["type"] == "sunsubscribe":
                    return
        finally:
            await pubsub.aclose()
