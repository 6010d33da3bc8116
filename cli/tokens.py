"""`studio tokens`: make, list, rotate and revoke tokens. A secret is printed once, to stdout alone."""

import json as jsonlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from cli import options
from cli.client import StudioClient
from cli.durations import DURATION
from cli.errors import BadTokens, Refused
from cli.reaching import URL, client_of
from cli.state import StateDir
from protocol.tokens import NewToken, TokenView

AS_JSON: Final = click.option("--json", is_flag=True, help="One JSON value on stdout.")
ID: Final = click.argument("token_id", metavar="ID")


@click.group(cls=options.StudioGroup)
def command() -> None:
    """Make, list, rotate and revoke tokens."""


@command.command(cls=options.StudioCommand)
@click.argument("kind", metavar="KIND", type=click.Choice(["agent", "enrolment", "viewer", "operator", "admin"]))
@click.option("--service", "services", multiple=True, required=True, help="A pattern, as 'shop-*'; may be repeated.")
@click.option("--name", default="", help="For people.")
@click.option("--description", default="", help="For people.")
@click.option("--expires-in", type=DURATION, help="As 90d, 12h, 30m or seconds.  [default: never]")
@click.option("--max-uses", type=int, help="Hosts that an enrolment token enrols.")
@options.state_dir
@URL
@AS_JSON
def create(state_dir: Path | None, url: str | None, json: bool, services: tuple[str, ...], **given: Any) -> None:
    """Make a token. Its secret is the only line on stdout; what it is goes to stderr.

    KIND is agent, enrolment, viewer, operator or admin.
    Example: studio tokens create operator --service 'shop-*' --expires-in 90d
    """
    body = {name: value for name, value in given.items() if value is not None} | {"services": list(services)}
    with client_of(url, state_dir) as client:
        _tell_secret(client.make_token(body), json=json)


@command.command("list", cls=options.StudioCommand)
@click.option("--all", "all_", is_flag=True, help="Those that are revoked or expired, too.")
@options.state_dir
@URL
@AS_JSON
def list_(state_dir: Path | None, url: str | None, json: bool, all_: bool) -> None:
    """List the tokens, oldest first, without their secrets."""
    now = datetime.now(UTC)
    with client_of(url, state_dir) as client:
        rows = [row for row in client.tokens() if all_ or state_of(row, now=now) == "valid"]
    if json:
        click.echo(jsonlib.dumps([row.model_dump(mode="json") for row in rows]))
        return
    _print_table(rows, now=now)


@command.command(cls=options.StudioCommand)
@ID
@click.option("--overlap", type=DURATION, default="1h", show_default=True, help="For how long the old one is good.")
@click.option("--expires-in", type=DURATION, help="A new end of the token.  [default: as it was]")
@options.state_dir
@URL
@AS_JSON
def rotate(
    token_id: str, state_dir: Path | None, url: str | None, json: bool, overlap: int, expires_in: int | None
) -> None:
    """Give a token another secret, which is the only line on stdout.

    A first token of the state directory is replaced there, too: what runs on it reads it from there at its next start.
    """
    wish = {"overlap": overlap} | ({"expires_in": expires_in} if expires_in is not None else {})
    state = options.chosen(state_dir) if url is None else None
    with client_of(url, state_dir) as client:
        kind = _first_token(token_id, client, state)
        rotated = client.rotate_token(token_id, wish)
    if state is not None and kind is not None:
        try:
            state.replace_token(kind, rotated.token)
        except OSError as error:
            # The one moment at which the secret can be told: an error must not swallow it.
            _tell_secret(rotated, json=json)
            raise BadTokens(f"{state.tokens_file} could not be written ({error.strerror}): put it there.") from None
        click.echo(f"studio: {state.tokens_file} has it now as {kind}", err=True)
    _tell_secret(rotated, json=json)


@command.command(cls=options.StudioCommand)
@ID
@options.state_dir
@URL
@AS_JSON
def revoke(token_id: str, state_dir: Path | None, url: str | None, json: bool) -> None:
    """Make a token worthless, within five seconds everywhere."""
    with client_of(url, state_dir) as client:
        view = client.revoke_token(token_id)
    click.echo(view.model_dump_json() if json else f"revoked {view.id} ({_label(view)})")


def state_of(token: TokenView, *, now: datetime) -> str:
    """`valid`, `expired` or `revoked`."""
    if token.revoked_at is not None:
        return "revoked"
    return "expired" if token.expires_at is not None and token.expires_at <= now else "valid"


def _first_token(token_id: str, client: StudioClient, state: StateDir | None) -> str | None:
    """Under which kind the state directory has this token, if it does."""
    for kind in ("admin", "agent") if state is not None else ():
        secret = state.token(kind) if state is not None else None
        if secret is None:
            continue
        try:
            if client.whose(secret).id == token_id:
                return kind
        except Refused:
            continue  # that one is revoked: it is not the one to be rotated
    return None


def _tell_secret(made: NewToken, *, json: bool) -> None:
    if json:
        click.echo(made.model_dump_json())
        return
    until = f", until {_told(made.expires_at)}" if made.expires_at else ""
    click.echo(f"studio: {made.kind} {made.id} of {', '.join(made.services)}{until}; it is shown this once:", err=True)
    click.echo(made.token)


def _print_table(rows: Sequence[TokenView], *, now: datetime) -> None:
    from rich.console import Console  # noqa: PLC0415 - a tenth of the start time, for tables only
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False)
    for head in ("ID", "KIND", "NAME", "SERVICES", "STATE", "EXPIRES", "LAST USED"):
        table.add_column(head, overflow="fold", no_wrap=head == "ID")
    for row in rows:
        cells = (
            row.id, row.kind, _label(row), ", ".join(row.services), state_of(row, now=now), _told(row.expires_at),
            _told(row.last_used_at),
        )  # fmt: skip
        table.add_row(*(Text(cell) for cell in cells))  # not markup: a name may hold brackets
    console = Console()
    if not console.is_terminal:
        console = Console(width=240)  # for a pipe, a row is a line
    console.print(table)


def _label(token: TokenView) -> str:
    return token.name or "-"


def _told(moment: datetime | None) -> str:
    return "-" if moment is None else moment.isoformat(sep=" ", timespec="minutes").replace("+00:00", "Z")
