"""Which uploaded profiles are stored and not indexed yet: a stream in each partition, read by a group."""

import hashlib
from datetime import timedelta
from typing import Final

from broker import keys
from broker.connection import Broker
from broker.lag import Lag
from broker.streams import Entry, GroupReader
from protocol.names import HostKey

INDEXERS: Final = "indexers"
PUSHERS: Final = "pushers"
REMEMBERED: Final = timedelta(days=1)
MOST_PUSHES: Final = 10_000
"""That wait in one partition, for a sink that is away."""
AT_ONCE: Final = timedelta(milliseconds=1)


class Uploads:
    """Between whoever stores an upload and whoever indexes it. An entry may come twice: indexing may be repeated."""

    _stream = staticmethod(keys.uploads)
    _group = INDEXERS

    def __init__(self, broker: Broker, consumer: str = "") -> None:
        self._broker = broker
        streams = [self._stream(number) for number in range(broker.partitions)]
        self._reader = GroupReader(broker, streams, group=self._group, consumer=consumer)

    async def announce(self, host: HostKey, path: str) -> None:
        """Say that an upload of a host is stored under a path.

        Raises:
            BrokerUnavailable: the server cannot be reached; the upload is to be refused, and comes again.
        """
        stream = self._stream(keys.place(host, self._broker.partitions).partition)
        async with self._broker.guarded() as redis:
            await redis.xadd(stream, {"path": path})

    async def take(self, *, idle: timedelta, most: int) -> list[Entry]:
        """Uploads to index: what others took and did not finish for `idle`, and new ones.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        overdue = await self._reader.claim(idle=idle, count=most)
        return overdue or await self._reader.read(count=most, block=AT_ONCE)

    async def hold(self, entries: list[Entry], *, idle: timedelta) -> list[Entry]:
        """Say that these are still to be indexed by who took them, `idle` ago or earlier. Gives those nobody took over.

        Raises:
            BrokerUnavailable: the server cannot be reached; they will come again.
        """
        return await self._reader.hold(entries, idle=idle)

    async def done(self, entries: list[Entry]) -> None:
        """Say that these are indexed.

        Raises:
            BrokerUnavailable: the server cannot be reached; they will come again.
        """
        await self._reader.ack(entries, delete=True)

    async def lag(self) -> Lag:
        """What is not indexed yet.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        return await self._reader.lag()


class Pushes(Uploads):
    """Between whoever indexes a profile and whoever pushes it to a sink. An entry names both."""

    _stream = staticmethod(keys.pushes)
    _group = PUSHERS

    async def ask(self, host: HostKey, path: str, sink: str) -> None:
        """Have a host's profile pushed to a sink, once a day; of very many that wait the oldest are given up.

        A profile that is sent again is indexed again, and who adds up what is pushed would count it twice. That it was
        asked for is noted last: a crash before that asks again.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        partition = keys.place(host, self._broker.partitions).partition
        noted = keys.pushed(partition, hashlib.sha256(f"{sink} {path}".encode()).hexdigest()[:32])
        async with self._broker.guarded() as redis:
            if await redis.exists(noted):
                return
            fields = {"path": path, "sink": sink}
            await redis.xadd(self._stream(partition), fields, maxlen=MOST_PUSHES, approximate=True)
            await redis.set(noted, "1", ex=REMEMBERED)
