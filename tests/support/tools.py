"""Programs that tests need and Python does not bring."""

import os
import shutil

import pytest


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skip where one is missing; but not in CI, which installs them: there the test fails, so that none is lost."""
    missing = [program for program in programs if shutil.which(program) is None]
    excused = bool(missing) and not os.environ.get("CI")
    return pytest.mark.skipif(excused, reason=f"not installed: {', '.join(missing)}")


needs_root = pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("CI"), reason="needs root")
