"""Pushing indexed profiles to where a user has them too."""

import asyncio
from datetime import timedelta
from typing import Final

from broker.connection import Broker
from broker.settings import BrokerSettings
from broker.streams import consumer_name
from broker.uploads import Pushes, Uploads
from profiles.objects import Objects
from profiles.shelves import RawUploads
from workers.pushing import Pusher
from workers.settings import WorkerSettings
from workers.sinks import read_sinks
from workers.webhook_client import WebhookClient

TIMEOUT: Final = timedelta(seconds=3)
"""Short, and tried once: uploads wait behind it where there is one worker."""


def run(_turn: str) -> int:
    """The rq job. Gives how many profiles were pushed."""
    return asyncio.run(_run())


async def _run() -> int:
    settings = WorkerSettings()
    sinks = read_sinks(settings.profiles_push.get_secret_value())
    raw = RawUploads(Objects(settings.profiles_at))
    async with Broker.opened(BrokerSettings()) as broker, WebhookClient(timeout=TIMEOUT, tries=1) as client:
        return await Pusher(Pushes(broker, consumer_name()), Uploads(broker), raw, sinks, client).push()
