"""Where the programs of profilers are."""

import os
import shutil
from pathlib import Path


def found(name: str, given: Path | None = None) -> Path | None:
    """A program by the path that was given, or else by its name on PATH; None: it is not there or may not be run."""
    if given is not None:
        return given if os.access(given, os.X_OK) else None
    on_path = shutil.which(name)
    return Path(on_path).absolute() if on_path else None
