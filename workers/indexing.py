"""Indexing uploaded profiles: from files as they came to files that are asked. Every step may be repeated.

Several uploads are read, indexed and acked together: most of the work of indexing one is the files it makes. What was
taken twice and is not done is indexed by itself, so that an upload that kills who indexes it is alone in that.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import structlog

from broker.streams import Entry
from broker.uploads import Pushes, Uploads
from profiles.gathering import Gathering
from profiles.questions import Engine, Place
from profiles.reindexing import UNREADABLE, upload_at
from profiles.shelves import RawUploads
from protocol.names import HostKey
from workers.sinks import Sink

log = structlog.get_logger(__name__)

AT_A_TIME: Final = 50
"""Of each partition."""
TAKEN_OVER_AFTER: Final = timedelta(seconds=20)
"""What another took and did not finish: indexing a profile takes a fraction of a second."""
HELD_AGAIN_AFTER: Final = TAKEN_OVER_AFTER / 4
"""Then who has taken many says that it still has the others: they wait for it, and it lives."""
ALONE_FROM: Final = 3
"""Deliveries: who had it before died with it twice."""


@dataclass(frozen=True)
class _Read:
    """An upload that was read: whose it is, and where."""

    host: HostKey
    place: Place
    path: str


@dataclass
class _Batch:
    """Uploads that are indexed together: what is in them, their entries, and those of them that could be read."""

    gathering: Gathering = field(default_factory=Gathering)
    entries: list[Entry] = field(default_factory=list)
    read: list[_Read] = field(default_factory=list)


def _is_suspect(entry: Entry) -> bool:
    return entry.deliveries >= ALONE_FROM


class Indexer:
    """Indexes what was uploaded."""

    def __init__(
        self, uploads: Uploads, raw: RawUploads, engine: Engine,
        pushes: Pushes | None = None, sinks: Sequence[Sink] = (),
    ) -> None:  # fmt: skip
        """`pushes`: where to ask for what is indexed to be pushed to `sinks`."""
        self._uploads = uploads
        self._raw = raw
        self._engine = engine
        self._pushes = pushes
        self._sinks = sinks

    async def index(self) -> int:
        """Index everything that waits. Gives how many profiles.

        Raises:
            BrokerUnavailable: the server cannot be reached; nothing is lost by it.
            OSError: the store cannot be read or written; likewise.
        """
        indexed = 0
        while entries := await self._uploads.take(idle=TAKEN_OVER_AFTER, most=AT_A_TIME):
            taken_at = time.monotonic()
            while entries:
                if time.monotonic() - taken_at > HELD_AGAIN_AFTER.total_seconds():
                    entries = await self._uploads.hold(entries, idle=HELD_AGAIN_AFTER / 2)
                    taken_at = time.monotonic()
                    if not entries:
                        break
                batch = await asyncio.to_thread(self._read, entries)
                entries = entries[len(batch.entries) :]
                await self._finish(batch)
                indexed += len(batch.entries)
        return indexed

    def _read(self, entries: Sequence[Entry]) -> _Batch:
        """Read the first of some uploads: as many as are indexed together."""
        batch = _Batch()
        for entry in entries:
            if batch.entries and (batch.gathering.is_large or any(map(_is_suspect, (entry, batch.entries[-1])))):
                break
            batch.entries.append(entry)
            read = self._gathered(batch.gathering, entry.fields["path"])
            batch.read += [read] if read is not None else []
        return batch

    def _gathered(self, gathering: Gathering, path: str) -> _Read | None:
        upload = upload_at(self._raw, path)
        if upload is None:
            return None
        try:
            gathering.add(upload)
        except UNREADABLE as error:
            log.warning("an upload cannot be indexed; it stays where it is", path=path, reason=str(error)[:200])
            return None
        host = upload.facts.host
        return _Read(host, Place(host.tenant, host.service, upload.facts.profile_id), path)

    async def _finish(self, batch: _Batch) -> None:
        """Index what was read, have it pushed, and ack it: in this order, as a crash in between repeats it all."""
        for read in await asyncio.to_thread(self._index, batch):
            if self._pushes is None:
                continue
            for sink in self._sinks:
                if sink.wants(read.host.tenant, read.host.service):
                    await self._pushes.ask(read.host, read.path, sink.name)
        await self._uploads.done(batch.entries)

    def _index(self, batch: _Batch) -> list[_Read]:
        """Index what was read. Gives those that are profiles now."""
        try:
            self._engine.add(batch.gathering)
        except (OSError, MemoryError):  # not the upload's fault: these end the job, and it comes again
            raise
        except Exception as error:  # whatever an upload has in it that breaks an engine, it keeps no other out
            if len(batch.entries) > 1:
                return [read for entry in batch.entries for read in self._index(self._read([entry]))]
            log.exception("an upload cannot be indexed; it stays where it is", reason=str(error)[:200])
            return []
        gone = self._raw.deleted({read.place for read in batch.read})
        for place in gone:  # just now, or it was sent again
            self._engine.forget(place)
            self._raw.forget(place)
        indexed = [read for read in batch.read if read.place not in gone]
        for read in indexed:
            log.info(
                "profile indexed", profile_id=read.place.profile_id, service=read.host.service, host=read.host.host
            )
        return indexed
