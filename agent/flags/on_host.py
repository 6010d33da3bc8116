"""Heartbeat mode, on this host: its name, and where the agent keeps what it knows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from agent.flags.options import Given, under
from agent.flags.server import read_name
from agent.host import hostname
from agent.state_dir import default_state_dir

_flag = under("Heartbeat mode, on this host")


@dataclass(frozen=True)
class OnHost:
    """By what name the server knows this host, and the agent's own directory."""

    hostname: str
    state_dir: Path


# fmt: off
FLAGS: Final = (
    _flag("--hostname", metavar="NAME", help="Be known by this name instead of the host's own."),
    _flag("--state-dir", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
          help="Where the agent remembers its commands. Default: /var/lib/gprofiler for root, else "
          "~/.local/state/gprofiler."),
)
# fmt: on


def read(given: Given) -> OnHost:
    """This host.

    Raises:
        click.UsageError: its name is none that the protocol takes.
    """
    return OnHost(hostname=read_name("--hostname", given["hostname"] or hostname()), state_dir=read_state_dir(given))


def read_state_dir(given: Given) -> Path:
    """The agent's own directory."""
    return Path(given["state_dir"] or default_state_dir()).absolute()
