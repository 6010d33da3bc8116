"""A directory of the agent's in a target's own `/tmp`, for a runtime that writes its profile itself.

The target has its own mount namespace and user, so the directory is reached by `/proc/PID/root` and given to that user.
Everything in there may be changed by others, while the agent is root: nothing is opened by a path of more than one
part, no link is followed, only plain files are read, and of those no more than a bound.

Any user may mount in a namespace of their own: `/tmp`, or what is in it, can be `/etc`. So `/tmp` must be a place where
the target's user could make the directory too, what lies in there must be on the same mount, and a directory is given
away or emptied only if it is the one that was just made, or that user's already.
"""

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import psutil

from agent.processes import Process

PREFIX: Final = "gprofiler"
MAX_BYTES: Final = 256 << 20

_NAME: Final = re.compile(rf"{PREFIX}-(?P<pid>\d+)-(?P<began>\d+)-(?P<target>\d+)-[0-9a-f]+")
"""The agent by its pid and when it began, and the target: several agents and targets may share one `/tmp`."""
DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class NoPlace(OSError):
    """There is no place for the agent's files in the target; the text says why."""


@dataclass(frozen=True)
class TargetDir:
    """An open directory: `path` is what the target calls it, and its last part is `name`."""

    name: str
    tmp_fd: int
    fd: int
    uid: int

    @property
    def path(self) -> str:
        """As the target sees it."""
        return f"/tmp/{self.name}"  # noqa: S108 -- made by mkdir, which fails where something is already

    @classmethod
    def make(cls, target: Process, files: dict[str, bytes]) -> Self:
        """Make one with these files in it, which belongs to the target's user.

        Raises:
            NoPlace: the target's `/tmp` is not there, is a link, or cannot be written to; or the target has ended.
        """
        uid, gid = _user(target)
        tmp_fd = open_tmp(target)
        name = f"{PREFIX}-{_us()}-{target.pid}-{secrets.token_hex(4)}"
        try:
            os.mkdir(name, 0o700, dir_fd=tmp_fd)
            fd = _opened_new(name, tmp_fd)
        except OSError as problem:
            os.close(tmp_fd)
            raise NoPlace(f"its /tmp cannot be written to: {problem.strerror}") from problem
        made = cls(name, tmp_fd, fd, uid)
        try:
            os.fchown(fd, uid, gid)  # first: one of root's that is left behind is empty
            for file, content in files.items():
                made.write(file, content)
        except OSError as problem:
            made.remove()
            raise NoPlace(f"its /tmp cannot be written to: {problem.strerror}") from problem
        return made

    def is_for(self, target: Process) -> bool:
        """Whether it was made for a process with this number."""
        named = _NAME.fullmatch(self.name)
        return named is not None and int(named["target"]) == target.pid

    def has(self, file: str) -> bool:
        """Whether there is something of this name."""
        return file in _names(self.fd)

    def read(self, file: str, *, at_most: int = MAX_BYTES) -> bytes:
        """A plain file's bytes.

        Raises:
            OSError: it is not there, no plain file of the target's user, or too large.
        """
        fd = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self.fd)
        with os.fdopen(fd, "rb") as opened:
            about = os.fstat(fd)
            if not stat.S_ISREG(about.st_mode) or about.st_nlink != 1 or about.st_uid != self.uid:
                raise NoPlace(f"{self.path}/{file} is no plain file")
            if about.st_size > at_most:
                raise NoPlace(f"{self.path}/{file} has {about.st_size} bytes, more than {at_most}")
            return opened.read(at_most)

    def remove(self) -> None:
        """Remove it with the files in it, and let go of it. What is still root's was never used: it has none."""
        if os.fstat(self.fd).st_uid == self.uid:
            _empty(self.fd)
        with contextlib.suppress(OSError):
            os.rmdir(self.name, dir_fd=self.tmp_fd)
        os.close(self.fd)
        os.close(self.tmp_fd)

    def write(self, file: str, content: bytes) -> None:
        """Put a file there that was not there, for the target's user to read.

        Raises:
            OSError: it was there, or cannot be written.
        """
        fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644, dir_fd=self.fd)
        with os.fdopen(fd, "wb") as opened:
            opened.write(content)
            os.fchmod(fd, 0o644)


