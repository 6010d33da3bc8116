"""Profiling: what is sampled, for how long and how often."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import click

from agent.flags.options import Given, read_pids, under

_MAX_DURATION: Final = 86_400
_MAX_FREQUENCY: Final = 1_000

_flag = under("Profiling")


@dataclass(frozen=True)
class Profiling:
    """One run; in heartbeat mode, what a command that does not say gets. `pids` None is the whole host."""

    duration: timedelta = timedelta(seconds=60)
    frequency_hz: int = 11
    continuous: bool = False
    pids: frozenset[int] | None = None


# fmt: off
FLAGS: Final = (
    _flag("-d", "--profiling-duration", type=click.IntRange(1, _MAX_DURATION), default=60, show_default=True,
          metavar="SECONDS", help="How long to sample; in heartbeat mode, for commands that do not say."),
    _flag("-f", "--profiling-frequency", type=click.IntRange(1, _MAX_FREQUENCY), default=11, show_default=True,
          metavar="HZ", help="Samples a second; in heartbeat mode, for commands that do not say."),
    _flag("-c", "--continuous", is_flag=True,
          help="Go on, profile after profile, until stopped; in heartbeat mode, for commands that do not say."),
    _flag("--pids", callback=read_pids, metavar="PID,PID",
          help="Only these processes, instead of the whole host. Heartbeat commands name their own."),
)
# fmt: on


def read(given: Given) -> Profiling:
    """What to sample."""
    return Profiling(
        duration=timedelta(seconds=given["profiling_duration"]),
        frequency_hz=given["profiling_frequency"],
        continuous=given["continuous"],
        pids=given["pids"],
    )
