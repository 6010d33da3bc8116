"""`studio top`: the live fleet in the terminal."""

import itertools
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from cli import options
from cli.errors import Refused, StudioError, Unreachable
from cli.output import age, printable
from cli.reaching import Server, server
from protocol.lifecycle import OUTCOMES, State
from protocol.wording import counted

if TYPE_CHECKING:
    from cli.answers import CommandRow, HostRow, RequestRow
    from cli.client import StudioClient

INTERRUPTED: Final = 130
NEWEST: Final = 100
"""Requests that are looked through for open ones."""
ROWS_OF_FRAME: Final = 8
"""Lines that are no host and no request."""


@dataclass(frozen=True)
class Fleet:
    """What is shown, at one moment."""

    at: datetime
    hosts: "Sequence[HostRow]"
    open: "Sequence[RequestRow]"
    running: "Sequence[CommandRow]"


def look(client: "StudioClient", service: str | None) -> Fleet:
    """Ask for all of it."""
    of_service: dict[str, str | list[str]] = {"service_name": service} if service else {}
    newest = itertools.islice(client.requests(of_service | {"limit": str(NEWEST)}), NEWEST)
    return Fleet(
        at=datetime.now(UTC),
        hosts=client.hosts(of_service),
        open=[row for row in newest if any(state not in OUTCOMES for state in row.counts)],
        running=list(itertools.islice(client.commands(of_service | {"state": State.RUNNING}), NEWEST)),
    )


def lines(fleet: Fleet, *, height: int) -> list[str]:
    """The fleet in so many lines at most; the newest requests first, then services with most hosts."""
    from cli.bars import counts_told  # noqa: PLC0415 - no help needs it

    status = Counter(host.status for host in fleet.hosts)
    hosts = f"{counted(len(fleet.hosts), 'host')}: {status['online']} online, {status['stale']} stale"
    requests = f"{counted(len(fleet.open), 'request')} open, {len(fleet.running)} running"
    found = [f"{fleet.at:%H:%M:%SZ}  {hosts}; {requests}", ""]
    room = max(height - ROWS_OF_FRAME, 4)
    found.append(f"{'REQUEST':<36}  {'SERVICE':<12} {'AGE':<4} HOSTS")
    shown = fleet.open[: room // 2]
    found += [
        f"{row.request_id:<36}  {_cut(row.service_name, 12)} {age(row.accepted_at, fleet.at):<4} {counts_told(row)}"
        for row in shown
    ] or ["no open request"]
    if len(fleet.open) > len(shown):
        found.append(f"… and {len(fleet.open) - len(shown)} more")
    found += ["", f"{'SERVICE':<30}  {'HOSTS':>6}  {'ONLINE':>6}  {'STALE':>6}  {'RUNNING':>7}"]
    running = Counter(row.service_name for row in fleet.running)
    services = Counter(host.service_name for host in fleet.hosts)
    stale = Counter(host.service_name for host in fleet.hosts if host.status != "online")
    listed = services.most_common(max(room - len(shown), 1))
    found += [
        f"{_cut(name, 30)}  {count:>6}  {count - stale[name]:>6}  {stale[name]:>6}  {running[name]:>7}"
        for name, count in listed
    ] or ["no host"]
    if len(services) > len(listed):
        found.append(f"… and {len(services) - len(listed)} more")
    return [printable(line) for line in found]


def _cut(text: str, width: int) -> str:
    return (text if len(text) <= width else f"{text[: width - 1]}…").ljust(width)


@click.command("top", cls=options.StudioCommand)
@click.option("--service", help="Only of this service.")
@click.option("--every", type=click.FloatRange(min=0.5), default=2.0, show_default=True, help="Seconds between looks.")
@click.option("--once", is_flag=True, help="One look; where this is no terminal there is no other.")
@server
@click.pass_context
def command(ctx: click.Context, /, server: Server, service: str | None, every: float, once: bool) -> None:
    """Show the live fleet in the terminal, until Ctrl-C."""
    with server.client() as client:
        if once or not sys.stdout.isatty():
            click.echo("\n".join(lines(look(client, service), height=1_000)))
            return
        try:
            _go_on(client, service, every)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)


def _go_on(client: "StudioClient", service: str | None, every: float) -> None:
    from rich.console import Console  # noqa: PLC0415 - a tenth of the start time, for the terminal only
    from rich.live import Live  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        last: Any = Text("")
        while True:
            try:
                shown = lines(look(client, service), height=console.height)
                last = Text("\n".join(shown), no_wrap=True, overflow="ellipsis")
                live.update(last, refresh=True)
            except (Unreachable, Refused) as error:
                if isinstance(error, Refused) and not error.may_pass:
                    raise
                live.update(_with_fault(last, error), refresh=True)
            time.sleep(every)


def _with_fault(last: Any, error: StudioError) -> Any:
    """What was seen last stays, and says that it is old."""
    from rich.text import Text  # noqa: PLC0415 - as above

    return Text.assemble(last, "\n\n", (printable(f"old: {error}"), "red"))
