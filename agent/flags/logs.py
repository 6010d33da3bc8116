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
    """What is logged.

    Attributes:
        heartbeat_log: None is none.
        file: gets what stderr gets; None is no file.
        max_bytes: of the file, before it becomes the first of its `backups`.
    """

    verbose: bool = False
    heartbeat_log: Path | None = DEFAULT_HEARTBEAT_LOG
    file: Path | None = None
    max_bytes: int = 5 * 1024 * 1024
    backups: int = 1


# fmt: off
FLAGS: Final = (
    _flag("-v", "--verbose", is_flag=True, help="Log every step."),
    _flag("--log-file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
          help="Log to this file too, as JSON lines. No link is followed, and no file of another user written."),
    _flag("--log-rotate-max-size", type=click.IntRange(4_096), default=5 * 1024 * 1024, show_default=True,
          metavar="BYTES", help="Where the log file is put aside for a fresh one."),
    _flag("--log-rotate-backup-count", type=click.IntRange(1, 1_000), default=1, show_default=True, metavar="COUNT",
          help="How many log files that were put aside stay."),
    _flag("--heartbeat-log", type=click.Path(path_type=Path, dir_okay=False), default=DEFAULT_HEARTBEAT_LOG,
          show_default=True, metavar="FILE", help="Every heartbeat, as JSON lines."),
)
# fmt: on


def read(given: Given) -> Logs:
    """What is logged."""
    return Logs(
        verbose=given["verbose"],
        heartbeat_log=given["heartbeat_log"],
        file=given["log_file"],
        max_bytes=given["log_rotate_max_size"],
        backups=given["log_rotate_backup_count"],
    )
