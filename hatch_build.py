"""The wheel carries the page: it is built with the wheel where node is there, else it must have been built before."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface  # type: ignore[import-not-found]  # as below

ROOT = Path(__file__).resolve().parent
TOOL = ROOT / "tools" / "build_console.py"
NO_NODE = 3


class CustomBuildHook(BuildHookInterface):  # type: ignore[misc]  # hatchling is not in the environment of the checks
    """Runs before the files of a wheel are gathered."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - as hatchling calls it
        """Build the page, unless the project is only linked to, or its sources are not part of this folder.

        Raises:
            RuntimeError: it cannot be built from these sources.
        """
        if version == "editable" or not TOOL.exists():
            return
        done = subprocess.run([sys.executable, str(TOOL)], check=False)
        if done.returncode == NO_NODE and not (ROOT / "api" / "built").exists():
            self.app.display_warning("without node the wheel has no page: run `python3 studio.py setup` before")
        elif done.returncode != 0:
            raise RuntimeError("the page could not be built; the lines above say why")
