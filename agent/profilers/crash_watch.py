"""Whether a JVM that has ended left the report of a crash, `hs_err_pidN.log`, where JVMs leave one."""

import contextlib
import os
from pathlib import Path
from typing import Self


class CrashWatch:
    """Holds on to the places while the JVM lives: afterwards there is no `/proc/PID` to reach them by."""

    def __init__(self, pid: int) -> None:
        self._report = f"hs_err_pid{number_inside(pid)}.log"
        self._places: list[int] = []
        for place in (f"/proc/{pid}/cwd", f"/proc/{pid}/root/tmp"):
            with contextlib.suppress(OSError):
                self._places.append(os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for place in self._places:
            os.close(place)

    def crashed(self) -> bool:
        """Whether there is a report of this JVM."""
        return any(_is_there(self._report, place) for place in self._places)


def _is_there(name: str, place: int) -> bool:
    try:
        os.stat(name, dir_fd=place, follow_symlinks=False)
    except OSError:
        return False
    return True


def number_inside(pid: int) -> int:
    """What the process's own namespace calls it."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except OSError:
        return pid
    return next((int(line.split()[-1]) for line in status.splitlines() if line.startswith("NSpid:")), pid)
