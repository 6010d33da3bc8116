"""How far a consumer group is behind on its streams: entries, and the age of the oldest of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from broker import codec, keys
from broker.connection import Broker

MOST_COUNTED: Final = 1_000
"""Where the server has lost count (entries were deleted in between), we count this far and no further."""


@dataclass(frozen=True, slots=True)
class Lag:
    """What is still to do, on one stream or on several. `oldest_ms`: since when the oldest of it waits."""

    behind: int = 0
    oldest_ms: int | None = None

    def age(self, *, now: float) -> float:
        """Seconds since when the oldest waits; 0 where there is none."""
        return max(0.0, now - self.oldest_ms / 1000) if self.oldest_ms is not None else 0.0

    def __add__(self, other: "Lag") -> "Lag":
        return total([self, other])


def total(lags: Iterable[Lag]) -> Lag:
    """Several lags together."""
    each = list(lags)
    oldest = [lag.oldest_ms for lag in each if lag.oldest_ms is not None]
    return Lag(sum(lag.behind for lag in each), min(oldest, default=None))


async def lag_of(broker: Broker, streams: Sequence[str], group: str, *, only_held: bool = False) -> list[Lag]:
    """The lag of a group on each of these streams: what it has not read, and what it has read and not acked.

    A stream that is not there has none. Where the group is not there, everything is behind.

    Args:
        broker: the connection.
        streams: their keys.
        group: its name.
        only_held: count only what was read and not acked.

    Raises:
        BrokerUnavailable: the server cannot be reached.
    """
    async with broker.guarded() as redis, redis.pipeline(transaction=False) as pipe:
        for stream in streams:
            pipe.xinfo_groups(stream)
        answers: list[Any] = await pipe.execute(raise_on_error=False)
    rows = [_row(answer, group) for answer in answers]
    busy = [number for number, row in enumerate(rows) if row["pending"] or (row["lag"] != 0 and not only_held)]
    async with broker.guarded() as redis, redis.pipeline(transaction=False) as pipe:
        for number in busy:
            row, stream = rows[number], streams[number]
            pipe.xrange(stream, f"({row['last-delivered-id']}", "+", count=MOST_COUNTED if row["lag"] is None else 1)
            pipe.xpending(stream, group)
        looks: list[Any] = await pipe.execute(raise_on_error=False)
    lags = [Lag()] * len(streams)
    for number, unread, held in zip(busy, looks[::2], looks[1::2], strict=True):
        lags[number] = _lag(rows[number], [] if only_held else _entries(unread), held)
    return lags


def _row(answer: Any, group: str) -> dict[str, Any]:
    """What the server says of the group; a stream that is not there is an error, and lags nothing."""
    if isinstance(answer, Exception):
        return {"pending": 0, "lag": 0, "last-delivered-id": "0-0"}
    found: dict[str, Any]
    for found in answer:
        if found["name"] == group:
            return found
    return {"pending": 0, "lag": None, "last-delivered-id": "0-0"}


def _entries(answer: Any) -> list[Any]:
    return [] if isinstance(answer, Exception) else list(answer)


def _lag(row: dict[str, Any], unread: list[Any], held: Any) -> Lag:
    oldest = [unread[0][0]] if unread else []
    if isinstance(held, dict) and held["min"]:
        oldest.append(held["min"])
    pending = held["pending"] if isinstance(held, dict) else 0
    new = len(unread) if row["lag"] is None else row["lag"] if unread else 0
    return Lag(pending + new, min((int(entry_id.partition("-")[0]) for entry_id in oldest), default=None))


async def unsent(broker: Broker, request_ids: Iterable[str]) -> Lag:
    """The hosts of these requests that were given them and may not have them yet.

    Raises:
        BrokerUnavailable: the server cannot be reached.
    """
    async with broker.guarded() as redis, redis.pipeline(transaction=False) as pipe:
        for request_id in request_ids:
            pipe.hlen(keys.unsent(request_id))
        return Lag(sum(await pipe.execute()))


async def due_firings(broker: Broker, *, now: float) -> Lag:
    """The firings of schedules whose moment has come and that are not settled.

    Raises:
        BrokerUnavailable: the server cannot be reached.
    """
    async with broker.guarded() as redis:
        due: list[tuple[str, float]] = await redis.zrange(
            keys.schedules_due(), "-inf", now, byscore=True, withscores=True
        )
    return Lag(len(due), codec.ms(due[0][1]) if due else None)


async def overdue(broker: Broker, *, now: float) -> Lag:
    """The hosts whose next deadline has come and that nobody was rung for yet.

    Raises:
        BrokerUnavailable: the server cannot be reached.
    """
    async with broker.guarded() as redis, redis.pipeline(transaction=False) as pipe:
        for partition in range(broker.partitions):
            pipe.zcount(keys.deadlines(partition), "-inf", codec.ms(now))
            pipe.zrange(keys.deadlines(partition), 0, 0, withscores=True)
        answers = await pipe.execute()
    return total(
        Lag(count, int(first[0][1])) for count, first in zip(answers[::2], answers[1::2], strict=True) if count
    )
