"""The server's address: what one is, and what is safe to send there."""

from typing import Final
from urllib.parse import urlsplit

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class BadServer(ValueError):
    """The server's address cannot be used; the text says why."""


def read_server(url: str) -> str:
    """The server's address without a trailing slash.

    Raises:
        BadServer: it is no http(s) address, or carries credentials, which would end up in logs.
    """
    try:
        parts = urlsplit(url.strip())
        port_is_valid = parts.port is None or parts.port > 0
    except ValueError:
        raise BadServer("it is not an address") from None
    if parts.username is not None or parts.password is not None:
        raise BadServer("leave user and password out of it; give a token with --token-file or GPROFILER_TOKEN")
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_valid:
        raise BadServer(f"{url.strip()[:200]!r} is not an http:// or https:// address")
    if parts.query or parts.fragment:
        raise BadServer("it must not have a query or a fragment")
    return url.strip().rstrip("/")


def sends_in_clear(server: str) -> bool:
    """Whether a token sent there can be read on the way."""
    parts = urlsplit(server)
    return parts.scheme == "http" and parts.hostname not in _LOOPBACK
