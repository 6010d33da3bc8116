"""`studio hosts`: the fleet, and one host of it."""

from datetime import UTC, datetime

import click

from cli import completing, options
from cli.output import Output, age, answering, printable, rows, table, told
from cli.reaching import Server, server

COLUMNS = (
    ("HOST", "hostname"), ("SERVICE", "service_name"), ("STATUS", "status"), ("AGENT", "agent_version"),
    ("DOES", "agent_status"), ("SEEN", "age"),
)  # fmt: skip


@click.group(cls=options.StudioGroup)
def command() -> None:
    """List the fleet, and show one host."""


@command.command("list", cls=options.StudioCommand)
@click.option("--service", "service_name", help="Only of this service.", shell_complete=completing.services)
@click.option("--host", "hostname", help="Only this one, of whatever service.", shell_complete=completing.hosts)
@click.option("--status", type=click.Choice(["online", "stale"]), help="Only those that stand so.")
@answering
@server
def list_(server: Server, output: Output, **query: str | None) -> None:
    """List hosts by name. SEEN is how long ago the last heartbeat came."""
    asked: dict[str, str | list[str]] = {name: value for name, value in query.items() if value is not None}
    now = datetime.now(UTC)
    with server.client() as client:
        found = client.hosts(asked | {"sort": "hostname"})
    listed = [
        row.model_dump(mode="json") | ({"age": age(row.last_beat, now)} if output == "table" else {}) for row in found
    ]
    rows(listed, COLUMNS, output, empty="no such host")


@command.command(cls=options.StudioCommand)
@click.argument("service", shell_complete=completing.services)
@click.argument("hostname", metavar="HOST", shell_complete=completing.hosts)
@answering
@server
def show(service: str, hostname: str, server: Server, output: Output) -> None:
    """Show a host: what it does, and the commands that have ended there, newest first."""
    with server.client() as client:
        host = client.host(service, hostname)
    if output != "table":
        click.echo(host.model_dump_json())
        return
    facts = {
        "host": f"{host.hostname} of {host.service_name}", "status": f"{host.status}, {host.agent_status or '-'}",
        "agent": host.agent_version or "-", "address": host.ip_address or "-", "last heartbeat": told(host.last_beat),
        "belongs to": f"{host.owner or '-'}{' (a credential of its own)' if host.enrolled else ''}",
        "open requests": str(host.open_requests),
    }  # fmt: skip
    if host.command is not None:
        facts["command"] = f"{host.command.command_type} {host.command.command_id}: {host.command.state}"
    for name, value in facts.items():
        click.echo(f"{name:<14}  {printable(value)}")
    if host.history:
        click.echo()
        cells = [(each.command_id, each.command_type, each.outcome, told(each.ended_at)) for each in host.history]
        table(("ID", "KIND", "OUTCOME", "ENDED"), cells)
