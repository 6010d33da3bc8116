"""The agent as one file, built as users build it; once for all tests of a run that ask for it."""

import fcntl
import os
import platform
import subprocess
from pathlib import Path
from typing import Final

from tests.support.processes import ROOT

MACHINE: Final = platform.machine()
BUILT: Final = ROOT / "build" / MACHINE / "gprofiler"
_BUILD: Final = ROOT / "scripts" / f"build_{MACHINE}_executable.sh"


def executable() -> Path:
    """Build it, unless this run of the tests has done so already, in this process or beside it; gives the file."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    note = ROOT / "build" / "built-for-tests"
    note.parent.mkdir(exist_ok=True)
    with note.open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        if lock.read() != run or not BUILT.exists():
            done = subprocess.run(
                [_BUILD, "--fast"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
            )
            assert done.returncode == 0, done.stdout
            lock.truncate(0)
            lock.write(run)
    return BUILT
