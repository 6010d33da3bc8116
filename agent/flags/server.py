"""Heartbeat mode: which Performance Studio, as whom, and how often."""

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

import click

from agent.credentials import TOKEN_VARIABLE, BadToken, Secret, read_token, read_token_file
from agent.flags.options import Given, read_address, under

_MAX_INTERVAL: Final = 3_600
_MAX_WAIT: Final = 60
_MAX_TIMEOUT: Final = 600

_flag = under("Heartbeat mode")


@dataclass(frozen=True)
class Server:
    """The server, and how to speak to it.

    Attributes:
        address: without a trailing slash.
        interval: the pace when the server neither holds nor names one.
        wait: how long the server may hold a heartbeat; zero is plain polling.
        send_timeout: how long sending a result may take.
    """

    address: str
    service_name: str
    token: Secret | None = field(repr=False, default=None)
    token_file: Path | None = None
    enrolment_token_file: Path | None = None
    interval: timedelta = timedelta(seconds=30)
    wait: timedelta = timedelta(seconds=25)
    send_timeout: timedelta = timedelta(seconds=30)


# fmt: off
FLAGS: Final = (
    _flag("--enable-heartbeat-server", is_flag=True, help="Take commands from a Performance Studio by heartbeat."),
    _flag("--api-server", "--glogger-server", "api_server", callback=read_address, metavar="URL",
          help="Its address; by default that of --server-host."),
    _flag("--server-host", envvar=["GPROFILER_SERVER_HOST", "GPROFILER_SERVER"], callback=read_address, metavar="URL",
          help="The Performance Studio's address, for profiles."),
    _flag("--service-name", envvar=["GPROFILER_SERVICE_NAME", "GPROFILER_SERVICE"], metavar="NAME",
          help="The service this host belongs to."),
    _flag("--token", metavar="TOKEN",
          help=f"Authentication token; better in {TOKEN_VARIABLE} or --token-file. It is kept out of process lists."),
    _flag("--token-file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
          help="Read the token from a file, anew for each call."),
    _flag("--enrolment-token-file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
          help="Buy this host a credential of its own, once, with the enrolment token in this file."),
    _flag("--heartbeat-interval", type=click.IntRange(1, _MAX_INTERVAL), default=30, show_default=True,
          metavar="SECONDS", help="Pace of heartbeats where the server does not name one."),
    _flag("--wait", type=click.IntRange(0, _MAX_WAIT), default=25, show_default=True, metavar="SECONDS",
          help="Let the server hold a heartbeat this long, so that commands arrive at once; 0 is plain polling."),
    _flag("--server-upload-timeout", type=click.IntRange(1, _MAX_TIMEOUT), default=30, show_default=True,
          metavar="SECONDS", help="How long sending a result may take."),
)
# fmt: on


def read(given: Given) -> Server:
    """The server of heartbeat mode.

    Raises:
        click.UsageError: its address, the service or a good token is missing.
    """
    address = given["api_server"] or given["server_host"]
    if not address:
        raise click.UsageError("Heartbeat mode needs --api-server URL (or --server-host).")
    return Server(
        address=address,
        service_name=read_name("--service-name", given["service_name"]),
        token=read_secret(given),
        token_file=given["token_file"],
        enrolment_token_file=given["enrolment_token_file"],
        interval=timedelta(seconds=given["heartbeat_interval"]),
        wait=timedelta(seconds=given["wait"]),
        send_timeout=timedelta(seconds=given["server_upload_timeout"]),
    )


def read_secret(given: Given) -> Secret | None:
    """The token, from wherever it was given.

    Raises:
        click.UsageError: it is none.
    """
    try:
        if given["token_file"] is not None:
            return read_token_file(given["token_file"])
        return read_token(given["token"], source=f"--token or {TOKEN_VARIABLE}") if given["token"] is not None else None
    except BadToken as error:
        raise click.UsageError(f"{error}.") from None


def read_name(option: str, value: str | None) -> str:
    """A service or host name as the protocol wants it, checked before any beat is refused for it.

    Raises:
        click.UsageError: it is missing, or no such name.
    """
    if value is None:
        raise click.UsageError(f"Heartbeat mode and --upload-results need {option} NAME.")
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415 - the help must not pay for it

    from protocol.names import Name  # noqa: PLC0415 - likewise

    try:
        return TypeAdapter[str](Name).validate_python(value)
    except ValidationError as error:
        raise click.UsageError(f"{option} {error.errors()[0]['msg']}.") from None
