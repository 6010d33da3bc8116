"""What the agent was told at start: built once by the command line, handed down, never changed."""

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from agent.credentials import Secret

DEFAULT_HEARTBEAT_LOG: Final = Path("/tmp/gprofiler-heartbeat.log")  # noqa: S108 - the documented place; opened safely
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class BadServer(ValueError):
    """The server's address cannot be used; the text says why."""


@dataclass(frozen=True)
class LocalSettings:
    """One run without a server, or one after the other."""

    output_dir: Path
    duration: timedelta
    frequency_hz: int
    continuous: bool
    pids: frozenset[int] | None
    verbose: bool
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class AgentSettings:
    """Heartbeat mode.

    Attributes:
        wait: how long the server may hold a heartbeat; zero is plain polling.
        interval: the pace when the server neither holds nor names one.
        duration: of a start that does not say; likewise `frequency_hz` and `continuous`.
        notices: what was asked for and has no effect yet, to be said once.
    """

    server: str
    service_name: str
    hostname: str
    output_dir: Path
    state_dir: Path
    token: Secret | None = field(repr=False, default=None)
    token_file: Path | None = None
    enrolment_token_file: Path | None = None
    ca_bundle: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    interval: timedelta = timedelta(seconds=30)
    wait: timedelta = timedelta(seconds=25)
    send_timeout: timedelta = timedelta(seconds=30)
    duration: timedelta = timedelta(seconds=60)
    frequency_hz: int = 11
    continuous: bool = False
    keep_profiles: int = 1_000
    heartbeat_log: Path | None = DEFAULT_HEARTBEAT_LOG
    verbose: bool = False
    notices: tuple[str, ...] = ()


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
