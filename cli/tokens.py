"""`studio tokens`: make, list, rotate and revoke tokens. A secret is printed once, to stdout alone."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from cli import options
from cli.durations import DURATION
from cli.errors import BadTokens, Refused
from cli.output import Output, age, answering, rows
from cli.reaching import Server, server
from cli.state import StateDir

if TYPE_CHECKING:
    from cli.client import StudioClient
    from protocol.tokens import NewToken, TokenView

ID: Final = click.argument("token_id", metavar="ID")
COLUMNS: Final = (
    ("ID", "id"), ("KIND", "kind"), ("NAME", "name"), ("SERVICES", "services"), ("ENDS", "ends"), ("USED", "used"),
)  # fmt: skip


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
@answering
@server
def create(server: Server, output: Output, services: tuple[str, ...], **given: Any) -> None:
    """Make a token. Its secret is the only line on stdout; what it is goes to stderr.

    KIND is agent, enrolment, viewer, operator or admin.
    Example: studio tokens create operator --service 'shop-*' --expires-in 90d
    """
    body = {name: value for name, value in given.items() if value is not None} | {"services": list(services)}
    with server.client() as client:
        _tell_secret(client.make_token(body), output)


@command.command("list", cls=options.StudioCommand)
@click.option("--all", "all_", is_flag=True, help="Those that are revoked or expired, too.")
@answering
@server
def list_(server: Server, output: Output, all_: bool) -> None:
    """List the tokens, oldest first, without their secrets."""
    now = datetime.now(UTC)
    with server.client() as client:
        found = [row for row in client.tokens() if all_ or state_of(row, now=now) == "valid"]
    told = [row.model_dump(mode="json") for row in found]
    if output == "table":
        for fields, row in zip(told, found, strict=True):
            state = state_of(row, now=now)
            fields |= {"ends": row.expires_at or "never" if state == "valid" else state}
            fields |= {"used": f"{age(row.last_used_at, now)} ago" if row.last_used_at else "never"}
    rows(told, COLUMNS, output)


@command.command(cls=options.StudioCommand)
@ID
@click.option("--overlap", type=DURATION, default="1h", show_default=True, help="For how long the old one is good.")
@click.option("--expires-in", type=DURATION, help="A new end of the token.  [default: as it was]")
@answering
@server
def rotate(token_id: str, server: Server, output: Output, overlap: int, expires_in: int | None) -> None:
    """Give a token another secret, which is the only line on stdout.

    A first token of the state directory is replaced there, too: what runs on it reads it from there at its next start.
    """
    wish = {"overlap": overlap} | ({"expires_in": expires_in} if expires_in is not None else {})
    state = server.state
    with server.client() as client:
        kind = _first_token(token_id, client, state)
        rotated = client.rotate_token(token_id, wish)
    if state is not None and kind is not None:
        try:
            state.replace_token(kind, rotated.token)
        except OSError as error:
            # The one moment at which the secret can be told: an error must not swallow it.
            _tell_secret(rotated, output)
            raise BadTokens(f"{state.tokens_file} could not be written ({error.strerror}): put it there.") from None
        click.echo(f"studio: {state.tokens_file} has it now as {kind}", err=True)
    _tell_secret(rotated, output)


@command.command(cls=options.StudioCommand)
@ID
@answering
@server
def revoke(token_id: str, server: Server, output: Output) -> None:
    """Make a token worthless, within five seconds everywhere."""
    with server.client() as client:
        view = client.revoke_token(token_id)
    click.echo(view.model_dump_json() if output != "table" else f"revoked {view.id} ({_label(view)})")


def state_of(token: "TokenView", *, now: datetime) -> str:
    """`valid`, `expired` or `revoked`."""
    if token.revoked_at is not None:
        return "revoked"
    return "expired" if token.expires_at is not None and token.expires_at <= now else "valid"


def _first_token(token_id: str, client: "StudioClient", state: StateDir | None) -> str | None:
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


def _tell_secret(made: "NewToken", output: Output) -> None:
    if output != "table":
        click.echo(made.model_dump_json())
        return
    until = f", until {_told(made.expires_at)}" if made.expires_at else ""
    click.echo(f"studio: {made.kind} {made.id} of {', '.join(made.services)}{until}; it is shown this once:", err=True)
    click.echo(made.token)


def _label(token: "TokenView") -> str:
    return token.name or "-"


def _told(moment: datetime | None) -> str:
    return "-" if moment is None else moment.isoformat(sep=" ", timespec="minutes").replace("+00:00", "Z")
