"""Files that appear whole or not at all, in a folder that others may write to as well.

Every name is looked up in the folder that was opened, and no link is followed: whoever may write to the folder can take
files from it, but not lead the agent out of it.
"""

import contextlib
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

MODE: Final = 0o644
_DRAFT: Final = re.compile(r"\..+\.[a-z]+\.[0-9a-f]{8}")
"""A file that is being written: a dot, its name to be, and some digits."""
_FORGOTTEN_AFTER: Final = 3600.0
"""Seconds. A draft so old is one that an agent that was killed left behind."""


class Folder:
    """An open folder. Close it, or use it as a context manager."""

    def __init__(self, path: Path) -> None:
        """Make it if need be, and open it.

        Raises:
            OSError: it cannot be made or opened, or it is a link that belongs to neither root nor this user.
        """
        path.mkdir(parents=True, exist_ok=True)
        named = path.lstat()
        if stat.S_ISLNK(named.st_mode) and named.st_uid not in {0, os.geteuid()}:
            raise PermissionError(1, "it is a link of another user's", str(path))
        self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing can be done with it any more."""
        os.close(self._descriptor)

    def write(self, name: str, content: bytes) -> None:
        """A new file of that name, in place of what had the name.

        Raises:
            OSError: it cannot be written; nothing of it is left then.
        """
        with self._draft(name) as draft:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(draft, flags, 0o600, dir_fd=self._descriptor), "wb") as file:
                file.write(content)
                file.flush()
                os.fchmod(file.fileno(), MODE)
                os.fsync(file.fileno())
            os.replace(draft, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)

    def also(self, name: str, *, called: str, content: bytes) -> None:
        """Give a file a second name, in place of what had that: a hard link, or a copy where there are none.

        Raises:
            OSError: neither can be made.
        """
        with self._draft(called) as draft:
            here = self._descriptor
            try:
                os.link(name, draft, src_dir_fd=here, dst_dir_fd=here, follow_symlinks=False)
            except OSError:  # a file system without hard links
                self.write(called, content)
            else:
                os.replace(draft, called, src_dir_fd=here, dst_dir_fd=here)

    def names(self) -> list[str]:
        """What is in it."""
        return os.listdir(self._descriptor)  # noqa: PTH208 -- Path has no way to list an open folder

    def remove(self, name: str) -> None:
        """It is gone, if it was there."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._descriptor)

    def sweep(self) -> None:
        """Remove the drafts that were left by agents that were killed while they wrote."""
        for name in self.names():
            if _DRAFT.fullmatch(name):
                with contextlib.suppress(FileNotFoundError):
                    facts = os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
                    if facts.st_uid == os.geteuid() and time.time() - facts.st_mtime > _FORGOTTEN_AFTER:
                        self.remove(name)

    def keep(self) -> None:
        """Make the new names last."""
        os.fsync(self._descriptor)

    @contextlib.contextmanager
    def _draft(self, of: str) -> Iterator[str]:
        """A name that nothing has, and nothing has afterwards."""
        name = f".{of}.{secrets.token_hex(4)}"
        try:
            yield name
        finally:
            self.remove(name)
