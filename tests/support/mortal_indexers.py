"""Processes that index and pack one store without end, to be killed: what the jobs run, without rq around it."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event

from broker.connection import Broker
from broker.settings import BrokerSettings
from broker.streams import consumer_name
from broker.uploads import Uploads
from profiles.compacting import Compactor
from profiles.embedded import Embedded
from profiles.keeping import Keeping, expire
from profiles.objects import Objects
from profiles.shelves import RawUploads
from workers import indexing
from workers.tending import Tender

_PROCESSES = get_context("forkserver")
_PROCESSES.set_forkserver_preload([__name__, "pyarrow.parquet", "profiles.putting", "profiles.tables"])
AT_ONCE = timedelta(milliseconds=500)
"""After so long what another took and did not finish is taken over; by itself it takes 20 s."""
NEVER = 10**6


def index_without_end(begun: Event, settings: BrokerSettings, folder: str) -> None:
    """Index what waits, as the job does."""
    indexing.TAKEN_OVER_AFTER = AT_ONCE  # type: ignore[misc]  # in this process alone
    indexing.ALONE_FROM = NEVER  # type: ignore[misc]  # likewise: all are killed often, and none of them kills
    asyncio.run(_index(begun, settings, folder))


async def _index(begun: Event, settings: BrokerSettings, folder: str) -> None:
    objects = Objects(folder)
    async with Broker.opened(settings) as broker:
        begun.set()
        indexer = indexing.Indexer(Uploads(broker, consumer_name()), RawUploads(objects), Embedded(objects))
        while True:
            await indexer.index()
            await asyncio.sleep(0.01)


def tend_without_end(begun: Event, place: str, folder: str) -> None:
    """Pack an hour, and clear it at once: as if nobody were reading."""
    begun.set()
    while True:
        Compactor(Objects(folder), still_read=timedelta(0)).tend(place, now=datetime.now(UTC))


def work_and_die(at: int, work: Callable[..., None], *given: object) -> None:
    """Do a work, as a job does it, but for SIGKILL just before a change of the disk.

    Args:
        at: which change: of those that give a file its name, or take one from it.
        work: one of the following.
        given: to it.
    """
    changes = count()

    def deadly(change: Callable[..., object]) -> Callable[..., object]:
        def called(*given: object, **named: object) -> object:
            if next(changes) == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return change(*given, **named)

        return called

    for name in ("link", "remove", "unlink", "rmdir"):
        setattr(os, name, deadly(getattr(os, name)))
    work(*given)


def expire_and_pack(place: str, folder: str, keep: timedelta, now: datetime) -> None:
    """Remove what is too old, pack an hour, and remove what that has made needless, as if nobody were reading."""
    objects = Objects(folder)
    expire(objects, Embedded(objects), Keeping(of_all=keep), now=now, tell=lambda _: None)
    for _ in range(2):
        Compactor(objects, still_read=timedelta(0)).tend(place, now=datetime.now(UTC))


def fold_what_is_old(folder: str, fold_after: timedelta, below: float, now: datetime) -> None:
    """Fold hours that are old, and remove their uploads."""
    objects = Objects(folder)
    keeping = Keeping(fold_after=fold_after, fold_below=below)
    done = Tender(objects, Embedded(objects), keeping, lambda _: None).tend(now=now, patience=timedelta(hours=1))
    assert not done.failed


def killed_at(at: int, work: Callable[..., None], *given: object) -> bool:
    """Do `work_and_die` in a process of its own. False: it came to its end unharmed."""
    process = _PROCESSES.Process(target=work_and_die, args=(at, work, *given), daemon=True)
    process.start()
    process.join(60)
    assert process.exitcode in {0, -signal.SIGKILL}
    return process.exitcode != 0


@contextmanager
def at_work(*works: tuple[Callable[..., None], tuple[object, ...]]) -> Iterator[None]:
    """Processes that do these until the end of the block, and are killed then wherever they are."""
    begun = [_PROCESSES.Event() for _ in works]
    processes: list[BaseProcess] = [
        _PROCESSES.Process(target=work, args=(event, *given), daemon=True)
        for event, (work, given) in zip(begun, works, strict=True)
    ]
    for each in processes:
        each.start()
    try:
        assert all(event.wait(60) for event in begun)
        yield
    finally:
        for each in processes:
            assert each.pid is not None
            os.kill(each.pid, signal.SIGKILL)
        for each in processes:
            each.join()
            assert each.exitcode == -signal.SIGKILL, "it had ended by itself"
