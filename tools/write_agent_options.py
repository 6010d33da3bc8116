"""Write `docs/agent-options.md`: every option of `gprofiler`, as the program itself declares it.

    .venv/bin/python tools/write_agent_options.py

A test holds the page to this.
"""

import sys
from pathlib import Path
from typing import Final

import click

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from agent.cli import gprofiler  # noqa: E402 - it lies in the folder above
from agent.flags import without_effect  # noqa: E402 - likewise
from agent.flags.options import Flag  # noqa: E402 - likewise

PAGE: Final = ROOT / "docs" / "agent-options.md"
HEADER: Final = """\
# Options of `gprofiler`

Written by `tools/write_agent_options.py` from the program itself. What the agent does is in [agent.md](agent.md).

Each option is also a variable of the environment: `--heartbeat-interval` is `GPROFILER_HEARTBEAT_INTERVAL`. In the
config file it is a key: `heartbeat-interval = 30`. The command line wins over the environment, and both over the file.
"""


def page() -> str:
    """The page as it should be."""
    context = click.Context(gprofiler, info_name="gprofiler")
    by_heading: dict[str, list[str]] = {}
    for param in gprofiler.params:
        record = param.get_help_record(context)
        if isinstance(param, Flag) and record is not None:
            names, told = record
            row = f"| `{names.replace('|', '¦')}` | {' '.join(told.split()).replace('|', '¦')} |"
            by_heading.setdefault(param.heading, []).append(row)
    parts = [HEADER]
    for heading, rows in by_heading.items():
        said = {
            without_effect.ACCEPTED: "Ignoring these is harmless; the agent says so once.\n\n",
            without_effect.REFUSED: "Ignoring these would do harm: the agent ends with exit code 2 and the reason.\n\n",
        }.get(heading, "")
        parts.append(f"## {heading}\n\n{said}| option | does |\n|---|---|\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
