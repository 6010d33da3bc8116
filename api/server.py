"""The server that serves the API, and how it is set up."""

import asyncio
import contextlib
import logging
import signal
import socket
import ssl
import sys
from types import FrameType
from typing import Any, Final

import structlog
import uvicorn
from starlette.types import ASGIApp

from api.app import create_app
from api.doorway import Doorway
from api.problems import FewWarnings
from api.settings import ApiSettings
from api.sockets import BoundedSocket
from api.worker_processes import DRAIN_SECONDS, listener
from broker.logs import configure_logging
from broker.settings import BrokerSettings
from broker.tracing import TracesNeedTheExtra, configure_tracing

log = structlog.get_logger(__name__)

LAST_WORDS_WITHIN_SECONDS: Final = 3
"""Each has a second for its own, and all of them together this."""
MOST_SOCKET_BYTES: Final = 4_096
"""Of a message by a websocket's client: nobody has anything to say there."""


class Server(uvicorn.Server):
    """uvicorn that answers held heartbeats when a signal comes: it would wait for them otherwise."""

    def __init__(self, config: uvicorn.Config, lifeline: socket.socket | None = None) -> None:
        """`lifeline`: of one worker of several, what its parent holds the other end of."""
        super().__init__(config)
        self._lifeline = lifeline

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve, and say so to the parent; end when it is gone."""
        await super().startup(sockets)
        if self._lifeline is not None and self.started:
            with contextlib.suppress(OSError):  # it is gone already, which is heard next
                self._lifeline.send(b"1")
            asyncio.get_running_loop().add_reader(self._lifeline, self._without_parent)

    def _without_parent(self) -> None:
        if self._lifeline is not None:
            asyncio.get_running_loop().remove_reader(self._lifeline)
            self.handle_exit(signal.SIGTERM, None)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Go down. First those who listen hear it from us: uvicorn closes a websocket with a code of its own (1012).

        It does so with the first thing it does here, which may come before their tasks have had a turn.
        """
        parts = getattr(getattr(self.config.app, "state", None), "studio", None)
        if parts is not None and not self.force_exit:
            for server in self.servers:
                server.close()
            parts.live.close()
            if not await parts.listeners.left(within=LAST_WORDS_WITHIN_SECONDS):
                log.warning("listeners are cut off", count=parts.listeners.count)
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - as signal.signal calls it
        """Begin to go down; a second SIGINT does not wait for calls under way.

        Not uvicorn's own: that raises the signal once more at the end, and the process dies of it, on SIGINT with a
        traceback, instead of ending with 0.
        """
        app = self.config.app
        parts = getattr(getattr(app, "state", None), "studio", None)
        if parts is not None:
            parts.nudges.close()
            parts.live.close()
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True


def config_of(
    app: ASGIApp, *, host: str, port: int, trusted_proxies: str = "", settings: ApiSettings | None = None
) -> uvicorn.Config:
    """How we run an application, by https where settings say so; the benchmark runs a constant answer just so.

    By itself uvicorn believes whoever calls from this machine when they say where they come from.
    """
    tls: dict[str, Any] = {}
    if settings is not None and settings.tls_cert is not None:
        tls = {"ssl_certfile": settings.tls_cert, "ssl_keyfile": settings.tls_key}
    if settings is not None and settings.tls_client_ca is not None:
        # Not required of everybody: people come with tokens alone. Whoever shows one must show a good one.
        tls |= {"ssl_ca_certs": str(settings.tls_client_ca), "ssl_cert_reqs": ssl.CERT_OPTIONAL}
    return uvicorn.Config(
        app, **tls, host=host, port=port, http=Doorway, ws=BoundedSocket, log_config=None, log_level="warning",
        access_log=False, server_header=False, timeout_graceful_shutdown=DRAIN_SECONDS, lifespan="on",
        ws_max_size=MOST_SOCKET_BYTES, ws_per_message_deflate=False,
        proxy_headers=bool(trusted_proxies), forwarded_allow_ips=trusted_proxies,
    )  # fmt: skip


def serve(
    settings: ApiSettings, broker_settings: BrokerSettings, *, host: str, port: int, lifeline: str | None = None
) -> None:
    """Serve by this process until SIGTERM or SIGINT.

    `lifeline`: of one worker of several, the file descriptor that its parent holds the other end of.

    Raises:
        SystemExit: it cannot be served, with the reason.
    """
    configure_logging()
    logging.getLogger("uvicorn.error").addFilter(FewWarnings())
    try:
        configure_tracing("api")
        app = create_app(settings, broker_settings)
        sockets = [listener(host, port)] if lifeline is not None else None
    except (OSError, ValueError, TracesNeedTheExtra) as error:
        sys.exit(f"api: {error}")
    parent = socket.socket(fileno=int(lifeline)) if lifeline is not None else None
    served = config_of(app, host=host, port=port, trusted_proxies=settings.trusted_proxies, settings=settings)
    server = Server(served, parent)
    try:
        server.run(sockets)
    except (OSError, ssl.SSLError) as error:  # the files of --tls-…, which are read now
        sys.exit(f"api: {error}")
    if not server.started:
        sys.exit(1)
