"""`python -m api`: serve the API until SIGTERM or SIGINT."""

import argparse
import gc
import ipaddress
import os
import resource
import sys
from pathlib import Path

if __name__ == "__main__":
    gc.disable()  # what is loaded now stays: to look for garbage among it takes a fifth of the start

from api.lifeline import LIFELINE
from api.settings import ApiSettings
from broker import config
from broker.settings import BrokerSettings


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def raise_file_limit() -> None:
    """Each held heartbeat is an open file; many systems begin with 1,024 and allow far more."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> None:
    """Parse the flags and serve. Exit code 2 for what cannot be served as asked."""
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
    raise_file_limit()
    lifeline = os.environ.pop(LIFELINE, None)
    # Not before: what is refused, only asks for the settings or starts others need not wait for all that serves.
    if given.workers > 1 and lifeline is None:
        from api.worker_processes import serve_with  # noqa: PLC0415

        gc.enable()
        sys.exit(serve_with(given.workers, host=given.host, port=given.port))
    from api.server import serve  # noqa: PLC0415

    gc.enable()
    serve(settings, broker_settings, host=given.host, port=given.port, lifeline=lifeline)


if __name__ == "__main__":
    main()
