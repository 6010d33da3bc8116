"""Where else options come from: a config file, and the environment."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import click

from agent.config_file import DEFAULT, NOTICES, read_config
from agent.flags.options import under

PREFIX: Final = "GPROFILER"
_OTHER_NAMES: Final = frozenset({"GPROFILER_SERVICE", "GPROFILER_SERVER", "GPROFILER_UNPACK_DIR"})
"""Variables that no option is called by: two shorter names, and one of the executable's."""

_flag = under("Config file")

# fmt: off
FLAGS: Final = (
    _flag("--config", type=click.Path(path_type=Path, dir_okay=False), is_eager=True, expose_value=False,
          callback=read_config, metavar="FILE",
          help=f"Read options from a file, INI or TOML. Default: {DEFAULT}, where it is there. The environment wins "
          "over it, and the command line over both."),
)
# fmt: on


def notices(context: click.Context, environment: Mapping[str, str]) -> tuple[str, ...]:
    """What is to be said of the config file and of the environment."""
    known = variables(context.command.params)
    unknown = sorted(name for name in environment if name.startswith(f"{PREFIX}_") and name not in known)
    told = [f"{name} in the environment is no option of gprofiler" for name in unknown]
    return (*context.meta.get(NOTICES, ()), *told)


def variables(params: Iterable[click.Parameter]) -> frozenset[str]:
    """Every variable of the environment that is looked at."""
    return frozenset({f"{PREFIX}_{str(param.name).upper()}" for param in params} | _OTHER_NAMES)
