"""The directory in its `/tmp` where a JVM records, `2026_11_26_03_32_40_4086`: when it was made, and the JVM's number.

A JVM makes it with its first recording and removes it when it ends, unless it is killed. Where it was made for ours it
is ours to remove then: else a host whose JVMs are killed for want of memory would lose its disk to them as well.
"""

import contextlib
import os
import re
import stat
from typing import Final

from agent.processes import Process
from agent.profilers.target_dir import DIRECTORY, NoPlace, TargetDir, mount_of, open_tmp

_NAME: Final = re.compile(r"\d{4}(?:_\d\d){5}_(?P<number>\d+)")
_CHUNK: Final = re.compile(r"\d{4}(?:_\d\d){5}(?:_\d+)?\.(?:jfr|part)")


def is_there(target: Process, number: int) -> bool:
    """Whether the JVM has one, by the number that its own namespace gives it; True where that cannot be seen."""
    try:
        tmp_fd = open_tmp(target)
    except NoPlace:
        return True
    try:
        return bool(_names(tmp_fd, number))
    finally:
        os.close(tmp_fd)


def remove(place: TargetDir, number: int) -> None:
    """Remove that of a JVM that has ended: what it recorded, and the directory when nothing else is in it."""
    for name in _names(place.tmp_fd, number):
        with contextlib.suppress(OSError):  # it is somebody else's, or gone
            fd = os.open(name, DIRECTORY, dir_fd=place.tmp_fd)
            try:
                if os.fstat(fd).st_uid != place.uid or mount_of(fd) != mount_of(place.tmp_fd):
                    continue
                for chunk in filter(_CHUNK.fullmatch, os.listdir(fd)):  # noqa: PTH208 -- Path lists no open folder
                    if stat.S_ISREG(os.stat(chunk, dir_fd=fd, follow_symlinks=False).st_mode):
                        os.unlink(chunk, dir_fd=fd)
            finally:
                os.close(fd)
            os.rmdir(name, dir_fd=place.tmp_fd)


def _names(tmp_fd: int, number: int) -> list[str]:
    found = map(_NAME.fullmatch, os.listdir(tmp_fd))
    return [one[0] for one in found if one is not None and int(one["number"]) == number]
