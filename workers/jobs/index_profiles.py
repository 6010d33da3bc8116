"""Indexing what was uploaded, until nothing waits."""

import asyncio

import structlog

import profiles.putting  # noqa: F401 - what the engine loads when it needs it: once, for a process that forks
from broker.connection import Broker
from broker.settings import BrokerSettings
from broker.streams import consumer_name
from broker.uploads import Pushes, Uploads
from profiles.engines import engine_of
from profiles.objects import Objects
from profiles.shelves import RawUploads
from workers.indexing import Indexer
from workers.settings import WorkerSettings
from workers.sinks import BadSinks, Sink, read_sinks

log = structlog.get_logger(__name__)


def run(_turn: str) -> int:
    """The rq job. Gives how many profiles were indexed."""
    return asyncio.run(_run())


async def _run() -> int:
    settings = WorkerSettings()
    objects = Objects(settings.profiles_at)
    async with Broker.opened(BrokerSettings()) as broker:
        uploads = Uploads(broker, consumer_name())
        indexer = Indexer(uploads, RawUploads(objects), engine_of(settings, objects), Pushes(broker), _sinks(settings))
        return await indexer.index()


def _sinks(settings: WorkerSettings) -> list[Sink]:
    """To whom profiles are pushed. That this cannot be read keeps nothing from being indexed."""
    try:
        return read_sinks(settings.profiles_push.get_secret_value())
    except BadSinks as error:
        log.error("profiles are indexed and not pushed", reason=str(error))  # noqa: TRY400 - it says all
        return []
