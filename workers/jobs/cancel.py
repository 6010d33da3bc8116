"""Withdrawing a request from very many hosts."""

import asyncio

from broker.connection import Broker
from broker.request_store import RequestStore
from broker.settings import BrokerSettings
from broker.withdrawal import withdraw


def run(request_id: str) -> int:
    """The rq job. Gives for how many hosts compaction was asked."""
    return asyncio.run(_run(request_id))


async def _run(request_id: str) -> int:
    async with Broker.opened(BrokerSettings()) as broker:
        record = await RequestStore(broker).get(request_id)
        if record is None:
            raise LookupError(f"no request {request_id}")
        return await withdraw(record, broker)
