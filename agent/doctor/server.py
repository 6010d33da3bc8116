"""Whether the server can be reached, layer by layer, and whether it takes this host's token, service and clock."""

import fnmatch
import socket
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import quote, urlsplit

from agent.certificates import Certificates
from agent.credentials import Secret
from agent.doctor.findings import Finding
from agent.transport import Answer, Transport, Unreachable, ssl_context

PATIENCE: Final = 5.0
"""Seconds for each layer."""
CLOCK_TOLERANCE: Final = timedelta(seconds=5)
EXPIRES_SOON: Final = timedelta(days=14)
READERS: Final = frozenset({"viewer", "operator", "admin"})
_OK: Final = 200
_UNAUTHORISED: Final = 401
_NOT_FOUND: Final = 404


async def examine(
    server: str,
    *,
    token: Secret | None,
    service: str | None,
    hostname: str,
    certificates: Certificates,
    user_agent: str,
) -> AsyncIterator[Finding]:
    """Each layer in turn; what needs a layer that is bad is not looked at."""
    parts = urlsplit(server)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    addresses = _resolved(host, port)
    yield addresses if isinstance(addresses, Finding) else _named(host, addresses)
    if isinstance(addresses, Finding):
        return
    connected = _connected(addresses, host, port)
    yield connected
    if connected.verdict == "bad":
        return
    if parts.scheme == "https":
        encrypted = _encrypted(host, port, certificates)
        yield encrypted
        if encrypted.verdict == "bad":
            return
    line = Transport(
        server, token=lambda: token, user_agent=user_agent, ca_bundle=certificates.ca_bundle,
        client_cert=certificates.client_cert, client_key=certificates.client_key,
        send_timeout=timedelta(seconds=PATIENCE),
    )  # fmt: skip
    try:
        async for finding in _spoken_to(line, server, token=token, service=service, hostname=hostname):
            yield finding
    finally:
        await line.aclose()


def _resolved(host: str, port: int) -> list[Any] | Finding:
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        return Finding(
            "DNS", "bad", f"{host} has no address: {error.strerror}",
            "is the name in --api-server right, and does /etc/resolv.conf name a server?",
        )  # fmt: skip


def _named(host: str, addresses: list[Any]) -> Finding:
    found = list(dict.fromkeys(str(address[4][0]) for address in addresses))
    return Finding("DNS", "ok", host if found == [host] else f"{host} is {', '.join(found[:3])}")


def _connected(addresses: list[Any], host: str, port: int) -> Finding:
    why = "no address"
    for family, kind, proto, _, address in addresses:
        began = time.monotonic()
        try:
            with socket.socket(family, kind, proto) as probe:
                probe.settimeout(PATIENCE)
                probe.connect(address)
        except OSError as error:
            why = error.strerror or type(error).__name__
            continue
        return Finding("TCP", "ok", f"port {port} answers in {(time.monotonic() - began) * 1_000:.0f} ms")
    return Finding(
        "TCP", "bad", f"port {port} of {host} cannot be reached: {why}",
        "is the server running, is the port right, and does a firewall let this host through?",
    )  # fmt: skip


def _encrypted(host: str, port: int, certificates: Certificates) -> Finding:
    try:
        context = ssl_context(certificates)
    except OSError as error:  # ssl.SSLError is one
        return Finding(
            "TLS", "bad", f"the certificates of this host cannot be used: {_plain(error)}",
            "do --client-cert and --client-key belong together, and may this user read them and --ca-bundle?",
        )  # fmt: skip
    try:
        with (
            socket.create_connection((host, port), timeout=PATIENCE) as plain,
            context.wrap_socket(plain, server_hostname=host) as line,
        ):
            shown = line.getpeercert() or {}
            version = line.version()
    except ssl.SSLCertVerificationError as error:
        return Finding(
            "TLS", "bad", f"the server's certificate is not trusted: {error.verify_message}",
            "name the authority that vouches for it by --ca-bundle, and the server by the name in its certificate",
        )  # fmt: skip
    except OSError as error:
        return Finding(
            "TLS", "bad", f"no encrypted connection: {_plain(error)}",
            "does the server speak https on this port, and does it ask for a --client-cert?",
        )  # fmt: skip
    left = _time_left(shown)
    if left is not None and left < EXPIRES_SOON:
        return Finding("TLS", "note", f"{version}; the server's certificate ends in {left.days} days", "renew it there")
    return Finding("TLS", "ok", f"{version}, trusted" + (f" for {left.days} days more" if left is not None else ""))


def _time_left(shown: Mapping[str, Any]) -> timedelta | None:
    ends = shown.get("notAfter")
    if not isinstance(ends, str):
        return None
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(ends), UTC) - datetime.now(UTC)


