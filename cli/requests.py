"""`studio requests`: the requests of the last seven days, each host by host, and their flame graphs."""

import itertools
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from cli import options
from cli.durations import DURATION
from cli.output import Output, age, answering, rows
from cli.reaching import Server, server
from protocol.lifecycle import State

ID: Final = click.argument("request_id", metavar="ID")
COLUMNS: Final = (
    ("ID", "request_id"), ("SERVICE", "service_name"), ("KIND", "command_type"), ("STATUS", "status"),
    ("HOSTS", "hosts_total"), ("AGE", "age"),
)  # fmt: skip
OF_HOSTS: Final = (("HOST", "hostname"), ("STATUS", "status"), ("WHAT", "what"))


@click.group(cls=options.StudioGroup)
def command() -> None:
    """List, show and follow requests, and draw what has come of them."""


@command.command("list", cls=options.StudioCommand)
@click.option("--service", "service_name", help="Only of this service.")
@click.option("--kind", "command_type", type=click.Choice(["start", "stop"]), help="Only these.")
@click.option("-n", "--limit", type=click.IntRange(1, 100_000), default=20, show_default=True, help="At most so many.")
@answering
@server
def list_(server: Server, output: Output, limit: int, **query: str | None) -> None:
    """List requests, the newest first."""
    asked = {name: value for name, value in query.items() if value is not None} | {"limit": str(min(limit, 1_000))}
    now = datetime.now(UTC)
    with server.client() as client:
        found = (
            row.model_dump(mode="json") | ({"age": age(row.accepted_at, now)} if output == "table" else {})
            for row in itertools.islice(client.requests(asked), limit)
        )
        rows(found, COLUMNS, output, empty="no requests within the last seven days")


@command.command(cls=options.StudioCommand)
@ID
@click.option(
    "--status", "states", multiple=True, type=click.Choice([state.value for state in State]), metavar="STATE",
    help="Only hosts that stand so, as failed; may be repeated.",
)  # fmt: skip
@answering
@server
def show(request_id: str, server: Server, output: Output, states: tuple[str, ...]) -> None:
    """Show a request as it stands, host by host."""
    from cli.outcomes import whole  # noqa: PLC0415 - no help needs it
    from cli.verdicts import sentence  # noqa: PLC0415 - likewise

    with server.client() as client:
        if states:
            told = client.request(request_id, hosts=0)
            progress = told.model_copy(update={"hosts": list(client.hosts_of(request_id, states=states))})
        else:
            progress = whole(client, client.request(request_id))
    if output == "json":
        click.echo(progress.model_dump_json())
        return
    found = [host.model_dump(mode="json") | {"what": sentence(host)} for host in progress.hosts]
    if output == "table":
        click.echo(f"{progress.command_type} for {progress.service_name}: {progress.status}")
    rows(found, OF_HOSTS, output, empty="no host of it stands so")


@command.command(cls=options.StudioCommand)
@ID
@click.option("--timeout", type=DURATION, help="How long to wait; the request goes on.  [default: to its end]")
@click.option("-q", "--quiet", is_flag=True, help="No bars, no progress; the answer alone.")
@answering
@server
@click.pass_context
def follow(ctx: click.Context, /, request_id: str, server: Server, output: Output, **given: Any) -> None:
    """Follow a request to its end, with the exit code of `studio profile`."""
    from cli.outcomes import Wishes, follow_request  # noqa: PLC0415 - no help needs it

    with server.client() as client:
        told = client.request(request_id, hosts=0)
        wishes = Wishes(output=output, draws=told.command_type == "start", **given)
        ctx.exit(follow_request(client, request_id, wishes))


@command.command(cls=options.StudioCommand)
@ID
@click.option(
    "-o", "--output", "files", multiple=True, type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="By its ending: flame.svg, .html, .pb.gz, .json, .speedscope.json, .collapsed. May be repeated.",
)  # fmt: skip
@click.option("--open", "open_", is_flag=True, help="Open it in a browser.")
@server
def flame(request_id: str, server: Server, files: tuple[Path, ...], open_: bool) -> None:
    """Draw the flame graph of what has come of a request so far, all its hosts in one."""
    from cli import flame_graphs  # noqa: PLC0415 - no help needs it

    for file in files:
        flame_graphs.ending_of(file)
    with server.client() as client:
        graph = flame_graphs.find(client, client.request(request_id))
        if graph is None:
            raise flame_graphs.NoFlameGraph(f"request {request_id} has left no profile on the server, or not yet")
        for file in files:
            flame_graphs.save(client, graph, file)
            click.echo(str(file))
        if open_:
            page, opened = flame_graphs.show(client, graph)
            click.echo(f"studio: {'opened' if opened else 'no browser here; it is'} {page}", err=True)
        if not files and not open_:
            click.echo(graph.url)


@click.command("cancel", cls=options.StudioCommand)
@click.argument("request_ids", metavar="ID...", nargs=-1, required=True)
@answering
@server
def cancel(request_ids: tuple[str, ...], server: Server, output: Output) -> None:
    """Withdraw requests from all their hosts. What others asked of the same hosts goes on."""
    with server.client() as client:
        for request_id in request_ids:
            cancelled = client.cancel(request_id)
            click.echo(cancelled.message if output == "table" else cancelled.model_dump_json())
