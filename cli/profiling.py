"""`studio profile`: from "it is slow" to a flame graph of the right hosts."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast
from uuid import uuid4

import click

from cli import completing, options
from cli.answers import RequestProgress
from cli.bars import showing
from cli.client import StudioClient
from cli.durations import DURATION
from cli.errors import Refused, Unreachable, Usage, WaitedTooLong
from cli.flame_graphs import ending_of
from cli.following import submit
from cli.outcomes import Wishes, conclude, interrupted, watch
from cli.output import FORMATS, Output, answering, printable
from cli.reaching import Server, server
from cli.targets import body_of_targets, share, targets
from protocol.requests import RequestAccepted

ON: Final = "enabled"
MOST_LOOKED_FOR: Final = 10
"""Hosts named by the operator that are looked for before they are profiled."""
FOLLOWING: Final = (
    click.option("--wait/--no-wait", "wait", default=None, help="Wait for the end.  [default: --wait]"),
    click.option("--timeout", type=DURATION, help="How long to wait; the request goes on.  [default: to its end]"),
    click.option("-q", "--quiet", is_flag=True, help="No bars, no progress; the answer alone."),
    click.option("--dry-run", is_flag=True, help="Only say which hosts would be meant."),
    click.option("--idempotency-key", metavar="KEY", help="For a script that may be run again.  [default: a new one]"),
)
PATIENCE: Final = (
    click.option("--priority", type=click.Choice(["low", "normal", "urgent"]), help="[default: normal]"),
    click.option("--expires-in", type=DURATION, help="It must begin within this.  [default: 15m]"),
)
RUN: Final = (
    click.option("--duration", type=DURATION, help="As 60s or 5m.  [default: 60s]"),
    click.option("--frequency", type=int, help="Samples a second.  [default: 11]"),
    click.option("--mode", type=click.Choice(["cpu", "wall", "allocation", "none"]), help="[default: cpu]"),
    click.option("--continuous", is_flag=True, help="Profile after profile, until it is stopped."),
    click.option("--sample", metavar="N", help="So many hosts of the service, or 10%."),
    click.option(
        "--profilers", multiple=True, metavar="NAME[=SETTING]", help="Switch a profiler: pyspy, or perf=disabled.",
    ),
    click.option(
        "--arg", "args", multiple=True, metavar="NAME=VALUE", help="Another argument of the agent: max_processes=3.",
    ),
    click.option("--max-concurrency", metavar="N", help="So many hosts at a time, or 10%."),
    click.option("--max-errors", metavar="N", help="Give up after more errors than this, or 5%."),
    *PATIENCE,
)  # fmt: skip
START_AT: Final = click.option("--start-at", metavar="WHEN", help="All together then: RFC 3339, or +5m.")
STANDARD_DURATION: Final = 60
"""Seconds that the API takes where none are said: the bars need to know."""


def all_of(*groups: tuple[Callable[..., Any], ...]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The options of these groups, in their order."""

    def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed([option for group in groups for option in group]):
            function = option(function)
        return function

    return decorated


@click.command("profile", cls=options.StudioCommand)
@click.argument("service", shell_complete=completing.services)
@targets
@all_of(RUN, (START_AT,), FOLLOWING)
@click.option(
    "-o", "--output", "outputs", multiple=True, metavar="FORMAT|FILE",
    help="table, json or ndjson; or a file for the flame graph, by its ending: flame.svg, .html, .pb.gz, .json,"
    " .speedscope.json, .collapsed. May be repeated.",
)  # fmt: skip
@click.option("--open", "open_", is_flag=True, help="Open the flame graph in a browser.")
@server
@click.pass_context
def command(ctx: click.Context, /, service: str, server: Server, **given: Any) -> None:
    """Profile hosts of a service, show how far each is, and then where the flame graph is.

    Say which hosts by --host, --sample or --all; or what runs on them, by --namespace, --workload, --pod, --container
    or --process. Ctrl-C ends the waiting: the request goes on.

    Example: studio profile checkout --sample 3 --duration 30s -o flame.svg
    """
    answer, files = read_outputs(given["outputs"])
    body = {"service_name": service, **body_of_targets(given, sample=given["sample"]), **settings(given)}
    if given["start_at"]:
        body["start_at"] = moment(given["start_at"], now=datetime.now(UTC))
    wait = given["wait"] if given["wait"] is not None else not given["continuous"] or given["timeout"] is not None
    if not wait and (files or given["open_"]):
        raise Usage("a flame graph is there once the hosts are done: leave out --no-wait")
    wishes = Wishes(
        output=answer, quiet=given["quiet"], timeout=given["timeout"], files=files,
        duration=given["duration"] or STANDARD_DURATION,
        open_=given["open_"],
    )  # fmt: skip
    with server.client() as client:
        for name in given["hosts"][:MOST_LOOKED_FOR]:
            _tell_of_a_stranger(client, service, name)
        ctx.exit(carry_out(client, body, wishes, key=given["idempotency_key"], wait=wait, dry_run=given["dry_run"]))


