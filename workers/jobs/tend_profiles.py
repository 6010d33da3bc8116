"""Tending stored profiles: packed, folded, gone when too old."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Final

import structlog

from broker.connection import Broker
from broker.errors import BrokerUnavailable
from broker.settings import BrokerSettings
from broker.uploads import Uploads
from profiles.engines import engine_of
from profiles.keeping import Keeping
from profiles.objects import Objects
from workers.retention import tended
from workers.settings import WorkerSettings

log = structlog.get_logger(__name__)

PATIENCE: Final = timedelta(seconds=10)
"""What is not done by then is done at the next pass."""
LOOKS_EVERY_SECONDS: Final = 0.3
WAITS_TOO_LONG_SECONDS: Final = 1.0
"""An upload that waits so long has nobody to index it: where there is one worker, this pass holds it up."""


def run(_turn: str) -> int:
    """The rq job. Gives how many profiles were packed."""
    return asyncio.run(_run())


async def _run() -> int:
    settings = WorkerSettings()
    objects = Objects(settings.profiles_at)
    engine, keeping = engine_of(settings, objects), Keeping.of(settings)
    waits = Event()
    async with Broker.opened(BrokerSettings()) as broker:
        looking = asyncio.create_task(look(Uploads(broker), waits))
        try:
            done = await tended(
                broker, objects, engine, keeping, now=datetime.now(UTC), patience=PATIENCE, gives_way=waits.is_set
            )
        finally:
            looking.cancel()
    return done.packed


async def look(uploads: Uploads, waits: Event) -> None:
    """Look for uploads that wait until there is one, and say so."""
    while not waits.is_set():
        try:
            lag = await uploads.lag()
        except BrokerUnavailable as error:
            log.warning("nobody says whether uploads wait", reason=str(error))
        else:
            if lag.age(now=time.time()) > WAITS_TOO_LONG_SECONDS:
                waits.set()
        await asyncio.sleep(LOOKS_EVERY_SECONDS)
