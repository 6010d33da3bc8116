"""Who sends, and by what: built from the settings, for the daemon and for runs without heartbeats alike."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import structlog
from structlog.typing import FilteringBoundLogger

from agent.credentials import BadToken, Secret, read_token_file
from agent.flags.server import Server
from agent.flags.tls import Tls
from agent.host import agent_version
from agent.parcel import Sender
from agent.spool import Spool
from agent.spool_limits import SpoolLimits
from agent.transport import Transport, TransportError
from agent.upload import Uploader

log: FilteringBoundLogger = structlog.get_logger()

LAST_TRY: Final = timedelta(seconds=10)
"""How long a run without heartbeats waits at its end for the server to take what is left."""


def transport_to(address: str, server: Server, tls: Tls, *, token: Callable[[], Secret | None]) -> Transport:
    """Connections to a server.

    Raises:
        OSError: a certificate cannot be read.
    """
    return Transport(
        address,
        token=token,
        user_agent=f"gprofiler/{agent_version()}",
        ca_bundle=tls.ca_bundle,
        client_cert=tls.client_cert,
        client_key=tls.client_key,
        send_timeout=server.send_timeout,
    )


def sender(hostname: str, server: Server) -> Sender:
    """This agent, since now."""
    return Sender(
        hostname=hostname,
        service_name=server.service_name,
        agent_version=agent_version(),
        spawned_at=datetime.now(UTC),
    )


def token_source(server: Server) -> Callable[[], Secret | None]:
    """The token, read anew from its file for each call, so that a renewed one is used without a restart."""
    path = server.token_file
    if path is None:
        return lambda: server.token
    last = server.token

    def read() -> Secret | None:
        nonlocal last
        try:
            last = read_token_file(path)
        except BadToken as error:
            log.warning("the last good token is used", reason=str(error))
        return last

    return read


@contextlib.asynccontextmanager
async def uploading(
    address: str, server: Server, tls: Tls, limits: SpoolLimits, *, hostname: str, spool: Path
) -> AsyncIterator[Uploader]:
    """Upload what is given to the uploader while the block lasts, and what is left of it for a moment after.

    Raises:
        OSError: the spool cannot be used, or a certificate cannot be read.
    """
    stopping = asyncio.Event()
    waiting = Spool(spool, limits)
    transport = transport_to(address, server, tls, token=token_source(server))
    async with contextlib.aclosing(transport):
        uploader = Uploader(transport, waiting, sender(hostname, server), cap=server.interval, stopping=stopping)
        task = asyncio.create_task(uploader.run(), name="uploader")
        try:
            yield uploader
        finally:
            stopping.set()
            await asyncio.wait({task}, timeout=LAST_TRY.total_seconds())
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        with contextlib.suppress(TimeoutError, TransportError):  # the spool keeps it, and the caller says so
            async with asyncio.timeout(LAST_TRY.total_seconds()):
                await uploader.deliver()