async def _spoken_to(
    line: Transport, server: str, *, token: Secret | None, service: str | None, hostname: str
) -> AsyncIterator[Finding]:
    before = datetime.now(UTC)
    try:
        health = await line.ask("/api/v1/health_check", token=None)
    except Unreachable as error:
        yield Finding("HTTP", "bad", str(error), "is it a proxy's address? NO_PROXY takes a host out of it")
        return
    after = datetime.now(UTC)
    yield _answered(health, server)
    yield clock(health.date, before=before, after=after)
    if health.status != _OK:
        return
    try:
        whoami = await line.ask("/api/v1/tokens/self", token=token)
        yield of_token(whoami, token=token)
        yield of_service(service, whoami)
        yield await _known(line, whoami, token=token, service=service, hostname=hostname)
    except Unreachable as error:
        yield Finding("token", "bad", str(error), "the server went away while it was asked")


def _answered(health: Answer, server: str) -> Finding:
    if health.status == _OK:
        return Finding("HTTP", "ok", f"{server} serves")
    return Finding(
        "HTTP", "bad", f"{server} answers {health.status} {health.detail}".rstrip(),
        "is it the address of a Performance Studio's API, without a path?",
    )  # fmt: skip


def clock(date: str | None, *, before: datetime, after: datetime) -> Finding:
    """This host's clock against the server's, which tells whole seconds."""
    try:
        theirs = parsedate_to_datetime(date or "").astimezone(UTC)
    except (ValueError, TypeError):
        return Finding("clock", "note", "the server does not tell its time")
    off = max(theirs - after, before - theirs - timedelta(seconds=1), timedelta(0))
    tolerated = f"{CLOCK_TOLERANCE.total_seconds():.0f} s are tolerated"
    if off <= CLOCK_TOLERANCE:
        return Finding("clock", "ok", f"as the server's; {tolerated}")
    which = "behind" if theirs > after else "ahead of"
    return Finding(
        "clock", "bad", f"{off.total_seconds():.0f} s {which} the server's; {tolerated}",
        "have chrony or systemd-timesyncd set it: requests that start together start by it",
    )  # fmt: skip


def of_token(whoami: Answer, *, token: Secret | None) -> Finding:
    """Whether the server takes the token, and what it is for."""
    said = whoami.body if isinstance(whoami.body, dict) else {}
    if whoami.status == _OK:
        if token is None:
            return Finding("token", "note", "none is given, and the server asks for none", "a server for others should")
        kind, name = said.get("kind"), said.get("name")
        about = f"good: kind {kind}" + (f", named {name}" if name else "") + _until(said)
        fits = kind in {"agent", "admin"}
        advice = "" if fits else "heartbeats need a token of kind agent, or --enrolment-token-file"
        return Finding("token", "ok" if fits else "bad", about, advice)
    if whoami.status == _UNAUTHORISED:
        said_of_it = ("none is given", "--token-file FILE, or GPROFILER_TOKEN")
        if token is not None:
            said_of_it = ("the server does not know it, or it has ended", "ask its operator for another")
        return Finding("token", "bad", *said_of_it)
    if whoami.status == _NOT_FOUND:
        return Finding("token", "note", "this server does not tell what a token is; its first heartbeat will")
    return Finding(
        "token", "bad", f"the server answers {whoami.status} {whoami.detail}".rstrip(), "see the server's log"
    )


def _until(said: Mapping[str, Any]) -> str:
    ends = said.get("expires_at")
    return f", until {str(ends)[:10]}" if ends else ""


def of_service(service: str | None, whoami: Answer) -> Finding:
    """Whether there is a service's name, and the token covers it."""
    if not service:
        return Finding("service", "bad", "no name is given", "--service-name NAME, as operators ask for it")
    said = whoami.body if isinstance(whoami.body, dict) else {}
    covered = said.get("services")
    if whoami.status != _OK or not isinstance(covered, list):
        return Finding("service", "note", f"{service}; whether the token covers it is not known")
    if any(fnmatch.fnmatchcase(service, str(pattern)) for pattern in covered):
        return Finding("service", "ok", f"{service}, which the token covers")
    patterns = ", ".join(str(pattern) for pattern in covered[:5])
    return Finding(
        "service", "bad", f"{service} is not among those of the token: {patterns}",
        "correct --service-name, or use a token for it",
    )  # fmt: skip


async def _known(
    line: Transport, whoami: Answer, *, token: Secret | None, service: str | None, hostname: str
) -> Finding:
    """What the server knows of this host, where the token may ask."""
    said = whoami.body if isinstance(whoami.body, dict) else {}
    if whoami.status != _OK or said.get("kind") not in READERS or not service:
        return Finding("at the server", "note", f"this token may not ask how it sees {hostname}; an operator's may")
    answer = await line.ask(f"/api/v1/hosts?service_name={quote(service, safe='')}&limit=1000", token=token)
    items = answer.body.get("items", []) if isinstance(answer.body, dict) else []
    seen = next((item for item in items if isinstance(item, dict) and item.get("hostname") == hostname), None)
    if seen is None:
        return Finding(
            "at the server", "note", f"{hostname} is not known to it as a host of {service}",
            "start the agent: its first heartbeat makes it known, under this name",
        )  # fmt: skip
    return Finding("at the server", "ok", f"{hostname} is {seen.get('status')}, last seen {seen.get('last_beat')}")


def _plain(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or type(error).__name__