def _tell_of_a_stranger(client: StudioClient, service: str, name: str) -> None:
    """A name may be mistyped; a host that has not come yet gets the request when it does, so that is no fault."""
    try:
        host = client.host(service, name)
    except Refused as refusal:
        if refusal.code == "not_found":
            click.echo(printable(f"studio: warning: no host {name} of {service} has been heard of"), err=True)
        return
    except Unreachable:
        return  # what submits says so, and tries again
    if host.status != "online":
        click.echo(printable(f"studio: warning: {name} is {host.status}"), err=True)


@click.command("stop", cls=options.StudioCommand)
@click.argument("service", shell_complete=completing.services)
@targets
@all_of(PATIENCE, FOLLOWING)
@answering
@server
@click.pass_context
def stop(ctx: click.Context, /, service: str, server: Server, output: Output, **given: Any) -> None:
    """Stop profiling on hosts of a service. What was sampled until then is kept.

    With --pid or --process only those processes are left alone.
    """
    body = {"service_name": service, "command_type": "stop", **body_of_targets(given), **patience(given)}
    wishes = Wishes(output=output, quiet=given["quiet"], timeout=given["timeout"], draws=False)
    wait = given["wait"] is not False
    with server.client() as client:
        ctx.exit(carry_out(client, body, wishes, key=given["idempotency_key"], wait=wait, dry_run=given["dry_run"]))


def carry_out(
    client: StudioClient, body: dict[str, Any], wishes: Wishes, *, key: str | None, wait: bool, dry_run: bool
) -> int:
    """Submit a body and follow it, where that is wanted; gives the exit code."""
    request_id: str | None = None
    seen: RequestProgress | WaitedTooLong | None = None
    try:
        with showing(wishes.duration, quiet=wishes.quiet) as shown:
            accepted = submit(client, body | ({"dry_run": True} if dry_run else {}), key or str(uuid4()), shown=shown)
            request_id = str(accepted.request_id)
            for warning in accepted.warnings:
                shown.say(f"warning: {warning}")
            if wait and not dry_run:
                shown.say(f"request {request_id} for {accepted.hosts} host(s)")
                seen = watch(client, request_id, wishes, shown)
        if seen is not None:
            return conclude(client, seen, wishes)
    except KeyboardInterrupt:
        return interrupted(request_id)
    _tell_accepted(accepted, wishes)
    return 0


def _tell_accepted(accepted: RequestAccepted, wishes: Wishes) -> None:
    if wishes.output != "table":
        click.echo(accepted.model_dump_json())
    elif accepted.dry_run:
        click.echo(f"would be for {accepted.hosts} host(s)")
        for name in accepted.targets:
            click.echo(f"  {printable(name)}")
        if accepted.hosts > len(accepted.targets):
            click.echo(f"  … and {accepted.hosts - len(accepted.targets)} more")
    else:
        click.echo(f"{accepted.request_id}")
        if not wishes.quiet:
            click.echo(f"  follow it:  studio requests follow {accepted.request_id}", err=True)


def read_outputs(said: tuple[str, ...]) -> tuple[Output, tuple[Path, ...]]:
    """How to answer, and the files of flame graphs.

    Raises:
        Usage: a file's ending says no format, or it has no folder.
    """
    formats = [word for word in said if word in FORMATS]
    files = tuple(Path(word) for word in said if word not in FORMATS)
    for file in files:
        ending_of(file)
    return cast("Output", formats[-1]) if formats else "table", files


def patience(given: dict[str, Any]) -> dict[str, Any]:
    """The fields of `PATIENCE`; what was not said is left to the API."""
    return {name: given[name] for name in ("priority", "expires_in") if given[name] is not None}


def settings(given: dict[str, Any]) -> dict[str, Any]:
    """The fields of a start beside its targets; what was not said is left to the API.

    Raises:
        Usage: an argument of the agent has no name.
    """
    wished = {
        "duration": given["duration"], "frequency": given["frequency"], "profiling_mode": given["mode"],
        "continuous": given["continuous"] or None, "max_concurrency": share(given["max_concurrency"]),
        "max_errors": share(given["max_errors"]), "additional_args": _arguments(given) or None,
    }  # fmt: skip
    return {name: value for name, value in wished.items() if value is not None} | patience(given)


def _arguments(given: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in given["args"]:
        name, sign, value = text.partition("=")
        if not (name and sign):
            raise Usage(f"--arg {text}: write NAME=VALUE, as max_processes=3")
        found[name] = _as_json(value)
    if given["profilers"]:
        switched = [text.partition("=") for text in given["profilers"]]
        found["profiler_configs"] = {name: setting or ON for name, _, setting in switched}
    return found


def _as_json(text: str) -> Any:
    """A number, a list and the like as what it is; anything else is a text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def moment(text: str, *, now: datetime) -> str:
    """A moment as the API wants it: as it was said, or so long from now."""
    if not text.startswith("+"):
        return text
    seconds = DURATION.convert(text[1:], None, None)
    return (now + timedelta(seconds=seconds)).isoformat(timespec="seconds")
