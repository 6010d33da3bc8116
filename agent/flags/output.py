"""Output: where profiles go, and how many stay there."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

import click

from agent.flags.options import Given, under

Format = Literal["collapsed", "flamegraph", "pprof", "speedscope"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)

_flag = under("Output")


@dataclass(frozen=True)
class Output:
    """Where profiles go, and in which formats.

    Attributes:
        keep: how many profiles stay there; 0 is all of them.
        formats: as in `agent.output`.
        rotating: keep nothing but the last profile.
    """

    directory: Path
    keep: int = 1_000
    formats: frozenset[Format] = frozenset({"collapsed", "flamegraph"})
    rotating: bool = False


# fmt: off
FLAGS: Final = (
    _flag("-o", "--output-dir", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
          help="Where profiles go; last_flamegraph.html there is the newest. Default with -u or in heartbeat mode: "
          "'profiles' in the state directory."),
    _flag("--keep-profiles", type=click.IntRange(min=0), default=1_000, show_default=True, metavar="COUNT",
          help="Heartbeat mode: how many profiles stay in the output directory; 0 is all of them."),
    _flag("--rotating-output", is_flag=True, help="Keep nothing but the last profile in the output directory."),
    _flag("--output-format", multiple=True, type=click.Choice(FORMATS), metavar="FORMAT",
          help=f"Write this instead of collapsed and flamegraph; may be repeated. One of: {', '.join(FORMATS)}."),
    _flag("--flamegraph/--no-flamegraph", default=None,
          help="Draw a flame graph, or leave it out. It is drawn if nothing is said."),
)
# fmt: on


def read(given: Given, *, otherwise: Path) -> Output:
    """Where profiles go: what was named, else `otherwise`.

    Raises:
        click.UsageError: no format is left.
    """
    formats: set[Format] = set(given["output_format"] or ("collapsed", "flamegraph"))
    if given["flamegraph"] is not None:
        formats = formats | {"flamegraph"} if given["flamegraph"] else formats - {"flamegraph"}
    if not formats:
        raise click.UsageError("--no-flamegraph leaves no --output-format to write.")
    return Output(
        directory=(given["output_dir"] or otherwise).absolute(),
        keep=given["keep_profiles"],
        formats=frozenset(formats),
        rotating=given["rotating_output"],
    )
