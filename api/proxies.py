"""Where a call comes from that a proxy hands on, as uvicorn's own middleware tells the application further in."""

from collections.abc import Iterable
from typing import Any, Final, Protocol, TypeAlias

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

Client: TypeAlias = tuple[str, int] | None
"""A client as ASGI has it; None: by a Unix socket."""
FORWARDED_FOR: Final = b"x-forwarded-for"


class Proxies(Protocol):
    """The proxies that are believed."""

    def __contains__(self, host: str | None) -> bool:
        """Whether a host is one."""

    def get_trusted_client_address(self, x_forwarded_for: str) -> tuple[str, int]:
        """Who is the last in the list that is none; the host is empty where nobody is named."""


def proxy_of(app: Any, client: Client) -> Proxies | None:
    """The proxies, if a connection is one's. `app`: as uvicorn has loaded it."""
    if not isinstance(app, ProxyHeadersMiddleware) or (client[0] if client else None) not in app.trusted_hosts:
        return None
    return app.trusted_hosts


def client_behind(proxies: Proxies, proxy: Client, headers: Iterable[tuple[bytes, bytes]]) -> Client:
    """For whom a proxy calls, as the headers say (names in lower case); the proxy itself, where they say nothing."""
    said = [value for name, value in headers if name == FORWARDED_FOR]
    if not said:
        return proxy
    host, port = proxies.get_trusted_client_address(b", ".join(said).decode("latin-1"))
    return (host, port) if host else proxy
