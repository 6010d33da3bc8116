"""`python -m api`: serve the API until SIGTERM or SIGINT."""

import argparse
import asyncio
import contextlib
import gc
import ipaddress
import os
import resource
import signal
import socket
import ssl
import sys
from pathlib import Path
from types import FrameType
from typing import Any, Final

if __name__ == "__main__":
    gc.disable()  # what is loaded now stays: to look for garbage among it takes a fifth of the start

import structlog
import uvicorn
from starlette.types import ASGIApp

from api.app import create_app
from api.connections import BoundedProtocol
from api.metrics import counting_together
from api.settings import ApiSettings
from api.sockets import BoundedSocket
from api.worker_processes import LIFELINE, Workers, claim, command_of, listener
from broker import config
from broker.logs import configure_logging
from broker.settings import BrokerSettings
from broker.tracing import TracesNeedTheExtra, configure_tracing

log = structlog.get_logger(__name__)

DRAIN_SECONDS: Final = 10
LAST_WORDS_WITHIN_SECONDS: Final = 3
"""Each has a second for its own, and all of them together this."""
KILLED_AFTER_SECONDS: Final = DRAIN_SECONDS + 5
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


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


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
        app, **tls, host=host, port=port, http=BoundedProtocol, ws=BoundedSocket, log_config=None, log_level="warning",
        access_log=False, server_header=False, timeout_graceful_shutdown=DRAIN_SECONDS, lifespan="on",
        ws_max_size=MOST_SOCKET_BYTES, ws_per_message_deflate=False,
        proxy_headers=bool(trusted_proxies), forwarded_allow_ips=trusted_proxies,
    )  # fmt: skip


def raise_file_limit() -> None:
    """Each held heartbeat is an open file; many systems begin with 1,024 and allow far more."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> None:
    """Parse the flags and serve. Exit code 2 for what cannot be served as asked."""
    gc.enable()
    parser = argparse.ArgumentParser(prog="python -m api", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="processes that share the port (default: %(default)s)")
    parser.add_argument(
        "--insecure-no-auth", action="store_true", help="no tokens: everybody may do everything; loopback only"
    )
    for name, told in (
        ("--tls-cert", "serve https with this certificate (PEM)"),
        ("--tls-key", "its key"),
        ("--tls-client-ca", "agents must show a certificate that one of these vouches for, with their host's name"),
    ):
        parser.add_argument(name, type=Path, default=None, metavar="FILE", help=told)
    config.add_arguments(parser)
    given = parser.parse_args()
    tls = {name: value for name, value in vars(given).items() if name.startswith("tls_") and value is not None}
    classes = (ApiSettings, BrokerSettings)
    try:
        flags = config.apply(given, classes)
        if given.show_config:
            print(config.as_json(classes, flags))  # noqa: T201 - what was asked for
            return
        settings, broker_settings = ApiSettings(**tls), BrokerSettings()
    except ValueError as error:
        sys.exit(f"api: {error}")
    settings.insecure_no_auth = settings.insecure_no_auth or given.insecure_no_auth
    if settings.insecure_no_auth and not is_loopback(given.host):
        parser.error(f"--insecure-no-auth listens on loopback only, not on {given.host}")
    if given.workers < 1:
        parser.error("--workers must be at least 1")
    configure_logging()
    raise_file_limit()
    lifeline = os.environ.pop(LIFELINE, None)
    if given.workers > 1 and lifeline is None:
        sys.exit(serve_with(given.workers, host=given.host, port=given.port))
    try:
        configure_tracing("api")
        app = create_app(settings, broker_settings)
        sockets = [listener(given.host, given.port)] if lifeline is not None else None
    except (OSError, ValueError, TracesNeedTheExtra) as error:
        sys.exit(f"api: {error}")
    parent = socket.socket(fileno=int(lifeline)) if lifeline is not None else None
    served = config_of(
        app, host=given.host, port=given.port, trusted_proxies=settings.trusted_proxies, settings=settings
    )  # fmt: skip
    server = Server(served, parent)
    try:
        server.run(sockets)
    except (OSError, ssl.SSLError) as error:  # the files of --tls-…, which are read now
        sys.exit(f"api: {error}")
    if not server.started:
        sys.exit(1)


def serve_with(workers: int, *, host: str, port: int) -> int:
    """Serve by several processes; gives the exit code."""
    try:
        claimed = claim(host, port)
    except OSError as error:
        sys.exit(f"api: {error}")
    with claimed, counting_together():
        # Of a flag that is given twice the last one counts.
        command = command_of([*sys.argv[1:], "--port", str(claimed.getsockname()[1])])
        return Workers(workers, command, drain_seconds=KILLED_AFTER_SECONDS).run()


if __name__ == "__main__":
    main()
