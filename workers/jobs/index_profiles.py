"""Indexing what was uploaded, until nothing waits."""

import asyncio

from broker.connection import Broker
from broker.settings import BrokerSettings
from broker.streams import consumer_name
from broker.uploads import Uploads
from profiles.embedded import Embedded
from profiles.objects import Objects
from profiles.shelves import RawUploads
from workers.indexing import Indexer
from workers.settings import WorkerSettings


def run(_part: str) -> int:
    """The rq job. Gives how many profiles were indexed."""
    return asyncio.run(_run())


async def _run() -> int:
    objects = Objects(WorkerSettings().profiles_at)
    async with Broker.opened(BrokerSettings()) as broker:
        uploads = Uploads(broker, consumer_name())
        return await Indexer(uploads, RawUploads(objects), Embedded(objects)).index()
