"""Processes that the kernel shows as a container's: in a real cgroup with a container's name."""

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from tests.support.agents import busy_python
from tests.support.processes import eventually

_ROOT: Final = Path("/sys/fs/cgroup")


def writable_hierarchy() -> Path | None:
    """Where a cgroup can be made and a process moved into it: of version 2, or systemd's own of version 1."""
    candidates = (_ROOT, _ROOT / "unified", _ROOT / "systemd", _ROOT / "pids")
    return next((at for at in candidates if (at / "cgroup.procs").exists() and _can_be_made_in(at)), None)


def _can_be_made_in(hierarchy: Path) -> bool:
    tried = hierarchy / f"tried-{secrets.token_hex(8)}"
    try:
        tried.mkdir()
    except OSError:
        return False
    tried.rmdir()
    return os.access(hierarchy / "cgroup.procs", os.W_OK)


@contextmanager
def contained(hierarchy: Path, pids: Iterable[int]) -> Iterator[str]:
    """Puts processes, which must end within the block, into a cgroup as Docker makes them; gives the container's id."""
    container_id = secrets.token_hex(32)
    group = hierarchy / f"docker-{container_id}.scope"
    group.mkdir()
    try:
        for pid in pids:
            (group / "cgroup.procs").write_text(str(pid))
        yield container_id
    finally:
        eventually(lambda: (group / "cgroup.procs").read_text() == "", what="the end of the container's processes")
        group.rmdir()


@contextmanager
def busy_container(hierarchy: Path, *, processes: int = 1) -> Iterator[tuple[str, list[int]]]:
    """Busy Python processes in a cgroup as Docker makes them; gives the container's id and their pids."""
    with ExitStack() as outer, busy_python(processes) as pids:
        yield outer.enter_context(contained(hierarchy, pids)), pids
