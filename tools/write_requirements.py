"""Write `requirements.txt`: what the agent needs when it is run from source, as `uv.lock` has it.

    .venv/bin/python tools/write_requirements.py

A test holds the file to this.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import studio  # noqa: E402 - it lies in the folder above

HEADER: Final = """\
# What the agent needs when it is run from source: pip3 install -r requirements.txt, then python3 -m gprofiler.
# Written by tools/write_requirements.py from uv.lock; needs Python 3.11 or newer.
"""


def requirements() -> str:
    """The file as it should be.

    Raises:
        GaveUp: uv is not there.
    """
    environment, _ = studio.settings(dict(os.environ), {})
    uv = studio.find_uv(environment)
    if uv is None:
        raise studio.GaveUp("there is no uv: python3 studio.py setup fetches it")
    command = [uv, "export", "--frozen", "--no-dev", "--extra", "agent", "--no-emit-project", "--no-header", "--quiet"]
    told = subprocess.run(
        [*command, "--project", str(ROOT)], check=True, capture_output=True, text=True, env=environment
    )
    return HEADER + told.stdout


if __name__ == "__main__":
    (ROOT / "requirements.txt").write_text(requirements())
