"""`studio schedules`: requests that are submitted by the clock."""

import json as jsonlib
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TextIO

import click
from pydantic import BaseModel

from cli import options
from cli.errors import Usage
from cli.reaching import URL, client_of
from protocol.schedules import SchedulePlan, ScheduleStored, ScheduleView

AS_JSON: Final = click.option("--json", is_flag=True, help="One JSON value on stdout.")
ID: Final = click.argument("schedule_id", metavar="ID")


def _on_one(function: Callable[..., None]) -> Callable[..., None]:
    """A command on one schedule: which, of which API, and how to answer."""
    for decorate in (AS_JSON, URL, options.state_dir, ID):
        function = decorate(function)
    return function


@click.group(cls=options.StudioGroup)
def command() -> None:
    """Make and follow requests that are submitted by the clock."""


@command.command("list", cls=options.StudioCommand)
@options.state_dir
@URL
@AS_JSON
def list_(state_dir: Path | None, url: str | None, json: bool) -> None:
    """List the schedules, oldest first."""
    with client_of(url, state_dir) as client:
        rows = client.schedules()
    if json:
        click.echo(jsonlib.dumps([row.model_dump(mode="json") for row in rows]))
        return
    head = ("ID", "NAME", "SERVICE", "CRON", "ZONE", "STATE", "NEXT")
    cells = [
        (row.id, row.name, row.service_name, row.cron, row.timezone, row.state, _told(row.next_fire_at)) for row in rows
    ]
    click.echo(_columns([head, *cells]))


@command.command(cls=options.StudioCommand)
@_on_one
def show(schedule_id: str, state_dir: Path | None, url: str | None, json: bool) -> None:
    """Show a schedule and its last firings."""
    with client_of(url, state_dir) as client:
        view = client.schedule(schedule_id)
    _show(view, json=json)


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
@options.state_dir
@URL
@AS_JSON
def create(request_file: TextIO | None, state_dir: Path | None, url: str | None, json: bool, **given: Any) -> None:
    """Make a schedule."""
    body = {name: given[name] for name in ("name", "cron", "timezone", "overlap", "catch_up", "pause_after", "dry_run")}
    body["request"] = _request(request_file, given)
    with client_of(url, state_dir) as client:
        made = client.make_schedule(body)
    _show(made, json=json)


@command.command(cls=options.StudioCommand)
@_on_one
def pause(schedule_id: str, state_dir: Path | None, url: str | None, json: bool) -> None:
    """Fire it no more until it is resumed."""
    with client_of(url, state_dir) as client:
        changed = client.change_schedule(schedule_id, {"enabled": False})
    _show(changed, json=json)


@command.command(cls=options.StudioCommand)
@_on_one
def resume(schedule_id: str, state_dir: Path | None, url: str | None, json: bool) -> None:
    """Fire it again, from its next moment on."""
    with client_of(url, state_dir) as client:
        changed = client.change_schedule(schedule_id, {"enabled": True})
    _show(changed, json=json)


@command.command(cls=options.StudioCommand)
@_on_one
def delete(schedule_id: str, state_dir: Path | None, url: str | None, json: bool) -> None:
    """Delete it. What it has submitted goes on."""
    with client_of(url, state_dir) as client:
        view = client.delete_schedule(schedule_id)
    click.echo(view.model_dump_json() if json else f"deleted {view.id} ({view.name})")


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


def _show(answer: BaseModel, *, json: bool) -> None:
    if json:
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
