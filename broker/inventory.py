"""What runs on each host, as its agent said last: kept when it changes, compressed, beside the host's other keys."""

import asyncio
import base64
import hashlib
import operator
import zlib
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final

import structlog
from pydantic import TypeAdapter, ValidationError

from broker import keys
from broker.breath import Breath
from broker.connection import Broker
from broker.keys import Place
from broker.scripts import PackedInventory
from broker.targeting import Seen
from protocol.inventory import Container
from protocol.names import HostKey

log = structlog.get_logger(__name__)

PAGE: Final = 200
"""Inventories that are read at once."""
READ_AT_ONCE: Final = 50
"""The same where each is read by itself: an answer is parsed in one piece, and an inventory may be large."""
_Reader: Final = TypeAdapter(list[Container])


def packed(containers: Sequence[Container] | None) -> PackedInventory | None:
    """An inventory as it is kept; None for a heartbeat that carries none.

    The order in which an agent lists things is no change.
    """
    if containers is None:
        return None
    ordered = sorted(map(_by_pid, containers), key=_identity)
    body = _Reader.dump_json(ordered, exclude_defaults=True)
    digest = hashlib.blake2b(body, digest_size=16).hexdigest()
    return PackedInventory(digest, base64.b64encode(zlib.compress(body, 1)).decode())


def unpacked(text: str) -> list[Container]:
    """Read what `packed` wrote.

    Raises:
        ValueError: it is something else.
    """
    return _Reader.validate_json(zlib.decompress(base64.b64decode(text)))


def _by_pid(container: Container) -> Container:
    """The container with its processes in order, which most agents list so."""
    pids = [process.pid for process in container.processes]
    if all(map(operator.le, pids, pids[1:])):
        return container
    ordered = sorted(container.processes, key=lambda process: process.pid)
    return container.model_copy(update={"processes": tuple(ordered)})


def _identity(container: Container) -> tuple[str, ...]:
    names = (container.namespace, container.pod_name, container.container_name, container.container_id)
    return tuple(name or "" for name in names)


class Inventories:
    """What runs on the hosts of the fleet."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def seen(self, hosts: Iterable[HostKey]) -> AsyncIterator[Seen]:
        """What runs on each of these hosts, and the address that each said it has.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        places = sorted(map(self._broker.place, hosts))
        for first in range(0, len(places), PAGE):
            page = places[first : first + PAGE]
            async with self._broker.guarded() as redis, redis.pipeline(transaction=False) as pipe:
                for at in page:
                    pipe.get(keys.inventory(at))
                    pipe.hget(keys.host(at), "ip_address")
                rows: list[str | None] = await pipe.execute()
            for at, text, address in zip(page, rows[::2], rows[1::2], strict=True):
                yield Seen(at.host_key.host, address or "", _read(at, text))
            await asyncio.sleep(0)  # heartbeats are answered by the same loop

    async def on(self, places: Sequence[Place]) -> AsyncIterator[list[Container]]:
        """What runs on each of these hosts, in their order; nothing on one that never said.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        breath = Breath()
        for first in range(0, len(places), READ_AT_ONCE):
            page = places[first : first + READ_AT_ONCE]
            async with self._broker.guarded() as redis, redis.pipeline(transaction=False) as pipe:
                for at in page:
                    pipe.get(keys.inventory(at))
                texts: list[str | None] = await pipe.execute()
            for at, text in zip(page, texts, strict=True):
                yield _read(at, text)
                await breath.take()

    async def digests(self, hosts: Sequence[HostKey]) -> dict[HostKey, str]:
        """The digest of what runs on each of these hosts; without those that never said.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        if not hosts:
            return {}
        async with self._broker.guarded() as redis, redis.pipeline(transaction=False) as pipe:
            for host in hosts:
                pipe.hget(keys.host(self._broker.place(host)), "inventory")
            digests: list[str | None] = await pipe.execute()
        return {host: digest for host, digest in zip(hosts, digests, strict=True) if digest is not None}


def _read(at: Place, text: str | None) -> list[Container]:
    if text is None:
        return []
    try:
        return unpacked(text)
    except (ValueError, ValidationError, zlib.error):
        # One host's trouble: the others are told of.
        log.exception("inventory cannot be read", host=at.path)
        return []
