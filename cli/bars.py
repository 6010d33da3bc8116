"""A bar for each host of a request, moving on a terminal; plain lines where it is none; nothing where it is quiet."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import click

from cli.answers import HostProgress, RequestProgress, RequestRow
from cli.output import printable
from cli.verdicts import sentence
from protocol.lifecycle import OUTCOMES, State

MOST_BARS: Final = 20
MOST_LINES: Final = 50
"""Hosts whose every step is a line of its own; of more only the counts are told."""
STYLE: Final[Mapping[bool | None, str]] = {True: "green", False: "red", None: "cyan"}


class Shown(Protocol):
    """What shows how far a request has come."""

    def show(self, progress: RequestProgress) -> None:
        """Show it as it stands now."""

    def say(self, text: str) -> None:
        """Tell of something beside it."""


class Quiet:
    """Shows nothing."""

    def show(self, progress: RequestProgress) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""


class Lines:
    """A line for each step that a host takes, on stderr."""

    def __init__(self) -> None:
        self._seen: dict[str, State] = {}
        self._counts: dict[str, int] = {}

    def show(self, progress: RequestProgress) -> None:
        """Tell of what has changed."""
        if progress.hosts_total > MOST_LINES:
            if progress.counts != self._counts:
                self._counts = dict(progress.counts)
                self.say(counts_told(progress))
            return
        for host in progress.hosts:
            if self._seen.get(host.hostname) != host.status:
                self._seen[host.hostname] = host.status
                more = sentence(host)
                self.say(f"{host.hostname}: {host.status}{f' ({more})' if more else ''}")

    def say(self, text: str) -> None:
        """One line."""
        click.echo(f"studio: {printable(text)}", err=True)


class Bars:
    """A bar for each host, those that have not ended first, and the counts of all."""

    def __init__(self, live: Any, duration_s: float) -> None:
        self._live = live
        self._duration_s = duration_s

    def show(self, progress: RequestProgress) -> None:
        """Draw it."""
        from rich.progress_bar import ProgressBar  # noqa: PLC0415 - a tenth of the start time, for the terminal only
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        now = datetime.now(UTC)
        drawn = Table.grid(padding=(0, 1), expand=False)
        drawn.add_column(max_width=24, no_wrap=True, overflow="ellipsis")
        drawn.add_column(width=24)
        drawn.add_column(overflow="ellipsis", no_wrap=True, ratio=1)
        hosts = sorted(progress.hosts, key=lambda host: (host.status in OUTCOMES, host.hostname))
        for host in hosts[:MOST_BARS]:
            done = share_done(host, self._duration_s, now)
            good = host.status == State.COMPLETED if host.status in OUTCOMES else None
            more = sentence(host)
            drawn.add_row(
                Text(host.hostname),
                ProgressBar(
                    total=1.0, completed=done, width=24, complete_style=STYLE[good], finished_style=STYLE[good]
                ),
                Text(f"{host.status}{f': {more}' if more else ''}", style=STYLE[good]),
            )
        if len(hosts) > 1:
            drawn.add_row(Text(f"{progress.hosts_total} hosts", style="bold"), "", Text(counts_told(progress)))
        self._live.start()  # here: one that never drew anything leaves an empty line
        self._live.update(drawn, refresh=True)

    def say(self, text: str) -> None:
        """One line above the bars."""
        self._live.console.print(f"studio: {printable(text)}", markup=False, highlight=False)


def share_done(host: HostProgress, duration_s: float, now: datetime) -> float:
    """How much of its time a host has had, by the server's clock: 0 until it runs, 1 at its end."""
    if host.status in OUTCOMES:
        return 1.0
    began = host.timeline.get(State.RUNNING)
    if began is None or duration_s <= 0:
        return 0.0
    return min(max((now - began).total_seconds() / duration_s, 0.0), 0.99)


def counts_told(progress: RequestRow) -> str:
    """`3 completed, 1 failed`, in the order of a life."""
    order = {state.value: number for number, state in enumerate(State)}
    known = sorted(progress.counts.items(), key=lambda each: order.get(each[0], len(order)))
    return ", ".join(f"{count} {state}" for state, count in known if count)


@contextmanager
def showing(duration_s: float, *, quiet: bool) -> Iterator[Shown]:
    """What fits where this runs: bars on a terminal, lines elsewhere. All on stderr, as stdout is for the answer."""
    if quiet:
        yield Quiet()
    elif not sys.stderr.isatty():
        yield Lines()
    else:
        from rich.console import Console  # noqa: PLC0415 - a tenth of the start time, for the terminal only
        from rich.live import Live  # noqa: PLC0415

        live = Live(console=Console(stderr=True, highlight=False), auto_refresh=False)
        try:
            yield Bars(live, duration_s)
        finally:
            live.stop()
