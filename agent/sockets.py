"""Which ports somebody listens on, by the kernel's table of connections (`/proc/PID/net/tcp`, see proc(5)). Pure."""

from collections.abc import Iterable
from typing import Final

_LISTENS: Final = "0A"
_INODE: Final = 9


def listening(lines: Iterable[str]) -> dict[int, int]:
    """The inode of each socket that listens → its port; of tables of version 4 or 6."""
    found = {}
    for line in lines:
        fields = line.split()
        if len(fields) > _INODE and fields[3] == _LISTENS:
            found[int(fields[_INODE])] = int(fields[1].rpartition(":")[2], 16)
    return found
