"""`studio commands`: what the hosts are to do."""

import itertools

import click

from cli import completing, options
from cli.output import Output, answering, rows
from cli.reaching import Server, server
from protocol.lifecycle import State

COLUMNS = (
    ("HOST", "hostname"), ("SERVICE", "service_name"), ("KIND", "command_type"), ("STATE", "state"),
    ("ID", "command_id"),
)  # fmt: skip


@click.group(cls=options.StudioGroup)
def command() -> None:
    """List what the hosts are to do."""


@command.command("list", cls=options.StudioCommand)
@click.option("--service", "service_name", help="Only of this service.", shell_complete=completing.services)
@click.option("--host", "hostname", help="Only of this host.")
@click.option("--state", type=click.Choice([state.value for state in State]), help="Only those that stand so.")
@click.option("--kind", "command_type", type=click.Choice(["start", "stop"]), help="Only these.")
@click.option(
    "-n", "--limit", type=click.IntRange(1, 1_000_000), default=100, show_default=True, help="At most so many."
)
@answering
@server
def list_(server: Server, output: Output, limit: int, **query: str | None) -> None:
    """List each host's command, or what it was last, by the host's name."""
    asked: dict[str, str | list[str]] = {name: value for name, value in query.items() if value is not None}
    with server.client() as client:
        found = client.commands(asked | {"sort": "hostname", "limit": str(min(limit, 1_000))})
        listed = (row.model_dump(mode="json") for row in itertools.islice(found, limit))
        rows(listed, COLUMNS, output, empty="no command within the last seven days")
