"""Logging: how much, and where to."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from agent.flags.options import Given, under

DEFAULT_HEARTBEAT_LOG: Final = Path("/tmp/gprofiler-heartbeat.log")  # noqa: S108 - the documented place; opened safely

_flag = under("Logging")


@dataclass(frozen=True)
class Logs:
    """What is logged. `heartbeat_log` None is none."""

    verbose: bool = False
    heartbeat_log: Path | None = DEFAULT_HEARTBEAT_LOG


# fmt: off
FLAGS: Final = (
    _flag("--verbose", is_flag=True, help="Log every step."),
    _flag("--heartbeat-log", type=click.Path(path_type=Path, dir_okay=False), default=DEFAULT_HEARTBEAT_LOG,
          show_default=True, metavar="FILE", help="Every heartbeat, as JSON lines."),
)
# fmt: on


def read(given: Given) -> Logs:
    """What is logged."""
    return Logs(verbose=given["verbose"], heartbeat_log=given["heartbeat_log"])
