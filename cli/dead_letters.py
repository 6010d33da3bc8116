"""`studio dead-letters`: what was given up on, and trying it anew."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from cli import options
from cli.errors import Refused, Usage
from cli.output import Output, age, answering, printable, rows, told
from cli.reaching import Server, server

if TYPE_CHECKING:
    from cli.answers import DeadLetter
    from cli.client import StudioClient

COLUMNS = (
    ("ID", "id"), ("KIND", "kind"), ("SERVICE", "service_name"), ("HOST", "hostname"), ("TRIED", "attempts"),
    ("AGE", "age"), ("REASON", "reason"),
)  # fmt: skip
NOTHING = "nothing was given up on"
KIND = click.option("--kind", type=click.Choice(["command", "doorbell", "notification"]), help="Only these.")
SERVICE = click.option("--service", "service_name", help="Only of this service.")


@click.group(cls=options.StudioGroup)
def command() -> None:
    """List, show and replay what was given up on."""


@command.command("list", cls=options.StudioCommand)
@SERVICE
@KIND
@answering
@server
def list_(server: Server, output: Output, **query: str | None) -> None:
    """List the letters, the newest first. One that was replayed is no longer listed."""
    now = datetime.now(UTC)
    with server.client() as client:
        found = _letters(client, query)
    listed = [row.model_dump(mode="json") | ({"age": age(row.at, now)} if output == "table" else {}) for row in found]
    rows(listed, COLUMNS, output, empty=NOTHING)


@command.command(cls=options.StudioCommand)
@click.argument("letter_id", metavar="ID")
@answering
@server
def show(letter_id: str, server: Server, output: Output) -> None:
    """Show one whole."""
    with server.client() as client:
        letter = next((each for each in _letters(client, {}) if each.id == letter_id), None)
    if letter is None:
        raise Usage(f"there is no dead letter {letter_id}, or it was replayed")
    if output != "table":
        click.echo(letter.model_dump_json())
        return
    for name, value in letter.model_dump().items():
        click.echo(f"{name.replace('_', ' '):<12}  {printable(told(value))}")


@command.command(cls=options.StudioCommand)
@click.argument("letter_ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "all_", is_flag=True, help="All that is listed.")
@SERVICE
@KIND
@answering
@server
@click.pass_context
def replay(
    ctx: click.Context, /, letter_ids: tuple[str, ...], all_: bool, server: Server, output: Output, **query: str | None
) -> None:
    """Try it anew, once: a command becomes a new request. Exit code 5 where only some could be."""
    if bool(letter_ids) == all_:
        raise Usage("say which by their ids, or --all")
    done: list[dict[str, Any]] = []
    refused: list[Refused] = []
    with server.client() as client:
        wanted = list(letter_ids) or [each.id for each in _letters(client, query)]
        for letter_id in wanted:
            try:
                replayed = client.replay(letter_id)
            except Refused as refusal:
                refused.append(refusal)
                click.echo(f"studio: {letter_id}: {refusal}", err=True)
                continue
            done.append(replayed.model_dump())
            if output == "table":
                more = f": request {replayed.request_id}" if replayed.request_id else ""
                click.echo(f"replayed {replayed.id} ({replayed.kind}){more}")
    if output != "table":
        rows(done, COLUMNS, output)
    elif not wanted:
        click.echo(NOTHING, err=True)
    if refused:
        ctx.exit(5 if len(refused) < len(wanted) else refused[0].exit_code)


def _letters(client: "StudioClient", query: dict[str, str | None]) -> "list[DeadLetter]":
    asked: dict[str, str | list[str]] = {name: value for name, value in query.items() if value is not None}
    return client.dead_letters(asked | {"sort": "-at", "limit": "1000"})
