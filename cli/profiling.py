"""`studio profile`: from "it is slow" to a flame graph of the right hosts."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click

from cli import completing, options
from cli.durations import DURATION
from cli.errors import Usage
from cli.output import Output, answering
from cli.reaching import Server, server
from cli.targets import body_of_targets, share, targets

ON: Final = "enabled"
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
    from cli.outcomes import Wishes  # noqa: PLC0415 - no help needs it
    from cli.submitting import carry_out, read_outputs, tell_of_strangers  # noqa: PLC0415 - likewise

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
        tell_of_strangers(client, service, given["hosts"])
        ctx.exit(carry_out(client, body, wishes, key=given["idempotency_key"], wait=wait, dry_run=given["dry_run"]))


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
    from cli.outcomes import Wishes  # noqa: PLC0415 - no help needs it
    from cli.submitting import carry_out  # noqa: PLC0415 - likewise

    body = {"service_name": service, "command_type": "stop", **body_of_targets(given), **patience(given)}
    wishes = Wishes(output=output, quiet=given["quiet"], timeout=given["timeout"], draws=False)
    wait = given["wait"] is not False
    with server.client() as client:
        ctx.exit(carry_out(client, body, wishes, key=given["idempotency_key"], wait=wait, dry_run=given["dry_run"]))


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
