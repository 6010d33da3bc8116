"""What a command that submits or follows a request says at its end, and where its flame graph is."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import click

from cli import flame_graphs, output
from cli.answers import RequestProgress
from cli.bars import Shown, counts_told, showing
from cli.client import StudioClient
from cli.errors import StudioError, WaitedTooLong
from cli.flame_graphs import FlameGraph
from cli.following import follow
from cli.output import Output, printable
from cli.verdicts import MOST_TOLD, by_reason, exit_code, is_over, sentence, unhappy
from protocol.lifecycle import State

INTERRUPTED: Final = 130


@dataclass(frozen=True)
class Wishes:
    """How to follow, and what to do with the flame graph."""

    output: Output
    quiet: bool = False
    timeout: float | None = None
    duration: float = 0.0
    files: tuple[Path, ...] = ()
    open_: bool = False
    draws: bool = True


def watch(client: StudioClient, request_id: str, wishes: Wishes, shown: Shown) -> RequestProgress | WaitedTooLong:
    """Follow a request to its end, or for as long as one wants to wait."""
    deadline = None if wishes.timeout is None else time.monotonic() + wishes.timeout
    try:
        return follow(client, request_id, shown=shown, deadline=deadline)
    except WaitedTooLong as late:
        return late


def conclude(client: StudioClient, seen: RequestProgress | WaitedTooLong, wishes: Wishes) -> int:
    """Answer with what has come of a request; gives the exit code.

    Raises:
        WaitedTooLong: it was not over in time; what it has come to has been told.
    """
    if isinstance(seen, WaitedTooLong):
        if seen.progress is not None:
            _answer(whole(client, seen.progress), wishes, None, seen.exit_code, ())
        raise seen
    seen = whole(client, seen)
    code = exit_code(seen)
    graph = flame_graphs.find(client, seen) if wishes.draws else None
    if graph is None and (wishes.files or wishes.open_):
        code = code or StudioError.exit_code
    saved = wishes.files if graph is not None else ()
    for file in saved:
        flame_graphs.save(client, cast("FlameGraph", graph), file)
    _answer(seen, wishes, graph, code, saved)
    if wishes.open_ and graph is not None:
        page, opened = flame_graphs.show(client, graph)
        click.echo(f"studio: {'opened' if opened else 'no browser here; it is'} {page}", err=True)
    return code


def whole(client: StudioClient, progress: RequestProgress) -> RequestProgress:
    """A request with each of its hosts: it is told with the first thousand of them."""
    if progress.hosts_total <= len(progress.hosts):
        return progress
    return progress.model_copy(update={"hosts": list(client.hosts_of(progress.request_id))})


def follow_request(client: StudioClient, request_id: str, wishes: Wishes) -> int:
    """Follow a request that was submitted before; gives the exit code."""
    try:
        with showing(wishes.duration, quiet=wishes.quiet) as shown:
            seen = watch(client, request_id, wishes, shown)
        return conclude(client, seen, wishes)
    except KeyboardInterrupt:
        return interrupted(request_id)


def interrupted(request_id: str | None) -> int:
    """Ctrl-C ends the waiting alone: says so, and how to come back to it."""
    if request_id is None:
        told = "\nstudio: interrupted while it was submitted; `studio requests list` tells whether it was"
    else:
        told = (
            f"\nstudio: interrupted; request {request_id} goes on.\n"
            f"  follow it:  studio requests follow {request_id}\n"
            f"  end it:     studio cancel {request_id}"
        )
    click.echo(told, err=True)
    return INTERRUPTED


def _answer(
    progress: RequestProgress, wishes: Wishes, graph: FlameGraph | None, code: int, saved: Sequence[Path]
) -> None:
    if wishes.output == "json":
        whole: dict[str, Any] = progress.model_dump(mode="json")
        told = {"url": graph.url, "samples": graph.samples, "hosts": graph.hosts} if graph is not None else None
        click.echo(json.dumps({
            **whole, "exit_code": code, "flame_graph": told, "files": [str(file) for file in saved],
        }))  # fmt: skip
    elif wishes.output == "ndjson":
        for host in progress.hosts:
            click.echo(host.model_dump_json())
    else:
        _tell(progress, wishes, graph, saved)


def _tell(progress: RequestProgress, wishes: Wishes, graph: FlameGraph | None, saved: Sequence[Path]) -> None:
    click.echo(f"request {progress.request_id}: {counts_told(progress)}")
    if progress.hosts_total <= MOST_TOLD:
        output.table(
            ("HOST", "OUTCOME", "WHAT"),
            [(printable(host.hostname), host.status, printable(sentence(host))) for host in progress.hosts],
        )
    else:
        for outcome, reason, hosts in by_reason(unhappy(progress))[:MOST_TOLD]:
            some = ", ".join(hosts[:3]) + (" …" if len(hosts) > 3 else "")  # noqa: PLR2004 - enough to look at one
            click.echo(printable(f"{outcome} on {len(hosts)}: {reason} ({some})"))
    if not wishes.draws or not is_over(progress):
        return
    if graph is None:
        kept = [host for host in progress.hosts if host.results_path and host.status == State.COMPLETED]
        where = f"; {kept[0].hostname} has kept its own: {kept[0].results_path}" if kept else ""
        click.echo(printable(f"no flame graph on the server{where}"), err=True)
        return
    unit = "bytes" if graph.mode == "allocation" else "samples"
    click.echo(f"flame graph of {graph.samples:,} {unit}, {graph.hosts} host(s):")
    for file in saved:
        click.echo(f"  {file}")
    if not saved:
        click.echo(f"  studio requests flame {progress.request_id} --open")
