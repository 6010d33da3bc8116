"""`studio results tail`: what becomes of commands, as it happens."""

import json
from typing import TYPE_CHECKING, Any

import click

from cli import options
from cli.output import Output, answering, printable, told
from cli.reaching import Server, server

if TYPE_CHECKING:
    from cli.event_stream import Event

INTERRUPTED = 130
ASIDE = frozenset({"hello", "beat", "snapshot"})


@click.group(cls=options.StudioGroup)
def command() -> None:
    """Follow what becomes of commands, as it happens."""


@command.command(cls=options.StudioCommand)
@click.option("--service", "service_name", help="Only of this service.")
@click.option("--host", "hostname", help="Only of this host.")
@click.option("--request", "request_id", help="Only of this request.")
@click.option(
    "--kinds", default="command", show_default=True, help="Some of request, command, host, audit, with commas."
)
@click.option("--after", metavar="EVENT", help="Go on after this event: nothing is missed, nothing told twice.")
@click.option("-n", "--limit", type=click.IntRange(min=1), help="End after so many.  [default: go on until Ctrl-C]")
@answering
@server
@click.pass_context
def tail(
    ctx: click.Context, /, server: Server, output: Output, after: str | None, limit: int | None, **query: str | None
) -> None:
    """Follow every step of every command. With -o ndjson each line has the `id` that --after takes.

    It goes on by itself after a restart of the API, from where it was.
    """
    from cli.event_stream import follow  # noqa: PLC0415 - no help needs it

    asked = {name: value for name, value in query.items() if value is not None}
    last, seen = after, 0
    try:
        with server.client() as client:
            for event in follow(client, asked, after=after, tell=lambda text: click.echo(f"studio: {text}", err=True)):
                last = event.id or last
                if event.kind == "snapshot":
                    click.echo(f"studio: some events were missed ({event.data.get('reason')})", err=True)
                if event.kind in ASIDE:
                    continue
                _show(event, output)
                seen += 1
                if limit is not None and seen >= limit:
                    return
    except KeyboardInterrupt:
        if last is not None:
            click.echo(f"\nstudio: to go on from here: --after {last}", err=True)
        ctx.exit(INTERRUPTED)


def _show(event: "Event", output: Output) -> None:
    if output != "table":
        click.echo(json.dumps({"kind": event.kind, "id": event.id, **event.data}))
    else:
        click.echo(line(event.kind, event.data))


def line(kind: str, data: dict[str, Any]) -> str:
    """An event as a line: when, where, what, and why."""
    where = "/".join(filter(None, (data.get("service_name"), data.get("hostname"))))
    what = data.get("state") or data.get("event") or " ".join(filter(None, (data.get("outcome"), data.get("action"))))
    samples = f"{data['samples']} samples" if data.get("samples") is not None else ""
    more = " ".join(filter(None, (samples, data.get("reason"))))
    return printable(f"{told(data.get('at'))[11:]}  {kind:<7}  {where}  {what}  {more}".rstrip())
