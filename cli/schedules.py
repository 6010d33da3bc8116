"""`studio schedules`: requests that are submitted by the clock."""

import json as jsonlib
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, TextIO

import click
from pydantic import BaseModel

from cli import options
from cli.errors import Usage
from cli.output import Output, answering, rows
from cli.reaching import Server, server
from protocol.schedules import SchedulePlan, ScheduleStored, ScheduleView

ID: Final = click.argument("schedule_id", metavar="ID")
COLUMNS: Final = (
    ("ID", "id"), ("NAME", "name"), ("SERVICE", "service_name"), ("CRON", "cron"), ("ZONE", "timezone"),
    ("STATE", "state"), ("NEXT", "next_fire_at"),
)  # fmt: skip


def _on_one(function: Callable[..., None]) -> Callable[..., None]:
    """A command on one schedule: which, of which API, and how to answer."""
    for decorate in (answering, server, ID):
        function = decorate(function)
    return function


@click.group(cls=options.StudioGroup)
def command() -> None:
    """Make and follow requests that are submitted by the clock."""


@command.command("list", cls=options.StudioCommand)
@answering
@server
def list_(server: Server, output: Output) -> None:
    """List the schedules, oldest first."""
    with server.client() as client:
        rows([row.model_dump(mode="json") for row in client.schedules()], COLUMNS, output, empty="no schedules")


@command.command(cls=options.StudioCommand)
@_on_one
def show(schedule_id: str, server: Server, output: Output) -> None:
    """Show a schedule and its last firings."""
    with server.client() as client:
        view = client.schedule(schedule_id)
    _show(view, output)


@command.command(cls=options.StudioCommand)
@click.option("--name", required=True)
@click.option("--cron", required=True, help="Minute, hour, day of month, month, day of week: '30 2 * * *'.")
@click.option("--timezone", default="UTC", show_default=True, help="As Europe/Berlin.")
@click.option("--service", help="Whose hosts to profile.")
@click.option("--host", "hosts", multiple=True, help="A host to profile; may be repeated.")
@click.option("--whole-service", is_flag=True, help="Every host of the service that is live when it fires.")
@click.option("--duration", type=int, help="Seconds.  [default: 60]")
@click.option("--frequency", type=int, help="Hz.  [default: 11]")
@click.option(
    "--request", "request_file", type=click.File(encoding="utf-8"), help="The request as a JSON file instead."
)
@click.option("--overlap", type=click.Choice(["skip", "allow"]), default="skip", show_default=True)
@click.option("--catch-up", type=int, default=300, show_default=True, help="Seconds within which one is made up.")
@click.option("--pause-after", type=int, default=5, show_default=True, help="Failures in a row; 0: never.")
@click.option("--dry-run", is_flag=True, help="Only say when it would fire.")
@answering
@server
def create(request_file: TextIO | None, server: Server, output: Output, **given: Any) -> None:
    """Make a schedule."""
    body = {name: given[name] for name in ("name", "cron", "timezone", "overlap", "catch_up", "pause_after", "dry_run")}
    body["request"] = _request(request_file, given)
    with server.client() as client:
        made = client.make_schedule(body)
    _show(made, output)


@command.command(cls=options.StudioCommand)
@_on_one
def pause(schedule_id: str, server: Server, output: Output) -> None:
    """Fire it no more until it is resumed."""
    with server.client() as client:
        changed = client.change_schedule(schedule_id, {"enabled": False})
    _show(changed, output)


@command.command(cls=options.StudioCommand)
@_on_one
def resume(schedule_id: str, server: Server, output: Output) -> None:
    """Fire it again, from its next moment on."""
    with server.client() as client:
        changed = client.change_schedule(schedule_id, {"enabled": True})
    _show(changed, output)


@command.command(cls=options.StudioCommand)
@_on_one
def delete(schedule_id: str, server: Server, output: Output) -> None:
    """Delete it. What it has submitted goes on."""
    with server.client() as client:
        view = client.delete_schedule(schedule_id)
    click.echo(view.model_dump_json() if output != "table" else f"deleted {view.id} ({view.name})")


def _request(file: TextIO | None, given: dict[str, Any]) -> Any:
    """The request: from the file, or from the options; the API judges it."""
    wished = {"service_name": given["service"], "duration": given["duration"], "frequency": given["frequency"]}
    asked = {name: value for name, value in wished.items() if value is not None}
    if given["hosts"]:
        asked["target_hostnames"] = list(given["hosts"])
    if given["whole_service"]:
        asked["target_scope"] = "service"
    if file is None:
        return asked
    if asked:
        raise Usage("--request and options of the request exclude each other")
    try:
        return jsonlib.load(file)
    except ValueError as error:
        raise Usage(f"{file.name} is not JSON: {error}") from None


def _show(answer: BaseModel, output: Output) -> None:
    if output != "table":
        click.echo(answer.model_dump_json())
        return
    if isinstance(answer, ScheduleView):
        facts = [
            ("id", answer.id), ("name", answer.name), ("service", answer.service_name),
            ("fires", f"{answer.cron} ({answer.timezone})"), ("state", answer.state), ("reason", answer.reason or "-"),
            ("next", _told(answer.next_fire_at)), ("owner", answer.owner),
        ]  # fmt: skip
        click.echo(_columns(facts))
        if answer.firings:
            head = ("DUE", "OUTCOME", "REQUEST", "REASON")
            rows = [
                (_told(firing.due_at), firing.outcome, firing.request_id or "-", firing.reason or "")
                for firing in answer.firings
            ]
            click.echo("\n" + _columns([head, *rows]))
    if isinstance(answer, SchedulePlan | ScheduleStored):
        for moment in answer.next_firings:
            click.echo(f"fires {_told(moment)}")
        for warning in answer.warnings:
            click.echo(f"warning: {warning}", err=True)


def _told(moment: datetime | None) -> str:
    return "-" if moment is None else moment.isoformat(sep=" ", timespec="minutes").replace("+00:00", "Z")


def _columns(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
