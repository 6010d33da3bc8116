"""What the agent says of its host."""

import socket
from importlib.metadata import PackageNotFoundError, version
from typing import Final
from urllib.parse import urlsplit

_DISTRIBUTION: Final = "performance-studio"
_UNKNOWN_ADDRESS: Final = "127.0.0.1"


def hostname() -> str:
    """The host's name, as the operator names it in a request."""
    return socket.gethostname()


def agent_version() -> str:
    """The installed version, or `0` when run from a tree that is not installed."""
    try:
        return version(_DISTRIBUTION)
    except PackageNotFoundError:
        return "0"


def ip_address(server: str) -> str:
    """The address this host has towards the server. No packet is sent; without a route it is the loopback's."""
    parts = urlsplit(server)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        family, kind, proto, _, address = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, proto) as probe:
            probe.connect(address)
            return str(probe.getsockname()[0])
    except OSError:
        return _UNKNOWN_ADDRESS
