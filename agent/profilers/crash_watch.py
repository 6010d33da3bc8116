"""Whether a JVM that has ended left the report of a crash, `hs_err_pidN.log`, where JVMs leave one."""

import contextlib
import os
from pathlib import Path
from typing import Self


class CrashWatch:
    """Holds on to the places while the JVM lives: afterwards there is no `/proc/PID` to reach them by.

    Such a report says something of its user's JVMs alone: anybody can write one, and end.
    """

    def __init__(self, pid: int) -> None:
        self.user = user_of(pid)
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
    return int(_status(pid).get("NSpid", [str(pid)])[-1])


def user_of(pid: int) -> int:
    """The number of the user whose process it is; -1 where it has ended."""
    return int(_status(pid).get("Uid", ["-1"])[0])


def _status(pid: int) -> dict[str, list[str]]:
    """What the kernel tells of a process: name -> words; nothing where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    except OSError:
        return {}
    return {name: words.split() for name, _, words in (line.partition(":") for line in lines)}
