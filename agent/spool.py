"""Profiles that wait to be uploaded, on disk: bounded in number and bytes, the oldest first to go.

One file is one upload, ready to be sent, by the profile's name, which begins with its time. A file appears whole or not
at all, and its owner alone may read it. What the server refuses for good is put aside, where somebody may look at it.
"""

import contextlib
import errno
import os
import re
from pathlib import Path
from typing import Final

import structlog
from structlog.typing import FilteringBoundLogger

from agent.spool_limits import SpoolLimits

log: FilteringBoundLogger = structlog.get_logger()

_SUFFIX: Final = ".json.gz"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}")
_MAX_NEWS: Final = 20
_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class Spool:
    """A directory of uploads to make. Everything here touches the disk: call it off the event loop."""

    def __init__(self, directory: Path, limits: SpoolLimits) -> None:
        """Make the directory, if need be, and delete what was half-written when the agent was killed.

        Raises:
            OSError: it cannot be made or read.
        """
        self._directory = directory
        self._refused = directory / "refused"
        self._limits = limits
        self._news: list[str] = []
        self.dropped = 0
        """How many profiles have been deleted unsent to make room, since the agent started."""
        for folder in (directory, self._refused):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in directory.iterdir():
            if path.name.endswith(".new"):
                path.unlink()

    def put(self, name: str, content: bytes) -> None:
        """Keep an upload until it is made. Older ones give way to it.

        Raises:
            OSError: it cannot be written, also after older ones have given way, or is larger than all may be.
            ValueError: the name is no plain file stem.
        """
        if _NAME.fullmatch(name) is None:
            raise ValueError(f"{name!r} is no file stem")
        if len(content) > self._limits.bytes:
            raise OSError(errno.EFBIG, f"a profile of {len(content)} bytes, at most {self._limits.bytes} may wait")
        self._make_room(profiles=1, size=len(content))
        try:
            self._write(name, content)
        except OSError as error:
            if error.errno not in _ROOM or not self._drop_oldest(size=len(content), why="the disk is full"):
                raise
            self._write(name, content)

    def waiting(self) -> list[str]:
        """The names of what waits, oldest first."""
        return sorted(path.name.removesuffix(_SUFFIX) for path in self._directory.glob(f"*{_SUFFIX}"))

    def read(self, name: str) -> bytes | None:
        """An upload; None when it has given way meanwhile.

        Raises:
            OSError: it cannot be read.
        """
        try:
            return self._file(name).read_bytes()
        except FileNotFoundError:
            return None

    def done(self, name: str) -> None:
        """The server has it."""
        self._file(name).unlink(missing_ok=True)

    def put_aside(self, name: str, reason: str) -> None:
        """The server does not want it, or it cannot be read: it is not sent again."""
        with contextlib.suppress(FileNotFoundError):
            self._file(name).replace(self._refused / f"{name}{_SUFFIX}")
        for old in sorted(self._refused.iterdir())[: -self._limits.refused or None]:
            old.unlink(missing_ok=True)
        self._tell(f"profile {name} is not uploaded: {reason}")

    def news(self) -> tuple[str, ...]:
        """What was lost or refused since this was asked last, for people to read."""
        news, self._news = tuple(self._news), []
        return news

    def _make_room(self, *, profiles: int, size: int) -> None:
        sizes = {path: path.stat().st_size for path in sorted(self._directory.glob(f"*{_SUFFIX}"))}
        while sizes and (
            len(sizes) + profiles > self._limits.profiles or sum(sizes.values()) + size > self._limits.bytes
        ):
            oldest = next(iter(sizes))
            del sizes[oldest]
            self._drop(oldest, f"at most {self._limits.profiles} profiles and {self._limits.bytes} bytes may wait")

    def _drop_oldest(self, *, size: int, why: str) -> bool:
        """Let the oldest go until as much is freed as is needed; say whether it is."""
        freed = 0
        for path in sorted(self._directory.glob(f"*{_SUFFIX}")):
            if freed >= size:
                break
            freed += path.stat().st_size
            self._drop(path, why)
        return freed >= size

    def _drop(self, path: Path, why: str) -> None:
        path.unlink(missing_ok=True)
        self.dropped += 1
        self._tell(f"profile {path.name.removesuffix(_SUFFIX)} was deleted before it could be uploaded: {why}")

    def _tell(self, text: str) -> None:
        log.warning("profile not uploaded", reason=text)
        self._news = [*self._news, text][-_MAX_NEWS:]

    def _write(self, name: str, content: bytes) -> None:
        draft = self._directory / f"{name}.new"
        draft.unlink(missing_ok=True)
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._file(name))
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _file(self, name: str) -> Path:
        return self._directory / f"{name}{_SUFFIX}"
