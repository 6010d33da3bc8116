"""Making the index of stored profiles anew from the uploads: `studio profiles reindex`; packing it: `compact`."""

import argparse
import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from broker.connection import Broker
from broker.errors import BrokerError
from broker.logs import configure_logging
from broker.settings import BrokerSettings
from profiles.compacting import Compactor, places
from profiles.embedded import Embedded
from profiles.engines import engine_of
from profiles.gathering import Gathering
from profiles.keeping import Keeping
from profiles.objects import Objects, part_of
from profiles.packs import Shelves
from profiles.questions import Engine
from profiles.reindexing import maker, upload_at
from profiles.shelves import GONE, RAW, SAMPLES, RawUploads
from workers.retention import tended
from workers.settings import WorkerSettings
from workers.tending import Tended

FOR_EVER: Final = timedelta(days=365)
EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
Seen = Callable[[int], None]


def missing(objects: Objects, engine: Engine, shelves: Shelves, place: str, *, seen: Seen) -> int:
    """Index the uploads of an hour that are not indexed. Gives how many.

    Raises:
        OSError: the store does not answer.
    """
    raw = RawUploads(objects)
    shelf = shelves.shelf(f"{SAMPLES}/{place}")
    known = shelf.ids.union(shelf.covered) if isinstance(engine, Embedded) else frozenset[str]()
    gone = {*objects.names(f"{GONE}/{place}")}
    indexed, gathering = 0, Gathering()
    for profile_id in objects.names(f"{RAW}/{place}"):
        seen(1)
        if profile_id in known or profile_id in gone:
            continue
        if (upload := upload_at(raw, f"{RAW}/{place}/{profile_id}")) is None:
            continue
        gathering.add(upload)
        indexed += 1
        if gathering.is_large:
            engine.add(gathering)
            gathering = Gathering()
    engine.add(gathering)
    return indexed


@contextmanager
def bar(what: str, total: int) -> Iterator[Seen]:
    """A bar on stderr where that is a terminal; nothing elsewhere."""
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(what, total=total)
        yield lambda many: progress.advance(task, many)


def reindex(options: argparse.Namespace, settings: WorkerSettings) -> str:
    """Do it; gives what to say.

    Raises:
        OSError: the store does not answer. What is done is done, and repeating it goes on.
    """
    objects = Objects(settings.profiles_at)
    engine, shelves = engine_of(settings, objects), Shelves(objects)
    hours = [
        *places(
            objects, since=options.since, until=options.until, tenant=part_of(options.tenant),
            service=part_of(options.service) if options.service else "",
        )
    ]  # fmt: skip
    uploads = sum(1 for place in hours for _ in objects.names(f"{RAW}/{place}"))
    done = 0
    with bar("indexing", uploads) as seen:
        for place in hours:
            if options.anew and isinstance(engine, Embedded):
                done += Compactor(objects).rebuild(place, maker(RawUploads(objects), place, seen=seen))
                done += missing(objects, engine, shelves, place, seen=lambda _many: None)
            else:
                done += missing(objects, engine, shelves, place, seen=seen)
    return f"indexed: {done} of {uploads} uploads in {len(hours)} hours"


def compact(options: argparse.Namespace, settings: WorkerSettings) -> str:
    """Tend everything from a moment on, of all tenants; gives what to say.

    Raises:
        OSError: the store does not answer, or some hours cannot be tended.
    """

    async def pass_over() -> Tended:
        objects = Objects(settings.profiles_at)
        engine, keeping = engine_of(settings, objects), Keeping.of(settings)
        async with Broker.opened(BrokerSettings()) as broker:
            now = datetime.now(UTC)
            return await tended(broker, objects, engine, keeping, now=now, patience=FOR_EVER, since=options.since)

    done = asyncio.run(pass_over())
    if done.failed:
        raise OSError(f"{len(done.failed)} hours cannot be tended; the first is {done.failed[0]}")
    return f"packed: {done.packed} profiles; folded: {done.folded} packs; too old: {done.expired_days} days of services"


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def main() -> None:
    """Do it, and say how much. Exit codes: 0 done, 1 failed, 2 usage."""
    parser = argparse.ArgumentParser(prog="python -m workers.reindex_profiles", description=__doc__)
    parser.add_argument("what", choices=["reindex", "compact"])
    parser.add_argument("--tenant", default="default")
    parser.add_argument("--service", default="")
    parser.add_argument("--since", type=_moment, default=EARLIEST)
    parser.add_argument("--until", type=_moment, default=datetime.now(UTC) + timedelta(days=2))
    parser.add_argument("--anew", action="store_true")
    options = parser.parse_args()
    configure_logging()
    try:
        said = {"reindex": reindex, "compact": compact}[options.what](options, WorkerSettings())
    except (OSError, ImportError, BrokerError) as error:
        sys.exit(f"not done: {error}")
    print(said)  # noqa: T201 - a command's answer


if __name__ == "__main__":
    main()
