"""Which ports somebody listens on, by the kernel's table of connections (`/proc/PID/net/tcp`, see proc(5)). Pure."""

from collections.abc import Iterable
from itertools import islice
from typing import Final

_LISTENS: Final = "0A"
_STATE: Final = 3
_INODE: Final = 9


def listening(lines: Iterable[str]) -> dict[int, int]:
    """The inode of each socket that listens → its port; of tables of version 4 or 6, with their heading.

    The kernel tells those that listen before all others (`tcp_get_idx` in net/ipv4/tcp_ipv4.c), and no more than these
    is read: behind them may be a hundred thousand that wait for their end, which takes a second.
    """
    found = {}
    for line in islice(lines, 1, None):
        fields = line.split()
        if len(fields) <= _INODE or fields[_STATE] != _LISTENS:
            break
        found[int(fields[_INODE])] = int(fields[1].rpartition(":")[2], 16)
    return found
