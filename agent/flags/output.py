"""Output: where profiles go, and how many stay there."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from agent.flags.options import Given, under

_flag = under("Output")


@dataclass(frozen=True)
class Output:
    """Where profiles go. `keep` is how many stay there; 0 is all of them."""

    directory: Path
    keep: int = 1_000


# fmt: off
FLAGS: Final = (
    _flag("-o", "--output-dir", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
          help="Where profiles go; last_flamegraph.html there is the newest. Default with -u or in heartbeat mode: "
          "'profiles' in the state directory."),
    _flag("--keep-profiles", type=click.IntRange(min=0), default=1_000, show_default=True, metavar="COUNT",
          help="Heartbeat mode: how many profiles stay in the output directory; 0 is all of them."),
)
# fmt: on


def read(given: Given, *, otherwise: Path) -> Output:
    """Where profiles go: what was named, else `otherwise`."""
    return Output(directory=(given["output_dir"] or otherwise).absolute(), keep=given["keep_profiles"])
