"""Looking at the host for its inventory: the kernel's word on each process, and the names of the kubelet's log files.

Of a process it reads `stat`, `cgroup` and, where its cgroup tells nothing, `mountinfo`: never its environment or its
arguments, in which secrets are kept.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from agent.containers import HOST, Home, home_by_cgroup, home_by_mounts
from agent.inventory import (
    Found,
    Inventory,
    Label,
    Names,
    PodName,
    compiled,
    label,
    names_by_logs,
    read_stat,
    without_descendants,
)

_PROC: Final = Path("/proc")
_LOGS: Final = Path("/var/log/containers")
_LOG_FOLDERS: Final = Path("/var/log/pods")
_MOST: Final = 253
"""Characters of a name in Kubernetes."""


def own_pod(environment: Mapping[str, str]) -> PodName | None:
    """The pod that the agent runs in, by the variables that its manifest sets."""
    name, namespace = environment.get("POD_NAME", ""), environment.get("NAMESPACE", "")
    return PodName(name[:_MOST], namespace[:_MOST] or None) if name else None


class Surroundings:
    """The host around the agent."""

    def __init__(self, own: PodName | None, *, logs: Path = _LOGS, log_folders: Path = _LOG_FOLDERS) -> None:
        self._own = own
        self._logs = logs
        self._log_folders = log_folders

    def look(self) -> Inventory:
        """What runs there now, without what the agent has started itself. Reads files: call it off the event loop."""
        found = list(_Look().processes())
        mine = next((process.home for process in found if process.pid == os.getpid()), HOST)
        return compiled(without_descendants(found, of=os.getpid()), self._names(mine), own=self._own)

    def labels(self, pids: Iterable[int]) -> dict[int, Label]:
        """What those processes run in, as far as it is known; those of the host itself are left out. Reads files."""
        look = _Look()
        homes = {pid: home for pid in pids if (home := look.home_of(pid)) not in {None, HOST}}
        if not homes:
            return {}
        names = self._names(look.home_of(os.getpid()) or HOST)
        return {pid: told for pid, home in homes.items() if home and (told := label(home, names)) is not None}

    def _names(self, mine: Home) -> Names:
        """What the kubelet's files tell, with the name of the pod that the agent itself is in."""
        own = {mine.pod_uid: self._own} if mine.pod_uid is not None and self._own is not None else {}
        return names_by_logs(_names_in(self._logs), _names_in(self._log_folders), own=own)


class _Look:
    """One look, which reads what processes share only once."""

    def __init__(self) -> None:
        self._by_cgroup: dict[str, Home] = {}
        self._by_mounts: dict[str, Home] = {}

    def processes(self) -> Iterator[Found]:
        for folder in _PROC.iterdir():
            if not folder.name.isdecimal():
                continue
            try:
                read = read_stat((folder / "stat").read_text(errors="replace"))
                if read is not None:
                    yield Found(int(folder.name), *read, self._home(folder))
            except OSError:
                continue  # it has ended, or may not be looked at

    def home_of(self, pid: int) -> Home | None:
        """What one process runs in; None when it has ended, or may not be looked at."""
        try:
            return self._home(_PROC / str(pid))
        except OSError:
            return None

    def _home(self, folder: Path) -> Home:
        text = (folder / "cgroup").read_text(errors="replace")
        if text not in self._by_cgroup:
            self._by_cgroup[text] = home_by_cgroup(text)
        home = self._by_cgroup[text]
        return self._home_by_mounts(folder) if home == HOST else home

    def _home_by_mounts(self, folder: Path) -> Home:
        try:
            namespace = str((folder / "ns" / "mnt").readlink())
            if namespace not in self._by_mounts:
                self._by_mounts[namespace] = home_by_mounts((folder / "mountinfo").read_text(errors="replace"))
        except PermissionError:
            return HOST  # another user's, and the agent is not root
        return self._by_mounts[namespace]


def _names_in(folder: Path) -> list[str]:
    """The names of the files in a folder; none where there is no such folder or it may not be read."""
    try:
        return [entry.name for entry in folder.iterdir()]
    except OSError:
        return []
