"""The profilers' programs that `scripts/copy_resources_from_image.sh` has brought, for a run from source."""

import os
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).with_name("resources")


def find_resources() -> None:
    """Have the profilers found there, after what the host itself has."""
    if FOLDER.is_dir():
        os.environ["PATH"] = os.pathsep.join([*os.get_exec_path(), str(FOLDER)])
