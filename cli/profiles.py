"""`studio profiles`: list and delete stored profiles, pack their index, make it anew."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click

from cli import options
from cli.handing_over import hand_over
from cli.output import Output, answering, rows
from cli.reaching import Server, local_state, server

MODULE: Final = "workers.reindex_profiles"
LONGEST: Final = timedelta(days=31)
"""What the API answers at once."""
DAY: Final = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"])
SERVICE: Final = click.option("--service", required=True, help="Whose profiles.")
SINCE: Final = click.option("--since", type=DAY, required=True, help="That began then or later, UTC.")
UNTIL: Final = click.option("--until", type=DAY, help="And before then.  [default: now]")
COLUMNS: Final = (
    ("ID", "profile_id"), ("BEGAN", "started_at"), ("HOST", "hostname"), ("MODE", "profiling_mode"),
    ("SAMPLES", "samples"),
)  # fmt: skip
FILTERS: Final = {"host": "hostname", "command": "command_id", "request": "request_id", "mode": "profiling_mode"}
"""Option -> the parameter of the API."""


def _chosen(command: Any) -> Any:
    """The options that choose profiles."""
    for name, parameter in FILTERS.items():
        option = click.option(f"--{name}", parameter, multiple=True, help="Only these; may be said several times.")
        command = option(command)
    return SERVICE(SINCE(UNTIL(command)))


@click.group(cls=options.StudioGroup)
def command() -> None:
    """List and delete stored profiles, pack their index, make it anew."""


@command.command("list", cls=options.StudioCommand)
@_chosen
@answering
@server
def list_(server: Server, output: Output, **chosen: Any) -> None:
    """List profiles, the newest first."""
    with server.client() as client:
        found = [row.model_dump(mode="json") for part in _selections(chosen) for row in client.profiles(part)]
    rows(found, COLUMNS, output, empty="no such profile")


@command.command(cls=options.StudioCommand)
@_chosen
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only say which.")
@server
def delete(server: Server, yes: bool, dry_run: bool, **chosen: Any) -> None:
    """Delete profiles for good, uploads too. Each is told of in the audit trail."""
    with server.client() as client:
        ids = [row.profile_id for part in _selections(chosen) for row in client.profiles(part)]
        if dry_run:
            click.echo("\n".join([*ids, f"would delete {len(ids)} profiles"]))
            return
        if ids and not yes:
            click.confirm(f"Delete {len(ids)} profiles of {chosen['service']} for good?", abort=True, err=True)
        for profile_id in ids:
            client.delete_profile(profile_id, chosen["service"])
    click.echo(f"deleted {len(ids)} profiles")


@command.command(cls=options.StudioCommand)
@click.option("--tenant", default="default", show_default=True)
@click.option("--service", help="Only this one.  [default: all]")
@click.option("--since", type=DAY, help="Only profiles that began at that day or later, UTC.")
@click.option("--until", type=DAY, help="Only up to that day.")
@click.option("--anew", is_flag=True, help="Also what is indexed: an hour at a time, seen before or after, never both.")
@options.state_dir
@click.pass_context
def reindex(
    ctx: click.Context, /, state_dir: Path | None, tenant: str, service: str | None, anew: bool, **time: Any
) -> None:
    """Index the uploads that are not indexed. Safe while everything runs, and may be repeated.

    Reads the store itself: run it where the workers run, with their settings.
    """
    given = {"--tenant": tenant, **({"--service": service} if service else {}), **_times(time)}
    ctx.exit(_hand_over(state_dir, "reindex", given, *(["--anew"] if anew else [])))


@command.command(cls=options.StudioCommand)
@click.option("--since", type=DAY, help="Only hours of that day or later, UTC.  [default: all]")
@options.state_dir
@click.pass_context
def compact(ctx: click.Context, /, state_dir: Path | None, **time: Any) -> None:
    """Do now what is done from time to time: pack small files, fold what is old, remove what is too old."""
    ctx.exit(_hand_over(state_dir, "compact", _times(time)))


def _selections(chosen: Mapping[str, Any]) -> list[dict[str, str | list[str]]]:
    """What to ask the API for: a month at a time, the newest first."""
    since, until = (chosen[name] and chosen[name].replace(tzinfo=UTC) for name in ("since", "until"))
    end: datetime = until or datetime.now(UTC)
    where = {name: [*chosen[name]] for name in FILTERS.values() if chosen[name]}
    parts: list[dict[str, str | list[str]]] = []
    while end > since:
        start = max(since, end - LONGEST)
        parts.append({"service": chosen["service"], "start": start.isoformat(), "end": end.isoformat(), **where})
        end = start
    return parts


def _times(given: Mapping[str, datetime | None]) -> dict[str, str]:
    return {f"--{name}": moment.isoformat() for name, moment in given.items() if moment is not None}


def _hand_over(state_dir: Path | None, what: str, given: Mapping[str, str], *flags: str) -> int:
    arguments = [word for pair in given.items() for word in pair]
    return hand_over({"PCS_STATE_DIR": str(local_state(state_dir))}, MODULE, what, *arguments, *flags)
