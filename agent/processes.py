"""Processes of this host, as far as a profiler cares: which are there, and which runtime each has."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import psutil

from agent import runtimes
from agent.runtimes import Runtime

SETTLED_AFTER: Final = timedelta(seconds=60)
"""A process this old has loaded the libraries it is going to load: the answer about it is kept."""

_UNPRINTABLE: Final = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029), "?")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_STATE, _USER, _SYSTEM, _STARTED = 0, 11, 12, 19
"""Which of the fields of `_stat` tell these."""
_ENDED: Final = frozenset({"Z", "X"})

HEAD_BYTES: Final = 4096
"""So much of an executable is looked at."""


@dataclass(frozen=True)
class Process:
    """A process at one moment. `create_time` (seconds since the machine began) tells it from a later one of its pid.

    Not the time of day: that is another for the same process once the clock has been set.

    `runtime` is None for a thread of the kernel, and where the process may not be looked at.
    """

    pid: int
    create_time: float
    name: str
    runtime: Runtime | None


class NoSuchTarget(LookupError):
    """There is no such process to profile; the text says why as far as that is known."""


class ProcessTable:
    """Looks at `/proc`, and remembers what it found out about processes that will not change any more."""

    def __init__(self) -> None:
        self._runtimes: dict[tuple[int, float, str], Runtime | None] = {}

    def find(self, pid: int) -> Process:
        """One process by its number.

        Raises:
            NoSuchTarget: it is not there, has ended, or belongs to a container under another number.
        """
        try:
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                raise NoSuchTarget(f"process {pid} ({process.name()}) has ended and only waits for its parent")
            return self._look_at(pid)
        except psutil.NoSuchProcess:
            raise NoSuchTarget(_why_not_here(pid)) from None
        except psutil.AccessDenied:
            raise NoSuchTarget(f"process {pid} may not be looked at: run the agent as root") from None

    def all(self) -> list[Process]:
        """Every process of the host, but for those that end while we look or may not be looked at."""
        found = []
        for pid in psutil.pids():
            try:
                found.append(self._look_at(pid))
            except psutil.Error:
                continue
        there = {(process.pid, process.create_time) for process in found}
        self._runtimes = {key: runtime for key, runtime in self._runtimes.items() if key[:2] in there}
        return found

    def _look_at(self, pid: int) -> Process:
        created = _create_time(pid)
        try:
            name = _name(pid)
        except PermissionError:
            raise psutil.AccessDenied(pid) from None
        except OSError:
            raise psutil.NoSuchProcess(pid) from None
        return Process(pid, created, name, self._runtime(pid, created))

    def _runtime(self, pid: int, created: float) -> Runtime | None:
        executable = _executable(pid)
        key = (pid, created, executable)
        if key not in self._runtimes:
            runtime = _runtime_of(pid, executable)
            age = time.clock_gettime(time.CLOCK_BOOTTIME) - created
            if runtime in (None, "native") and age < SETTLED_AFTER.total_seconds():
                return runtime
            self._runtimes[key] = runtime
        return self._runtimes[key]


def busiest(processes: Sequence[Process], limit: int, *, window: timedelta) -> list[Process]:
    """The `limit` processes that use most CPU during the window, for which this sleeps; of equals, since they began."""
    before = {process: used_by(process) or 0.0 for process in processes}
    time.sleep(window.total_seconds())
    used = {process: (used_by(process) or 0.0) - then for process, then in before.items()}
    return sorted(processes, key=lambda process: (-used[process], -before[process]))[:limit]


def sees_our_files(process: Process) -> bool:
    """Whether it sees the files that the agent sees, and so can load a library that lies there."""
    try:
        return Path(f"/proc/{process.pid}/ns/mnt").readlink() == Path("/proc/self/ns/mnt").readlink()
    except OSError:
        return False


def used_by(process: Process) -> float | None:
    """The seconds of CPU that it has used since it began; None once it has ended, or where it may not be looked at."""
    try:
        fields = _stat(process.pid)
    except psutil.Error:
        return None
    is_same = int(fields[_STARTED]) / _TICKS == process.create_time
    return (int(fields[_USER]) + int(fields[_SYSTEM])) / _TICKS if is_same else None


def age_of(process: Process) -> float:
    """Seconds since it began."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - process.create_time


