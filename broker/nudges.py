"""Waking held heartbeats: a nudge says "this host has a command now" and is never the truth, only a reason to ask."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from broker import keys
from broker.connection import Broker, Client
from broker.errors import BrokerUnavailable

log = structlog.get_logger(__name__)


class Nudges:
    """The held heartbeats of one process, by host, and the task that wakes them."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._waiters: dict[str, set[asyncio.Event]] = {}
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
    def waiter(self, path: str) -> Iterator[asyncio.Event]:
        """An event that is set when this host may have a command.

        Register first, then ask the broker, then wait: a command that comes between asking and waiting is not missed.
        """
        woken = asyncio.Event()
        self._waiters.setdefault(path, set()).add(woken)
        if self._closing:
            woken.set()
        try:
            yield woken
        finally:
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
        while True:
            pubsub = self._broker.blocking.pubsub()
            try:
                await self._listen(pubsub)
            except BrokerUnavailable as error:
                log.warning("nudges interrupted", reason=error.reason)
                await asyncio.sleep(0.5)
            finally:
                await pubsub.aclose()

    async def _listen(self, pubsub: Client) -> None:
        async with self._broker.guarded_blocking():
            await pubsub.ssubscribe(*(keys.nudge(partition) for partition in range(self._broker.partitions)))
            async for message in pubsub.listen():
                if message["type"] == "smessage":
                    for path in message["data"].split():
                        self.wake(path)
                elif message["type"] == "ssubscribe" and message["data"] == self._broker.partitions:
                    # The last of our channels is on, by the server's word: ask for what was published before.
                    self.wake_all()
