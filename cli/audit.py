"""`studio audit`: who did what, and whether the record of it is whole."""

import json as jsonlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

import click

from cli import options
from cli.errors import StudioError, Usage
from cli.output import Output, answering
from cli.reaching import Server, server
from cli.roles import module
from cli.state import StateDir
from protocol.audit_chain import Point

if TYPE_CHECKING:
    from cli.audit_verdict import AuditVerdict
    from cli.client import StudioClient
    from protocol.audit import AuditItem

LOOK_EVERY_SECONDS: Final = 1.0
FILTERS: Final = (
    click.option("--actor", help="The id of a token."),
    click.option("--action", help="As token.revoke, or token.* for all of a kind."),
    click.option("--outcome", type=click.Choice(["accepted", "refused", "failed"])),
    click.option("--service", "service_name"),
    click.option("--object", help="An id of what was acted upon."),
    click.option("--since", help="RFC 3339, as 2026-05-04T00:00:00Z."),
    click.option("--until", help="RFC 3339; before this moment."),
)


class BadArchive(StudioError):
    """The archive does not go with the chain."""


def _filtered(function: Callable[..., None]) -> Callable[..., None]:
    for decorate in reversed(FILTERS):
        function = decorate(function)
    return server(function)


@click.group(cls=options.StudioGroup)
def command() -> None:
    """Verify, follow and export the record of who did what."""


@command.command(cls=options.StudioCommand)
@click.option("--archive", is_flag=True, help="The archive too, and that the chain goes on where it ends.")
@click.option(
    "--note", type=click.Path(dir_okay=False, path_type=Path),
    help="A file, kept away from the broker: hold the chain against what was noted there, and note its end.",
)  # fmt: skip
@answering
@server
@click.pass_context
def verify(ctx: click.Context, /, archive: bool, note: Path | None, server: Server, output: Output) -> None:
    """Follow the chain record by record. Exit code 0: whole; 1: broken, and the first bad record is named."""
    from cli.audit_verdict import verify as follow  # noqa: PLC0415 - a third of a second that no help needs

    noted = _noted(note) if note is not None else {}
    ends = _archived(server.local) if archive else {}
    with server.client() as client:
        partition = client.audit_chain(None).partition
        known = {point.number: point.hash for point in (noted.get(partition), ends.get(partition)) if point is not None}
        verdict = follow(client.audit_chain, known)
    click.echo(jsonlib.dumps(_as_json(verdict)) if output != "table" else sentence(verdict))
    if verdict.ok and note is not None:
        _write_note(note, {**noted, verdict.partition: verdict.ends})
    ctx.exit(0 if verdict.ok else 1)


def sentence(verdict: "AuditVerdict") -> str:
    """The verdict for a person."""
    if not verdict.ok:
        return f"BROKEN at record {verdict.broken} of chain {verdict.partition}: {verdict.reason}"
    count = verdict.ends.number - verdict.begins.number
    others = f", {verdict.unreadable} of them of other tenants" if verdict.unreadable else ""
    return (
        f"whole: chain {verdict.partition}, {count} record(s) behind record {verdict.begins.number}{others}; the last"
        f" has the hash {verdict.ends.hash}"
    )


@command.command(cls=options.StudioCommand)
@_filtered
@click.option("-n", "--lines", type=click.IntRange(0, 1000), default=10, show_default=True)
@click.option("-f", "--follow", "follows", is_flag=True, help="Go on with what comes.")
@answering
def tail(lines: int, follows: bool, output: Output, server: Server, **query: Any) -> None:
    """Show the last records, the newest last."""
    with server.client() as client:
        page = client.audit({**_given(query), "limit": str(max(lines, 1))})
        last = page.items[0].number if page.items else 0
        for item in reversed(page.items[:lines]):
            _show(item, output)
        while follows:
            time.sleep(LOOK_EVERY_SECONDS)
            for item in reversed(_newer(client, _given(query), last)):
                _show(item, output)
                last = item.number


@command.command(cls=options.StudioCommand)
@_filtered
@click.option(
    "--out", type=click.File("w", encoding="utf-8", lazy=True), default="-", help="A file.  [default: stdout]"
)
def export(out: TextIO, server: Server, **query: Any) -> None:
    """Write every record that the broker keeps, the oldest first, as JSON lines."""
    with server.client() as client:
        out.writelines(
            item.model_dump_json(exclude_none=True) + "\n"
            for item in _pages(client, {**_given(query), "sort": "at", "limit": "1000"})
        )


def _pages(client: "StudioClient", query: dict[str, str]) -> "Iterator[AuditItem]":
    cursor: str | None = ""
    while cursor is not None:
        page = client.audit({**query, **({"cursor": cursor} if cursor else {})})
        yield from page.items
        cursor = page.next_cursor


def _newer(client: "StudioClient", query: dict[str, str], last: int) -> "list[AuditItem]":
    """The records behind a number, the newest first."""
    found: list[AuditItem] = []
    for item in _pages(client, query):
        if item.number <= last:
            break
        found.append(item)
    return found


def _given(query: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in query.items() if value is not None}


def _show(item: "AuditItem", output: Output) -> None:
    if output != "table":
        click.echo(item.model_dump_json(exclude_none=True))
        return
    code = f" ({item.code})" if item.code else ""
    times = f" x{item.count}" if item.count > 1 else ""
    who = f"{item.actor_kind or ''} {item.actor or item.address or 'nobody known'}".strip()
    what = " ".join(filter(None, [item.service_name, *item.objects]))
    click.echo(f"{_told(item.at)}  {item.outcome}{code}{times}  {item.action}  by {who}  {what}".rstrip())


def _told(moment: datetime) -> str:
    return moment.isoformat(sep=" ", timespec="milliseconds").replace("+00:00", "Z")


def _as_json(verdict: "AuditVerdict") -> dict[str, Any]:
    return {
        "ok": verdict.ok, "partition": verdict.partition, "begins": verdict.begins.number,
        "ends": verdict.ends.number, "hash": verdict.ends.hash, "unreadable": verdict.unreadable,
        "broken": verdict.broken, "reason": verdict.reason,
    }  # fmt: skip


def _noted(file: Path) -> dict[int, Point]:
    if not file.exists():
        return {}
    try:
        noted = jsonlib.loads(file.read_text())
        return {int(partition): Point(int(number), str(made)) for partition, (number, made) in noted.items()}
    except OSError as error:
        raise Usage(f"{file} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, AttributeError):
        raise Usage(f"{file} is no note of `studio audit verify`") from None


def _write_note(file: Path, ends: dict[int, Point]) -> None:
    noted = {str(partition): [end.number, end.hash] for partition, end in ends.items()}
    try:
        file.write_text(jsonlib.dumps(noted) + "\n")
    except OSError as error:
        raise Usage(f"{file} cannot be written: {error.strerror}") from None


def _archived(state: StateDir) -> dict[int, Point]:
    """Where each chain ends in the archive, which is verified for that.

    Raises:
        BadArchive: it is broken, or cannot be read.
    """
    done = subprocess.run(
        module("workers.verify_archive", "--json"), env={**os.environ, "PCS_STATE_DIR": str(state)},
        stdout=subprocess.PIPE, check=False, text=True,
    )  # fmt: skip
    if done.returncode not in {0, 1}:
        raise BadArchive("the archive cannot be read")
    verdict = jsonlib.loads(done.stdout)
    if not verdict["ok"]:
        raise BadArchive(f"the archive is BROKEN at {verdict['broken']}: {verdict['reason']}")
    return {int(partition): Point(number, made) for partition, (number, made) in verdict["audit_ends"].items()}