def names_of(pids: frozenset[int]) -> dict[int, str]:
    """The current names of those of the pids that are still there."""
    names = {}
    for pid in pids:
        try:
            names[pid] = _name(pid)
        except OSError:
            continue
    return names


def is_alive(process: Process) -> bool:
    """Whether it is still the same process and has not ended."""
    try:
        fields = _stat(process.pid)
    except psutil.Error:
        return False
    return int(fields[_STARTED]) / _TICKS == process.create_time and fields[_STATE] not in _ENDED


def _name(pid: int) -> str:
    """What the process calls itself, without what would steer the terminal of whoever reads a message about it.

    Raises:
        OSError: it has ended, or may not be looked at.
    """
    return Path(f"/proc/{pid}/comm").read_text(errors="replace").rstrip("\n").translate(_UNPRINTABLE)


def _create_time(pid: int) -> float:
    """As `Process.create_time`.

    Raises:
        AccessDenied: it may not be looked at.
        NoSuchProcess: it has ended.
    """
    return int(_stat(pid)[_STARTED]) / _TICKS


def _stat(pid: int) -> list[str]:
    """What stands behind the name in `/proc/PID/stat`: man 5 proc_pid_stat.

    Raises:
        AccessDenied: it may not be looked at.
        NoSuchProcess: it has ended.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except PermissionError:
        raise psutil.AccessDenied(pid) from None
    except OSError:
        raise psutil.NoSuchProcess(pid) from None
    return text.rpartition(")")[2].split()


def in_other_namespace(pid: int) -> bool:
    """Whether the process has its own numbering of processes, as in a container."""
    try:
        return Path(f"/proc/{pid}/ns/pid").readlink() != Path("/proc/self/ns/pid").readlink()
    except OSError:
        return False


def _runtime_of(pid: int, executable: str) -> Runtime | None:
    if not executable:
        return None
    known = runtimes.by_name(executable) or runtimes.by_library(_mapped(pid))
    if known is not None:
        return known
    try:
        with Path(f"/proc/{pid}/exe").open("rb") as program:
            return runtimes.by_contents(program.read(HEAD_BYTES))
    except OSError:
        return None


def _executable(pid: int) -> str:
    """Its path; what the process calls itself where we may not look; nothing for a kernel thread or one that ends."""
    try:
        return str(Path(f"/proc/{pid}/exe").readlink())
    except PermissionError:
        return _first_argument(pid)
    except OSError:
        return ""


def _first_argument(pid: int) -> str:
    try:
        with Path(f"/proc/{pid}/cmdline").open("rb") as file:  # a command line may have megabytes
            return file.read(HEAD_BYTES).partition(b"\0")[0].decode(errors="replace")
    except OSError:
        return ""


def _mapped(pid: int) -> Iterator[str]:
    """The files that a process maps; none where that cannot be read."""
    try:
        with Path(f"/proc/{pid}/maps").open(errors="replace") as maps:
            for line in maps:
                fields = line.rstrip("\n").split(maxsplit=5)
                if len(fields) == 6:  # noqa: PLR2004 -- address, permissions, offset, device, inode, path
                    yield fields[5]
    except OSError:
        return


def _why_not_here(pid: int) -> str:
    """Why a pid is unknown: gone, or the number that a container's own namespace gives to a process of ours."""
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text(errors="replace")
        except OSError:
            continue
        fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        numbers = fields.get("NSpid", "").split()
        if len(numbers) > 1 and numbers[-1] == str(pid):
            name = fields.get("Name", "").strip()
            return (
                f"no process {pid} on this host; inside a container {pid} is {name}, which is process {numbers[0]}"
                " here: ask for that number"
            )
    return (
        f"no process {pid} on this host: it has ended, or it is the number of a process in another container,"
        " which the agent cannot see"
    )
