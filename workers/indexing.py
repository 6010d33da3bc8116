"""Indexing uploaded profiles: from files as they came to files that are asked. Every step may be repeated."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import structlog

from broker.streams import Entry
from broker.uploads import Pushes, Uploads
from profiles.questions import Engine, Place
from profiles.reindexing import UNREADABLE, read_again
from profiles.shelves import RawUploads
from profiles.tables import samples_and_stacks
from protocol.names import HostKey
from workers.sinks import Sink

log = structlog.get_logger(__name__)

AT_A_TIME: Final = 50
TAKEN_OVER_AFTER: Final = timedelta(seconds=20)
"""What another took and did not finish: indexing a profile takes a fraction of a second."""


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
            for entry in entries:
                host = await asyncio.to_thread(self._index, entry)
                if host is not None and self._pushes is not None:
                    for sink in self._sinks:
                        if sink.wants(host.tenant, host.service):
                            await self._pushes.ask(host, entry.fields["path"], sink.name)
                await self._uploads.done([entry])
                indexed += 1
        return indexed

    def _index(self, entry: Entry) -> HostKey | None:
        """Index an upload. Gives whose profile it is; None: there is none now."""
        path = entry.fields["path"]
        try:
            upload = read_again(*self._raw.read(path))
            samples, stacks = samples_and_stacks(upload)
        except FileNotFoundError:
            log.warning("an upload is gone before it was indexed", path=path)
            return None
        except UNREADABLE as error:
            log.exception("an upload cannot be indexed; it stays where it is", path=path, reason=str(error)[:200])
            return None
        facts = upload.facts
        place = Place(facts.host.tenant, facts.host.service, facts.profile_id)
        self._engine.add(samples, stacks, place)
        if self._raw.is_deleted(place):  # just now, or it was sent again
            self._engine.forget(place)
            self._raw.forget(place)
            return None
        log.info("profile indexed", profile_id=facts.profile_id, service=facts.host.service, host=facts.host.host)
        return facts.host
