"""`studio schedules`: requests that are submitted by the clock."""

import json as jsonlib
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import click

from cli import completing, options
from cli.durations import DURATION
from cli.errors import Usage
from cli.output import Output, answering, rows
from cli.profiling import RUN, all_of, settings
from cli.reaching import Server, server
from cli.targets import WHOM, are_meant, body_of_targets, targets

if TYPE_CHECKING:
    from protocol.schedules import SchedulePlan, ScheduleView

ID: Final = click.argument("schedule_id", metavar="ID")
COLUMNS: Final = (
    ("ID", "id"), ("NAME", "name"), ("SERVICE", "service_name"), ("CRON", "cron"), ("NEXT", "next"),
)  # fmt: skip


def _on_one(function: Callable[..., None]) -> Callable[..., None]:
    """A command on one schedule: which, of which API, and how to answer."""
    for decorate in (answering, server, ID):
        function = decorate(function)
    return function


FIELDS: Final = (
    click.option("--name", help="What it is called."),
    click.option("--cron", help="Minute, hour, day of month, month, day of week: '30 2 * * *'."),
    click.option("--timezone", help="As Europe/Berlin.  [default: UTC]"),
    click.option("--overlap", type=click.Choice(["skip", "allow"]), help="While the former is open.  [default: skip]"),
    click.option("--catch-up", type=DURATION, help="A missed one is made up for within this.  [default: 5m]"),
    click.option("--pause-after", type=int, help="Failures in a row; 0: never.  [default: 5]"),
    click.option("--enabled/--paused", "enabled", default=None, help="Whether it fires.  [default: --enabled]"),
    click.option("--dry-run", is_flag=True, help="Only say when it would fire."),
    click.option("--request", "request_file", type=click.File(encoding="utf-8"), help="The request as a JSON file."),
    click.option("--service", help="Whose hosts it is for.", shell_complete=completing.services),
    click.option("--stop", "is_stop", is_flag=True, help="Stop what is profiled, rather than profile."),
    click.option("--whole-service", "all_", is_flag=True, hidden=True, help="As --all."),
)


@click.group(cls=options.StudioGroup)
def command() -> None:
    """Make and follow requests that are submitted by the clock."""


@command.command("list", cls=options.StudioCommand)
@answering
@server
def list_(server: Server, output: Output) -> None:
    """List the schedules, oldest first."""
    with server.client() as client:
        found = [row.model_dump(mode="json") for row in client.schedules()]
    if output == "table":
        found = [{**row, "next": row["next_fire_at"] if row["state"] == "active" else row["state"]} for row in found]
    rows(found, COLUMNS, output, empty="no schedules")


@command.command(cls=options.StudioCommand)
@_on_one
def show(schedule_id: str, server: Server, output: Output) -> None:
    """Show a schedule and its last firings."""
    with server.client() as client:
        view = client.schedule(schedule_id)
    _show(view, output)


def _fields(function: Callable[..., None]) -> Callable[..., None]:
    """The options of a schedule and of what it asks for."""
    return all_of(FIELDS)(targets(all_of(RUN)(answering(server(function)))))


@command.command(cls=options.StudioCommand)
@_fields
def create(server: Server, output: Output, **given: Any) -> None:
    """Make a schedule: its request by options, as `studio profile` has them, or by --request.

    Example: studio schedules create --name nightly --cron '0 3 * * *' --service checkout --all
    """
    missing = [f"--{name}" for name in ("name", "cron") if given[name] is None]
    if missing:
        raise Usage(f"a schedule needs {' and '.join(missing)}")
    body = _said(given) | {"request": _request(given)}
    with server.client() as client:
        made = client.make_schedule(body)
    _show(made, output)


@command.command(cls=options.StudioCommand)
@ID
@_fields
def change(schedule_id: str, server: Server, output: Output, **given: Any) -> None:
    """Change what is said of a schedule and of what it asks for, and leave the rest.

    From now on it fires with the rights of the token that changed it.
    """
    said, asked = _said(given), _request(given)
    with server.client() as client:
        if asked and given["request_file"] is None:
            former = client.schedule(schedule_id).request
            kept = {name: former[name] for name in former if not (are_meant(given) and name in WHOM)}
            asked = kept | asked
        changed = client.change_schedule(schedule_id, said | ({"request": asked} if asked else {}))
    _show(changed, output)


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


def _said(given: dict[str, Any]) -> dict[str, Any]:
    """The fields of the schedule itself that were said."""
    names = ("name", "cron", "timezone", "overlap", "catch_up", "pause_after", "enabled")
    said = {name: given[name] for name in names if given[name] is not None}
    return said | ({"dry_run": True} if given["dry_run"] else {})


def _request(given: dict[str, Any]) -> Any:
    """The request: from the file, or from the options; the API judges it."""
    file, is_stop = given["request_file"], given["is_stop"]
    asked: dict[str, Any] = settings(given)
    if given["service"] is not None:
        asked["service_name"] = given["service"]
    if is_stop:
        asked["command_type"] = "stop"
    if are_meant(given):
        asked |= body_of_targets(given, sample=given["sample"])
    if file is None:
        return asked
    if asked:
        raise Usage("--request and options of the request exclude each other")
    try:
        return jsonlib.load(file)
    except ValueError as error:
        raise Usage(f"{file.name} is not JSON: {error}") from None


def _show(answer: "SchedulePlan | ScheduleView", output: Output) -> None:
    from protocol.schedules import SchedulePlan, ScheduleStored, ScheduleView  # noqa: PLC0415 - no help needs it

    if output != "table":
        click.echo(answer.model_dump_json())
        return
    if isinstance(answer, ScheduleView):
        facts = [
            ("id", answer.id), ("name", answer.name), ("service", answer.service_name),
            ("fires", f"{answer.cron} ({answer.timezone})"), ("state", answer.state), ("reason", answer.reason or "-"),
            ("next", _told(answer.next_fire_at)), ("owner", answer.owner), ("overlap", answer.overlap),
            ("made up", f"within {answer.catch_up} s"),
            ("pauses", f"after {answer.pause_after} failures in a row" if answer.pause_after else "never"),
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
