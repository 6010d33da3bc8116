"""Appending a request for very many hosts, piece by piece, with progress."""

import asyncio
from typing import Final

from broker.connection import Broker
from broker.request_log import RequestLog
from broker.request_store import RequestStore
from broker.settings import BrokerSettings

PIECE: Final = 2_000
"""Hosts per step; progress is told after each."""


def run(request_id: str) -> int:
    """The rq job. Gives how many hosts the request now stands on."""
    return asyncio.run(_run(request_id))


async def _run(request_id: str) -> int:
    async with Broker.opened(BrokerSettings()) as broker:
        return await fan_out(request_id, RequestStore(broker), RequestLog(broker))


async def fan_out(request_id: str, store: RequestStore, log: RequestLog) -> int:
    """Append a stored request for all its hosts. May be repeated: what is appended is not appended again.

    Raises:
        BrokerUnavailable: the server cannot be reached; the dispatcher asks for the job again.
        LookupError: there is no such request.
    """
    record = await store.get(request_id)
    if record is None:
        raise LookupError(f"no request {request_id}")
    wishes = sorted(record.wishes().items())
    for number, first in enumerate(range(0, len(wishes), PIECE)):
        piece = dict(wishes[first : first + PIECE])
        if first + len(piece) <= record.hosts_appended:
            continue  # done before this job was asked for again
        await log.append(piece, piece=number)
        await store.note_appended(request_id, first + len(piece))
    return len(wishes)
