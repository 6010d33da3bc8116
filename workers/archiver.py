"""The archiver: puts the public streams into files that can be held against each other, then lets them be trimmed.

The files are the truth: a segment's name follows from its predecessor, and no file is written over another. So a crash
anywhere, or two archivers at once, end in one chain with each entry in it once. The broker remembers the newest segment
of each stream; that is a witness against files that were dropped from the end, and saves looking through them all.
"""

import asyncio
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog

from broker.archiving import ArchivedStreams, Head, Source
from broker.entry_ids import position_of
from broker.lease import Lease
from workers.archive import Archive
from workers.segments import BrokenSegment, Record, day_of, decode, encode, number_of, sha256

log = structlog.get_logger(__name__)

LOOK_EVERY: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Closing:
    """When a segment is closed: so many entries, or the oldest waits for so long."""

    entries: int = 10_000
    age: timedelta = timedelta(minutes=5)


class Archiver:
    """From streams to segments. Of any number, one works; the others stand by."""

    def __init__(
        self, streams: ArchivedStreams, archive: Archive, lease: Lease, closing: Closing | None = None
    ) -> None:
        self._streams = streams
        self._archive = archive
        self._lease = lease
        self._closing = closing or Closing()
        self._heads: dict[Source, Head] = {}

    async def archive(self) -> int:
        """One pass: close the segments that are due. Gives how many entries were archived.

        Raises:
            BrokerUnavailable: the server cannot be reached.
            OSError: a file cannot be stored; its entries stay in their stream.
            BrokenSegment: a file is in the way that is not of this chain.
        """
        if not await self._lease.hold():
            self._heads = {}
            return 0
        if not self._heads:
            await self._take_up()
        archived = 0
        for source, lag in (await self._streams.lag()).items():
            if lag.behind >= self._closing.entries or lag.age(now=time.time()) >= self._closing.age.total_seconds():
                if not self._lease.is_sure and not await self._lease.hold():
                    break
                archived += await self._close(source)
        return archived

    async def _take_up(self) -> None:
        """Find where each chain ends, and let the broker know what was stored and not told."""
        await self._streams.prepare()
        told = await self._streams.heads(self._archive.name)
        heads = await asyncio.to_thread(self._ends, told)
        await self._streams.tell_heads({source: head for source, head in heads.items() if head != told.get(source)})
        for source, head in heads.items():
            await self._streams.pass_over(source, to=head.last)
        self._heads = heads
        log.info("archive taken up", segments=sum(head.number for head in heads.values()))

    def _ends(self, told: dict[Source, Head]) -> dict[Source, Head]:
        self._archive.sweep()
        heads = {}
        newest: dict[str, dict[int, str]] = {}
        for source in self._streams.sources:
            if source.family not in newest:
                # What was stored and not told is of the day of what was told, or later; where nothing at all was told,
                # of any day. (A stream's very first segment may be older: it is in the way then, and taken.)
                days = [day_of(head.last) for other, head in told.items() if other.family == source.family]
                newest[source.family] = self._archive.newest(source.family, since=min(days, default=""))
            head = told.get(source, Head(archive=self._archive.name))
            path = newest[source.family].get(source.number, "")
            number = number_of(path)
            if number < head.number:
                log.error("archive has lost segments", family=source.family, stream=source.number, told=head.number)
            heads[source] = self._head_at(path) if number > head.number else head
        return heads

    def _head_at(self, path: str) -> Head:
        segment = decode(path, self._archive.read(path))
        return Head(segment.header.number, segment.header.last, segment.sha256, self._archive.name)

    async def _close(self, source: Source) -> int:
        head = self._heads[source]
        entries = await self._streams.read(source, after=head.last, most=self._closing.entries)
        records = [Record(entry.entry_id, entry.fields) for entry in entries]
        records = [record for record in records if day_of(record.entry_id) == day_of(records[0].entry_id)]
        if not records:
            await self._streams.pass_over(source, to=head.last)
            return 0
        new = await asyncio.to_thread(self._store, source, head, records)
        # First the file, then the word of it, then the stream: what is cut short here is done again, by the file.
        await self._streams.tell_heads({source: new})
        await self._streams.pass_over(source, to=new.last)
        self._heads[source] = new
        stored = sum(position_of(record.entry_id) <= position_of(new.last) for record in records)
        log.info("segment stored", family=source.family, stream=source.number, number=new.number, entries=stored)
        return stored

    def _store(self, source: Source, head: Head, records: list[Record]) -> Head:
        """Write the next segment, or take the one that somebody wrote in our place."""
        header, data = encode(
            records, family=source.family, stream=source.number, number=head.number + 1, previous=head.sha256
        )
        try:
            self._archive.write(header.path, data)
        except FileExistsError:
            data = self._archive.read(header.path)
            other = decode(header.path, data).header
            if (other.number, other.previous) != (header.number, header.previous):
                raise BrokenSegment(f"{header.path} is there and does not follow segment {head.number}") from None
            header = other
        return Head(header.number, header.last, sha256(data), self._archive.name)
