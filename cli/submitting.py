"""What `studio profile` and `studio stop` do once they know what is meant: submit it, follow it, answer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, cast
from uuid import uuid4

import click

from cli.answers import RequestProgress
from cli.bars import showing
from cli.client import StudioClient
from cli.errors import Refused, Unreachable, WaitedTooLong
from cli.flame_graphs import ending_of
from cli.following import submit
from cli.outcomes import Wishes, conclude, interrupted, watch
from cli.output import FORMATS, Output, printable
from protocol.requests import RequestAccepted

MOST_LOOKED_FOR: Final = 10
"""Hosts named by the operator that are looked for before they are profiled."""


def tell_of_strangers(client: StudioClient, service: str, hosts: Sequence[str]) -> None:
    """Tell of hosts that were named and are unknown or not online, before they are profiled."""
    for name in hosts[:MOST_LOOKED_FOR]:
        _tell_of_a_stranger(client, service, name)


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
