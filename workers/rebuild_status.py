"""`python -m workers.rebuild_status`: make every request's status anew from the results, trimmed ones from the archive.

Safe while the projector runs. Statuses are rebuilt aside and take the place of those that are read in one step each,
and only where those have not heard newer news meanwhile; then the rest of the stream is read, and it is tried again.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from broker import scripts
from broker.archiving import ArchivedStreams, Source
from broker.connection import Broker
from broker.errors import BrokerError, BrokerUnavailable
from broker.logs import configure_logging
from broker.request_store import KEPT_FOR
from broker.results import Change, Results
from broker.settings import BrokerSettings
from broker.streams import Entry
from workers.archive import Archive
from workers.segments import BrokenSegment, Segment, check_follows, decode, in_chains
from workers.settings import WorkerSettings

BATCH: Final = 500
ROUNDS: Final = 50
"""How often statuses that move on meanwhile are followed; each round reads only what is new."""


class NotRebuilt(Exception):
    """Some statuses moved on faster than they could be rebuilt."""


class Rebuild:
    """One rebuilding of all statuses."""

    def __init__(self, broker: Broker, archive: Archive) -> None:
        self._broker = broker
        self._archive = archive
        self._results = Results(broker)
        self._streams = ArchivedStreams(broker)
        self._read_to: dict[Source, str] = {}

    async def run(self, *, now: float) -> int:
        """Rebuild; gives how many requests have a status now. `now` is in seconds since the epoch.

        Raises:
            BrokerUnavailable: the server cannot be reached; may be repeated.
            BrokenSegment: the archive is not as it was written.
            NotRebuilt: some are still as they were.
        """
        oldest = (now - KEPT_FOR.total_seconds()) * 1000
        sources = [source for source in self._streams.sources if source.family == "results"]
        waiting: set[str] = set()
        for source in sources:
            waiting |= await self._from_archive(source, oldest)
        known = set(waiting)
        start: dict[Source, str] = {}
        for _ in range(ROUNDS):
            start = start or {source: self._read_to.get(source, "0-0") for source in sources}
            for source in sources:
                seen = await self._from_stream(source, oldest)
                waiting |= seen
                known |= seen
            waiting = await self._swap(waiting)
            if not waiting:
                break
        if waiting:
            raise NotRebuilt(f"{len(waiting)} requests moved on too fast; repeat it")
        # A late completion leaves a status's entry as it is: one that came before its swap is put in again.
        for source in sources:
            await self._again(source, start[source], oldest)
        return len(known)

    async def _from_archive(self, source: Source, oldest: float) -> set[str]:
        seen: set[str] = set()
        day = datetime.fromtimestamp(oldest / 1000, UTC).date().isoformat()
        for records in _archived(self._archive, source, since=day):
            seen |= await self._fold(records, oldest)
            self._read_to[source] = records[-1].entry_id
        return seen

    async def _from_stream(self, source: Source, oldest: float) -> set[str]:
        seen: set[str] = set()
        while entries := await self._streams.read(source, after=self._read_to.get(source, "0-0"), most=BATCH):
            seen |= await self._fold(entries, oldest)
            self._read_to[source] = entries[-1].entry_id
        return seen

    async def _fold(self, entries: Iterable[Entry], oldest: float, *, aside: bool = True) -> set[str]:
        changes = [change for change in map(Change.of, entries) if int(change.at) >= oldest]
        await self._results.project(changes, aside=aside)
        return {request_id for change in changes for request_id in change.request_ids}

    async def _swap(self, request_ids: Iterable[str]) -> set[str]:
        """Gives those that moved on meanwhile."""
        behind: set[str] = set()
        every = sorted(request_ids)
        for some in (every[first : first + BATCH] for first in range(0, len(every), BATCH)):
            answers = await self._broker.run_all([scripts.swap(request_id) for request_id in some])
            for request_id, answer in zip(some, answers, strict=True):
                if isinstance(answer, Exception):
                    raise answer
                if answer:
                    behind.add(request_id)
        return behind

    async def _again(self, source: Source, after: str, oldest: float) -> None:
        while entries := await self._streams.read(source, after=after, most=BATCH):
            await self._fold(entries, oldest, aside=False)
            after = entries[-1].entry_id


def _archived(archive: Archive, source: Source, *, since: str) -> Iterator[Sequence[Entry]]:
    """The entries of a stream's segments from a UTC day on, segment by segment."""
    before: Segment | None = None
    for (_, stream), paths in in_chains(archive.paths(source.family, since=since)):
        if stream != source.number:
            continue
        for path in paths:
            segment = decode(path, archive.read(path))
            if before is not None:
                check_follows(before, segment)
            before = segment
            yield [Entry(source.key, record.entry_id, record.fields) for record in segment.records]


async def rebuild() -> int:
    """Rebuild, as the environment says where."""
    async with Broker.opened(BrokerSettings()) as broker:
        await broker.settle_layout()
        return await Rebuild(broker, Archive(WorkerSettings().archive_at)).run(now=time.time())


def main() -> None:
    """Rebuild, and say how many. Exit codes: 0 done, 1 failed, 2 usage, 3 the broker cannot be reached."""
    argparse.ArgumentParser(prog="python -m workers.rebuild_status", description=__doc__).parse_args()
    configure_logging()
    try:
        count = asyncio.run(rebuild())
    except BrokerUnavailable as error:
        print(f"not rebuilt: {error}", file=sys.stderr)  # noqa: T201 - a command's answer
        sys.exit(3)
    except (BrokerError, BrokenSegment, NotRebuilt) as error:
        sys.exit(f"not rebuilt: {error}")
    except (OSError, ValueError, ImportError) as error:
        sys.exit(f"not rebuilt: the archive cannot be read ({type(error).__name__})")
    print(f"rebuilt: the status of {count} requests")  # noqa: T201 - a command's answer


if __name__ == "__main__":
    main()
