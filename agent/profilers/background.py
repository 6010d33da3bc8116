"""Work that nobody waits for yet goes last: it takes what the host's own programs leave, for a while.

Reading a recording back takes a core for some tenths of a second. At the lowest priority a program that has something
to do goes before it. On a host that leaves nothing the profile must still arrive, and after a stop somebody waits: then
it goes on as any other.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Final

from agent.profilers.spawn import Child
from agent.waiting import pause

FOR_AT_MOST: Final = timedelta(seconds=2)
LOWEST: Final = 19
_CAP_SYS_NICE: Final = 1 << 23


@contextlib.asynccontextmanager
async def in_background(child: Child, stop: asyncio.Event) -> AsyncIterator[None]:
    """Let a child that was just started go last: for `FOR_AT_MOST`, until `stop`, or to the end of the block."""
    if stop.is_set() or not _may_raise():
        yield
        return
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    _set(child.pid, LOWEST)
    hurrying = asyncio.create_task(_hurry(child, stop, usual))
    try:
        yield
    finally:
        hurrying.cancel()
        await asyncio.gather(hurrying, return_exceptions=True)


async def _hurry(child: Child, stop: asyncio.Event, priority: int) -> None:
    await pause(FOR_AT_MOST, stop)
    if child.exit_code is None:
        _set(child.pid, priority)


@cache
def _may_raise() -> bool:
    """Whether we may give a child its priority back: root may, unless that was taken from it as in the unit file."""
    status = Path("/proc/self/status").read_text()
    known = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return bool(int(known.get("CapEff", "0"), 16) & _CAP_SYS_NICE)


def _set(pid: int, priority: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended
        os.setpriority(os.PRIO_PROCESS, pid, priority)
