"""Ends what an earlier supervisor left behind when it was killed: two brokers must not share one data directory."""

import signal
import time
from collections.abc import Callable
from typing import Final

from cli import processes
from cli.state import StateDir

PATIENCE_S: Final = 5.0


def end_leftovers(state: StateDir, tell: Callable[[str], None]) -> None:
    """Stop every process that a supervisor on this directory has started, SIGTERM first. The caller holds the claim."""
    record = state.read_record()
    recorded = {role.pid: role for role in (record.roles if record else ()) if role.pid is not None}
    names = {pid: role.name for pid, role in recorded.items() if processes.is_alive(pid, role.born)}
    names |= {pid: names.get(pid, "a process") for pid in processes.marked(str(state))}
    if not names:
        return
    tell(f"ending what an earlier run left: {', '.join(f'{name} (pid {pid})' for pid, name in names.items())}")
    births = {pid: processes.born(pid) for pid in names}
    for pid in births:
        processes.tell(pid, signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE_S
    while alive := [pid for pid, birth in births.items() if processes.is_alive(pid, birth)]:
        if time.monotonic() > deadline:
            for pid in alive:
                processes.tell(pid, signal.SIGKILL)
        time.sleep(0.05)
