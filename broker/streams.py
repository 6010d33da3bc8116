"""A consumer's end of some streams: read, ack, take over what a dead consumer left."""

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import structlog
from redis.exceptions import ResponseError

from broker import codec
from broker.connection import Broker
from broker.entry_ids import entry_id_of, position_of
from broker.errors import BrokerUnavailable
from broker.lag import Lag, lag_of, total

log = structlog.get_logger(__name__)

CONSUMER_FORGOTTEN_AFTER: Final = timedelta(hours=1)
FEED_WAITS: Final = timedelta(seconds=2)
FEED_PAUSES_SECONDS: Final = 0.2
LOST: Final = ("NOGROUP", "UNBLOCKED", "no such key")
"""How servers say, each in its way, that stream or group are gone."""


def consumer_name() -> str:
    """A name no other process has: a consumer that comes back under an old name would own its pending entries."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One record of a stream. `deliveries` counts how often it was handed to a consumer."""

    stream: str
    entry_id: str
    fields: Mapping[str, str]
    deliveries: int = 1


async def trim_behind_groups(broker: Broker, streams: Sequence[str], *, kept_since: float) -> int:
    """Drop what every group has finished with and that is older than a moment (seconds). Gives how many entries.

    By the slowest group, never by length: a cap would drop what somebody has not read.

    Raises:
        BrokerUnavailable: the server cannot be reached.
    """
    dropped = 0
    for stream in streams:
        first_kept = await oldest_needed(broker, stream, kept_since=kept_since)
        if first_kept is not None:
            async with broker.guarded() as redis:
                dropped += await redis.xtrim(stream, minid=first_kept, approximate=True)
    return dropped


async def oldest_needed(broker: Broker, stream: str, *, kept_since: float, group: str | None = None) -> str | None:
    """The entry id before which everything is older than a moment (seconds), and no group has anything to do.

    None where there is no such stream, or where `group` is named and the stream has no such group.

    Raises:
        BrokerUnavailable: the server cannot be reached.
    """
    async with broker.guarded() as redis:
        if not await redis.exists(stream):
            return None
        found = await redis.xinfo_groups(stream)
        if group is not None and group not in {each["name"] for each in found}:
            return None
        oldest = (codec.ms(kept_since), 0)
        for each in found:
            pending = await redis.xpending(stream, each["name"])
            position = pending["min"] if pending["pending"] else each["last-delivered-id"]
            oldest = min(oldest, position_of(position))
    return entry_id_of(oldest)


