"""A consumer's end of some streams: read, ack, take over what a dead consumer left."""

import asyncio
import os
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from redis.exceptions import ResponseError

from broker.connection import Broker
from broker.lag import Lag, lag_of, total

CONSUMER_FORGOTTEN_AFTER: Final = timedelta(hours=1)
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


class GroupReader:
    """One consumer of one group on some streams."""

    def __init__(self, broker: Broker, streams: Sequence[str], *, group: str, consumer: str, since: str = "0") -> None:
        self.group = group
        self.consumer = consumer
        self._broker = broker
        self._streams = list(streams)
        self._since = since
        self._ready = False

    async def prepare(self) -> None:
        """Make the group on every stream, from `since` on: by default from its beginning, so that nothing is missed.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis:
            for stream in self._streams:
                try:
                    await redis.xgroup_create(stream, self.group, id=self._since, mkstream=True)
                except ResponseError as error:
                    if "BUSYGROUP" not in str(error):
                        raise
        self._ready = True

    async def read(self, *, count: int, block: timedelta) -> list[Entry]:
        """New entries, waiting up to `block` for the first.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        if not self._ready:
            await self.prepare()
        async with self._broker.guarded_blocking() as redis:
            try:
                # The server bounds the wait; this bound is for a server that hangs.
                async with asyncio.timeout(block.total_seconds() + 5):
                    answer = await redis.xreadgroup(
                        self.group,
                        self.consumer,
                        dict.fromkeys(self._streams, ">"),
                        count=count,
                        block=int(block.total_seconds() * 1000),
                    )
            except ResponseError as error:
                self._forget_lost_group(error)
                return []
        return [Entry(stream, entry_id, fields) for stream, entries in answer or () for entry_id, fields in entries]

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
            BrokerUnavailable: the server cannot be reached.
        """
        if not self._ready:
            await self.prepare()
        claimed: list[Entry] = []
        async with self._broker.guarded() as redis:
            for stream in self._streams:
                try:
                    overdue: list[dict[str, Any]] = await redis.xpending_range(
                        stream, self.group, "-", "+", count, idle=int(idle.total_seconds() * 1000)
                    )
                except ResponseError as error:
                    self._forget_lost_group(error)
                    return []
                if not overdue:
                    continue
                deliveries = {row["message_id"]: row["times_delivered"] + 1 for row in overdue}
                entries = await redis.xclaim(
                    stream, self.group, self.consumer, int(idle.total_seconds() * 1000), list(deliveries)
                )
                found = [Entry(stream, entry_id, fields, deliveries[entry_id]) for entry_id, fields in entries]
                claimed.extend(found)
        return claimed

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
        if not self._ready:
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
        self._ready = False
