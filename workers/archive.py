"""Where the archive's files are: a folder, or whatever else fsspec has a protocol for. Files are written once."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import fsspec.core

from workers.segments import NAME, in_chains, sha256

UNFINISHED: Final = ".unfinished-"
FORGOTTEN_AFTER_S: Final = 3600.0


class Archive:
    """The files of one archive. Its address may hold a key: `name` tells it from another without telling it."""

    def __init__(self, url: str) -> None:
        made: tuple[Any, Any] = fsspec.core.url_to_fs(url)
        self._fs = made[0]
        self._root = str(made[1]).rstrip("/")
        self._folder = Path(self._root) if "file" in _protocols(self._fs) else None
        self.name = sha256(f"{_protocols(self._fs)[0]}://{self._root}".encode())[:16]

    def __repr__(self) -> str:
        return f"Archive({self.name})"

    def write(self, path: str, data: bytes) -> None:
        """Store a file for good: on disk by the time this returns, whole or not at all, never over another.

        Raises:
            FileExistsError: there is a file of that name.
            OSError: it cannot be stored.
        """
        if self._folder is not None:
            _write_durably(self._folder / path, data)
        else:
            self._fs.pipe_file(f"{self._root}/{path}", data, mode="create")

    def read(self, path: str) -> bytes:
        """A file's bytes.

        Raises:
            FileNotFoundError: there is none of that name.
        """
        data: bytes = self._fs.cat_file(f"{self._root}/{path}")
        return data

    def paths(self, family: str | None = None, *, since: str = "") -> list[str]:
        """Every segment, of one family or of all, from a UTC day on."""
        found: list[str] = []
        for folder in [family] if family else self._names(""):
            for day in self._names(folder):
                if day >= since:
                    found += [f"{folder}/{day}/{name}" for name in self._names(f"{folder}/{day}")]
        return sorted(path for path in found if NAME.search(path))

    def newest(self, family: str, *, since: str = "") -> dict[int, str]:
        """Stream -> its newest segment among those from a UTC day on."""
        return {stream: chain[-1] for (_, stream), chain in in_chains(self.paths(family, since=since))}

    def sweep(self) -> int:
        """Remove what writers that died have left unfinished an hour ago and earlier. Gives how many files."""
        if self._folder is None:
            return 0
        gone = 0
        for left in self._folder.glob(f"*/*/{UNFINISHED}*"):
            if time.time() - left.stat().st_mtime > FORGOTTEN_AFTER_S:
                left.unlink(missing_ok=True)
                gone += 1
        return gone

    def _names(self, folder: str) -> Iterator[str]:
        self._fs.invalidate_cache()
        with suppress(FileNotFoundError):
            for entry in self._fs.ls(f"{self._root}/{folder}".rstrip("/"), detail=False):
                yield str(entry).rstrip("/").rpartition("/")[2]


def _protocols(fs: Any) -> tuple[str, ...]:
    protocol: str | tuple[str, ...] = fs.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)


def _write_durably(file: Path, data: bytes) -> None:
    """Write beside, flush to the disk, then give it its name: a link is made only where there is no file yet."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = file.with_name(f"{UNFINISHED}{uuid4().hex}")
    try:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        os.link(unfinished, file)
        for folder in (file.parent, file.parent.parent, file.parent.parent.parent):
            _flush_folder(folder)
    finally:
        unfinished.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
