"""What a machine may lack: then a test is skipped, but in CI, which installs what tests need, it fails."""

import os
import shutil
from typing import Final

import pytest

IN_CI: Final = bool(os.environ.get("CI"))


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skip where one of these programs is missing."""
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing) and not IN_CI, reason=f"needs {', '.join(missing)}")


needs_root: Final = pytest.mark.skipif(os.geteuid() != 0 and not IN_CI, reason="needs root")