class GroupReader:
    """One consumer of one group on some streams."""

    def __init__(self, broker: Broker, streams: Sequence[str], *, group: str, consumer: str, since: str = "0") -> None:
        self.group = group
        self.consumer = consumer
        self._broker = broker
        self._streams = list(streams)
        self._since = since
        self._prepared: set[str] = set()
        self._feeds: dict[str, _Feed] = {}
        self._arrived = asyncio.Event()

    async def prepare(self) -> None:
        """Make the group on every stream, from `since` on: by default from its beginning, so that nothing is missed.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        for stream in self._streams:
            await self._prepare(stream)

    async def _prepare(self, stream: str) -> None:
        if stream in self._prepared:
            return
        async with self._broker.guarded() as redis:
            try:
                await redis.xgroup_create(stream, self.group, id=self._since, mkstream=True)
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise
        self._prepared.add(stream)

    async def read(self, *, count: int, block: timedelta) -> list[Entry]:
        """New entries, waiting up to `block` for the first.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        if self._broker.is_cluster and len(self._streams) > 1:
            return await self._read_feeds(count=count, block=block)
        return await self.read_of(self._streams, count=count, block=block)

    async def read_of(self, streams: Sequence[str], *, count: int, block: timedelta) -> list[Entry]:
        """New entries of some of the streams, all in one slot where there are slots; else as `read`.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        for stream in streams:
            await self._prepare(stream)
        async with self._broker.guarded_blocking() as redis:
            try:
                # The server bounds the wait; this bound is for a server that hangs.
                async with asyncio.timeout(block.total_seconds() + 5):
                    answer = await redis.xreadgroup(
                        self.group,
                        self.consumer,
                        dict.fromkeys(streams, ">"),
                        count=count,
                        block=int(block.total_seconds() * 1000),
                    )
            except ResponseError as error:
                self._forget_lost_group(error)
                return []
        return [Entry(stream, entry_id, fields) for stream, entries in answer or () for entry_id, fields in entries]

    async def _read_feeds(self, *, count: int, block: timedelta) -> list[Entry]:
        """One command cannot read streams of several slots: each has a feed of its own, and this takes what they have.

        A feed reads on only when what it has was taken. What it has when this process dies is pending, and is claimed.
        """
        for stream in self._streams:
            feed = self._feeds.setdefault(stream, _Feed(self, stream))
            if feed.task is not None and feed.task.done():
                ended, feed.task = feed.task, None
                ended.result()  # it only ever ends by a failure that is no broker's: the caller's to hear of
            if feed.task is None:
                feed.task = self._broker.in_background(feed.run(count, self._arrived))
        end = time.monotonic() + block.total_seconds()
        while not any(feed.entries for feed in self._feeds.values()):
            failures = [feed.failure for feed in self._feeds.values() if feed.failure is not None]
            if len(failures) == len(self._feeds):
                raise failures[0]
            try:
                async with asyncio.timeout(max(0.0, end - time.monotonic())):
                    await self._arrived.wait()
            except TimeoutError:
                return []
            self._arrived.clear()
        taken: list[Entry] = []
        # Whoever had the most to give was served first the last time: those behind it are first now.
        for feed in sorted(self._feeds.values(), key=lambda feed: feed.served_at):
            bite = feed.take(count - len(taken))
            if bite:
                feed.served_at = time.monotonic()
                taken.extend(bite)
            if len(taken) >= count:
                break
        return taken

    async def ack(self, entries: Sequence[Entry], *, delete: bool = False) -> None:
        """Say that these are done; with `delete`, nobody else needs them either.

        Raises:
            BrokerUnavailable: the server cannot be reached; they will be delivered again.
        """
        by_stream: dict[str, list[str]] = {}
        for entry in entries:
            by_stream.setdefault(entry.stream, []).append(entry.entry_id)
        async with self._broker.guarded() as redis, redis.pipeline(transaction=False) as pipe:
            for stream, ids in by_stream.items():
                pipe.xack(stream, self.group, *ids)
                if delete:
                    pipe.xdel(stream, *ids)
            await pipe.execute()

    async def claim(self, *, idle: timedelta, count: int = 100) -> list[Entry]:
        """Take over entries that another consumer got and did not ack for `idle`.

        Raises:
            BrokerUnavailable: the server cannot be reached, and nothing was claimed before.
        """
        claimed: list[Entry] = []
        away: BrokerUnavailable | None = None
        for answer in await self._claim_each(idle=idle, count=count):
            if isinstance(answer, BrokerUnavailable):
                away = answer
            elif isinstance(answer, BaseException):
                raise answer
            else:
                claimed.extend(answer)
        if away is not None and not claimed:
            raise away
        return claimed  # also when some could not be asked: what was claimed counts as handed out once more

    async def hold(self, entries: Sequence[Entry], *, idle: timedelta) -> list[Entry]:
        """Say of entries that were handed to this consumer that it still has them. Gives those that nobody took over.

        Args:
            entries: as they were handed out.
            idle: less than since when this consumer has them; what another took over later than that is left to it.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        ours: set[tuple[str, str]] = set()
        for stream in {entry.stream for entry in entries}:
            ids = [entry.entry_id for entry in entries if entry.stream == stream]
            async with self._broker.guarded() as redis:
                try:
                    held = await redis.xclaim(
                        stream, self.group, self.consumer, int(idle.total_seconds() * 1000), ids, justid=True
                    )
                except ResponseError as error:
                    self._forget_lost_group(error)
                    continue
            ours |= {(stream, entry_id) for entry_id in held}
        return [entry for entry in entries if (entry.stream, entry.entry_id) in ours]

    async def _claim_each(self, *, idle: timedelta, count: int) -> list[list[Entry] | BaseException]:
        claims = [self._claim_of(stream, idle=idle, count=count) for stream in self._streams]
        if self._broker.is_cluster:  # side by side: a node that hangs holds nobody up
            return await asyncio.gather(*claims, return_exceptions=True)
        answers: list[list[Entry] | BaseException] = []
        for claim in claims:
            if answers and isinstance(answers[-1], BrokerUnavailable):
                claim.close()  # it is the same server
                continue
            try:
                answers.append(await claim)
            except BrokerUnavailable as error:
                answers.append(error)
        return answers

    async def _claim_of(self, stream: str, *, idle: timedelta, count: int) -> list[Entry]:
        await self._prepare(stream)
        async with self._broker.guarded() as redis:
            idle_ms = int(idle.total_seconds() * 1000)
            try:
                overdue: list[dict[str, Any]] = await redis.xpending_range(
                    stream, self.group, "-", "+", count, idle=idle_ms
                )
            except ResponseError as error:
                self._forget_lost_group(error)
                return []
            if not overdue:
                return []
            deliveries = {row["message_id"]: row["times_delivered"] + 1 for row in overdue}
            entries = await redis.xclaim(stream, self.group, self.consumer, idle_ms, list(deliveries))
        return [Entry(stream, entry_id, fields, deliveries[entry_id]) for entry_id, fields in entries]

    async def lag(self, *, only_held: bool = False) -> Lag:
        """What the group has still to do; with `only_held`, what its consumers got and did not ack.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        return total(await lag_of(self._broker, self._streams, self.group, only_held=only_held))

    async def forget_dead_consumers(self) -> int:
        """Remove consumers that hold nothing and have been silent for an hour. Gives how many.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        limit = CONSUMER_FORGOTTEN_AFTER.total_seconds() * 1000
        await self.prepare()
        gone = 0
        async with self._broker.guarded() as redis:
            for stream in self._streams:
                try:
                    rows: list[dict[str, Any]] = await redis.xinfo_consumers(stream, self.group)
                except ResponseError as error:
                    self._forget_lost_group(error)
                    return gone
                for row in rows:
                    if row["pending"] == 0 and row["idle"] > limit and row["name"] != self.consumer:
                        await redis.xgroup_delconsumer(stream, self.group, row["name"])
                        gone += 1
        return gone

    def _forget_lost_group(self, error: ResponseError) -> None:
        """A server that came back empty has no groups: make them anew at the next call."""
        if not any(sign in str(error) for sign in LOST):
            raise error
        self._prepared.clear()


