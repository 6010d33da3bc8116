"""The perf maps that JIT compilers leave: `/tmp/perf-PID.map` as the process itself sees `/tmp`.

perf reads those of root by itself. It passes over every other user's, since anybody may put a file of that name into
`/tmp`; here one counts if it belongs to the user of the process, and no link is followed.
"""

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, TextIO

from agent.stacks import jit

MAX_SIZE: Final = 256 * 2**20
"""Bytes. A map that is larger is passed over."""


def names(pid: int, addresses: Iterable[int], *, proc: Path = Path("/proc")) -> dict[int, str]:
    """What the process's map says of those addresses; nothing where there is none, or none that can be trusted."""
    try:
        with _open(proc / str(pid)) as lines:
            return jit.resolve(lines, addresses)
    except (OSError, KeyError, ValueError):  # it has ended, has no map, or may not be looked at
        return {}


def traps(*, proc: Path = Path("/proc")) -> frozenset[Path]:
    """Perf maps that perf would open and not get through: of root, and no plain file or a very large one.

    One folder is looked into for each mount namespace.
    """
    folders: dict[str, Path] = {}
    for process in proc.iterdir():
        with contextlib.suppress(OSError):  # it has ended, or may not be looked at
            if process.name.isdecimal():
                folders.setdefault(str((process / "ns" / "mnt").readlink()), process / "root" / "tmp")
    return frozenset(trap for folder in folders.values() for trap in _traps_in(folder))


def spring(found: Iterable[Path]) -> tuple[frozenset[Path], frozenset[Path]]:
    """Let go whoever waits at one of these pipes for somebody to write to it.

    Gives those that are no pipes, and those at which somebody had come. Nothing else is ever opened: to open a device
    can do anything.
    """
    others, sprung = set(), set()
    for trap in found:
        with contextlib.suppress(OSError), _opened(trap, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC) as place:
            if not stat.S_ISFIFO(os.fstat(place).st_mode):
                others.add(trap)
                continue
            # fails where nobody waits
            os.close(os.open(f"/proc/self/fd/{place}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
            sprung.add(trap)
    return frozenset(others), frozenset(sprung)


def _traps_in(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if jit.is_map(entry.name):
                facts = entry.stat(follow_symlinks=False)
                # of a link perf asks the owner, and then follows it, to whatever
                usual = stat.S_ISREG(facts.st_mode) and facts.st_size <= MAX_SIZE
                if facts.st_uid == 0 and not usual:
                    yield Path(entry.path)


@contextlib.contextmanager
def _open(process: Path) -> Iterator[TextIO]:
    """The map, opened name by name below the process's root: a link in there would lead out of its container.

    Raises:
        OSError: it is not there, cannot be opened, is a link or no file, too large, or another user's.
        KeyError: the kernel does not tell the process's number or user.
        ValueError: likewise.
    """
    status = dict(line.split(":", 1) for line in (process / "status").read_text(errors="replace").splitlines())
    own_number = int(status.get("NSpid", status["Pid"]).split()[-1])
    owners = {0, int(status["Uid"].split()[1])}
    folder = os.O_DIRECTORY | os.O_CLOEXEC
    with (
        _opened(process / "root", folder) as root,
        _opened("tmp", folder | os.O_NOFOLLOW, within=root) as tmp,
        _opened(f"perf-{own_number}.map", os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, within=tmp) as file,
    ):
        facts = os.fstat(file)
        if not stat.S_ISREG(facts.st_mode) or facts.st_uid not in owners or facts.st_size > MAX_SIZE:
            raise PermissionError(f"the perf map of process {process.name} is not to be trusted")
        with open(file, encoding="utf-8", errors="replace", closefd=False) as lines:
            yield lines


@contextlib.contextmanager
def _opened(name: str | Path, flags: int, *, within: int | None = None) -> Iterator[int]:
    descriptor = os.open(name, os.O_RDONLY | flags, dir_fd=within)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
