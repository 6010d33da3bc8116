"""Indexing what was uploaded, until nothing waits."""

import asyncio

from broker.connection import Broker
from broker.settings import BrokerSettings
from broker.streams import consumer_name
from broker.uploads import Uploads
from profiles.engines import engine_of
from profiles.objects import Objects
from profiles.shelves import RawUploads
from workers.indexing import Indexer
from workers.settings import WorkerSettings


def run(_turn: str) -> int:
    """The rq job. Gives how many profiles were indexed."""
    return asyncio.run(_run())


async def _run() -> int:
    settings = WorkerSettings()
    objects = Objects(settings.profiles_at)
    async with Broker.opened(BrokerSettings()) as broker:
        uploads = Uploads(broker, consumer_name())
        return await Indexer(uploads, RawUploads(objects), engine_of(settings, objects)).index()