class _Feed:
    """One stream on a cluster: reads ahead by one batch, over a connection of its own."""

    def __init__(self, reader: GroupReader, stream: str) -> None:
        self.entries: list[Entry] = []
        self.failure: BrokerUnavailable | None = None
        self.served_at = 0.0
        self.task: asyncio.Task[None] | None = None
        self._reader = reader
        self._stream = stream
        self._emptied = asyncio.Event()

    def take(self, most: int) -> list[Entry]:
        """What was read, up to so many entries; the rest waits for the next call."""
        taken, self.entries = self.entries[:most], self.entries[most:]
        if not self.entries:
            self._emptied.set()
        return taken

    async def run(self, count: int, arrived: asyncio.Event) -> None:
        """Read until cancelled, across failovers."""
        while True:
            try:
                self.entries = await self._reader.read_of([self._stream], count=count, block=FEED_WAITS)
            except BrokerUnavailable as error:
                if self.failure is None:
                    log.warning("stream cannot be read", stream=self._stream, reason=error.reason)
                self.failure = error
                arrived.set()
                await asyncio.sleep(FEED_PAUSES_SECONDS)
                continue
            if self.failure is not None:
                log.info("stream is read again", stream=self._stream)
                self.failure = None
            if self.entries:
                self._emptied.clear()
                arrived.set()
                await self._emptied.wait()