def left_behind(target: Process) -> Iterator[TargetDir]:
    """What agents that are gone have left in the target's `/tmp`, of this target or one that is gone; to be removed."""
    uid, _ = _user(target)
    try:
        tmp_fd = open_tmp(target)
    except NoPlace:
        return
    try:
        names = [name for name in _names(tmp_fd) if (found := _NAME.fullmatch(name)) and _is_left(found, target)]
        for name in names:
            try:
                fd = os.open(name, DIRECTORY, dir_fd=tmp_fd)
            except OSError:
                continue
            if os.fstat(fd).st_uid in (uid, os.geteuid()) and mount_of(fd) == mount_of(tmp_fd):
                yield TargetDir(name, os.dup(tmp_fd), fd, uid)
            else:
                os.close(fd)
    finally:
        os.close(tmp_fd)


def _names(fd: int) -> list[str]:
    return os.listdir(fd)


def _empty(fd: int) -> None:
    with contextlib.suppress(OSError):
        for file in _names(fd):
            with contextlib.suppress(OSError):  # a directory that the target's user made there is theirs
                os.unlink(file, dir_fd=fd)


def _opened_new(name: str, tmp_fd: int) -> int:
    """The directory that was just made, open.

    Raises:
        OSError: something else has taken its place meanwhile.
    """
    fd = os.open(name, DIRECTORY, dir_fd=tmp_fd)
    about = os.fstat(fd)
    private = about.st_uid == os.geteuid() and not about.st_mode & 0o077
    if private and mount_of(fd) == mount_of(tmp_fd) and not _names(fd):
        return fd
    os.close(fd)
    raise OSError(errno.EXDEV, "another directory was put in place of the agent's")


def mount_of(fd: int) -> str:
    """The number of the mount that an open file is on; the device would be the same after a bind mount."""
    lines = Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith("mnt_id:"))


def open_tmp(target: Process) -> int:
    """The target's `/tmp`, open.

    Raises:
        NoPlace: it cannot be opened, or is no place for its user's files; or the target has ended.
    """
    user = _user(target)
    try:
        root = os.open(f"/proc/{target.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError as problem:
        raise NoPlace("the agent may not look into it: run the agent as root") from problem
    except OSError as problem:
        raise NoPlace("it has ended") from problem
    try:
        # A link here would be followed in the agent's own root, wherever the target's user wants.
        tmp_fd = os.open("tmp", DIRECTORY, dir_fd=root)
    except OSError as problem:
        raise NoPlace(f"its /tmp is no directory that can be opened: {problem.strerror}") from problem
    finally:
        os.close(root)
    if not _may_write(os.fstat(tmp_fd), *user):
        os.close(tmp_fd)
        raise NoPlace("its /tmp is not its user's to write to")
    return tmp_fd


def _may_write(about: os.stat_result, uid: int, gid: int) -> bool:
    """Whether the user could make a file in the directory; nothing is done for them where they could not."""
    return (
        uid in (0, about.st_uid)
        or bool(about.st_mode & stat.S_IWOTH)
        or (about.st_gid == gid and bool(about.st_mode & stat.S_IWGRP))
    )


def _user(target: Process) -> tuple[int, int]:
    try:
        process = psutil.Process(target.pid)
        return process.uids().effective, process.gids().effective
    except psutil.Error as problem:
        raise NoPlace("it has ended") from problem


def _us() -> str:
    return f"{os.getpid()}-{_began(os.getpid())}"


def _is_left(found: re.Match[str], target: Process) -> bool:
    """Whether the agent that a directory is named after is gone, and no other target may still use it."""
    if _began(int(found["pid"])) == int(found["began"]):
        return False
    return int(found["target"]) == target.pid or not psutil.pid_exists(int(found["target"]))


def _began(pid: int) -> int | None:
    """When a process began, in ticks since the machine did: with the pid it names a process for good."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    return int(text.rpartition(")")[2].split()[19])
