"""Submitted requests on their way to the merger: appended per host, announced by the partition's doorbell."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Final, NamedTuple

from broker import codec, keys, scripts
from broker.connection import Broker, Call
from broker.effective import OpenRequest
from broker.errors import BrokerError
from broker.keys import Place
from broker.scripts import Appended
from broker.streams import Entry, GroupReader, consumer_name
from protocol.names import HostKey

MERGERS: Final = "mergers"
WITHDRAWN_FOR: Final = timedelta(days=7)
HOSTS_PER_CALL: Final = 200
"""One script call appends this many: larger ones hold the server up for others."""


class Ring(NamedTuple):
    """One doorbell entry and the hosts that it rings for."""

    entry: Entry
    places: tuple[Place, ...]


class RequestLog:
    """Where submitted requests wait for compaction."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._doorbells = {keys.doorbell(partition): partition for partition in range(broker.partitions)}

    async def append(self, wishes: Mapping[HostKey, OpenRequest], *, piece: int = 0) -> int:
        """Append one request for each of these hosts of one service; repeating it appends nothing twice.

        A request that comes in several calls numbers them: `piece` tells one from another.

        Returns:
            How many hosts were appended by this call.

        Raises:
            BrokerUnavailable: the server cannot be reached; some hosts may have been appended.
        """
        appended = 0
        for batch in self._batches(wishes, piece):
            for answer in await self._broker.run_all(batch, replicated=True):
                if isinstance(answer, Exception):
                    raise BrokerError(str(answer)) from answer
                appended += int(answer)
        return appended

    async def cancel(self, request_id: str, hosts: Iterable[HostKey], *, reason: str) -> int:
        """Withdraw a request from these hosts; from each that it is appended for later, it is gone at once.

        Args:
            request_id: the request.
            hosts: the hosts on which compaction takes it out, whatever it is part of there. May be none.
            reason: told with the outcome `cancelled`.

        Returns:
            For how many hosts compaction was asked.

        Raises:
            BrokerUnavailable: the server cannot be reached; may be repeated.
        """
        by_partition: dict[int, list[Place]] = {partition: [] for partition in range(self._broker.partitions)}
        for host in hosts:
            at = self._broker.place(host)
            by_partition.setdefault(at.partition, []).append(at)
        entry = codec.write_cancel(request_id, reason)
        calls = [
            scripts.cancel(
                partition, request_id, places[first : first + HOSTS_PER_CALL], reason=reason, entry=entry,
                remembered_s=int(WITHDRAWN_FOR.total_seconds()),
            )
            for partition, places in by_partition.items()
            for first in range(0, max(1, len(places)), HOSTS_PER_CALL)
        ]  # fmt: skip
        asked = 0
        for answer in await self._broker.run_all(calls, replicated=True):
            if isinstance(answer, Exception):
                raise BrokerError(str(answer)) from answer
            asked += int(answer)
        return asked

    def _batches(self, wishes: Mapping[HostKey, OpenRequest], piece: int) -> Iterator[list[Call]]:
        by_partition: dict[int, list[Appended]] = {}
        texts: dict[int, str] = {}
        for host, wish in sorted(wishes.items()):  # the same hosts give the same batches, whoever repeats the call
            at = self._broker.place(host)
            if id(wish) not in texts:  # hosts of whom the same is asked share one wish
                texts[id(wish)] = codec.write_request(wish)
            by_partition.setdefault(at.partition, []).append(Appended(at, texts[id(wish)]))
        some = next(iter(wishes.values()))
        now = codec.ms(some.accepted_at)
        calls = (
            scripts.submit(
                partition=partition, batch=f"{piece}.{number}", request_id=some.request_id, command_id=some.command_id,
                hosts=hosts[first : first + HOSTS_PER_CALL], now=now,
            )
            for partition, hosts in by_partition.items()
            for number, first in enumerate(range(0, len(hosts), HOSTS_PER_CALL))
        )  # fmt: skip
        while chunk := list(itertools.islice(calls, 16)):
            yield chunk

    def reader(self, consumer: str | None = None) -> GroupReader:
        """A merger's end of the doorbells of all partitions."""
        return GroupReader(self._broker, list(self._doorbells), group=MERGERS, consumer=consumer or consumer_name())

    def rings(self, entries: Iterable[Entry]) -> list[Ring]:
        """The hosts that each doorbell entry rings for.

        Nothing is read out of the paths here: one that names no host fails alone, later, and is parked.
        """
        return [
            Ring(entry, tuple(Place(self._doorbells[entry.stream], path) for path in paths.split(" ")))
            for entry in entries
            for paths in [entry.fields.get("hosts", "")]
        ]

    async def park(self, rings: Iterable[Ring], *, reason: str, now: int) -> None:
        """Make dead letters of doorbell entries, one for each host that cannot be worked off. `now` is in ms.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        await self._broker.run_all(
            [
                scripts.park(
                    self._doorbells[entry.stream], [at.path for at in places], group=MERGERS, entry_id=entry.entry_id,
                    reason=reason, deliveries=entry.deliveries, now=now,
                )
                for entry, places in rings
            ]
        )  # fmt: skip

    async def ring_due(self, *, now: int, again_in_ms: int, most: int = 500) -> int:
        """Ring for the hosts whose next deadline has come; gives how many. `now` is in ms.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        calls = [
            scripts.due(partition, now=now, most=most, again_in_ms=again_in_ms)
            for partition in range(self._broker.partitions)
        ]
        return sum(int(answer) for answer in await self._broker.run_all(calls))
