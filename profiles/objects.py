"""Where files of the server are: a folder, or whatever else fsspec has a protocol for. Files are written once."""

import hashlib
import io
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final
from urllib.parse import quote
from uuid import uuid4

import fsspec
import fsspec.core
import fsspec.utils

from profiles.portions import PORTION

if TYPE_CHECKING:
    import pyarrow as pa

UNFINISHED: Final = ".unfinished-"
"""How a file begins that is still written, right below the root: there it is found where its writer died."""
FORGOTTEN_AFTER_S: Final = 3600.0
OF_S3: Final[Mapping[str, Any]] = {"config_kwargs": {"retries": {"mode": "standard", "max_attempts": 2}}}
"""Tried twice, not five times: whoever uploads to a store that is away is told so, and comes again."""
TOLD_APART_BY: Final = ("size", "mtime", "ino", "ETag", "created")
"""What a listing says of a file, as folders, S3 and others have it."""
MOST_FLUSHED: Final = 10_000
SPOOLED_IN_MEMORY: Final = 512 * 1024
"""Bytes of a file that is still coming; most uploads have fewer."""
LONGEST_PART: Final = 200
"""Characters of one part of a path: file systems take 255 bytes."""


def part_of(name: str) -> str:
    """A name as one part of a path, whatever is in it; two names never become one part."""
    part = quote(name, safe="")
    if part.startswith("."):
        part = f"%2E{part[1:]}"
    if len(part) <= LONGEST_PART:
        return part
    return f"{part[:100]}~{hashlib.sha256(name.encode()).hexdigest()}"


def load_client_of(url: str) -> None:
    """Import what speaks to a store: once, for a process that forks."""
    fsspec.get_filesystem_class(fsspec.utils.get_protocol(url))


class Objects:
    """The files below one address. It may hold a key: `name` tells it from another without telling it."""

    def __init__(self, url: str) -> None:
        options = OF_S3 if url.startswith(("s3://", "s3a://")) else {}
        made: tuple[Any, Any] = fsspec.core.url_to_fs(url, **options)
        self.fs = made[0]
        if options:
            self.fs.retries = 2  # s3fs's own, around those of its client
        self.root = str(made[1]).rstrip("/")
        self.folder = Path(self.root) if "file" in _protocols(self.fs) else None
        self._flushed: dict[Path, tuple[int, int]] = {}
        """Folders whose own names this process has flushed to the disk, and which folders those are."""
        self.name = hashlib.sha256(f"{_protocols(self.fs)[0]}://{self.root}".encode()).hexdigest()[:16]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name})"

    def write(self, path: str, data: bytes, rest: BinaryIO | None = None) -> None:
        """Store a file for good: on disk by the time this returns, whole or not at all, never over another.

        Args:
            path: its name.
            data: what is in it.
            rest: a file with more, copied from its first byte on. Into a folder in portions; to a store elsewhere it is
                sent at once, as only one call is all or nothing, and refused where there is such a name.

        Raises:
            FileExistsError: there is a file of that name.
            OSError: it cannot be stored.
        """
        if rest is not None:
            rest.seek(0)
        if self.folder is not None:
            self._write_durably(self.folder, path, data, rest)
        else:
            with self._told_as_ours():
                whole = data if rest is None else data + rest.read()
                self.fs.pipe_file(f"{self.root}/{path}", whole, mode="create")

    def spool(self) -> "tempfile.SpooledTemporaryFile[bytes]":
        """A file for what is still coming. It has no name: nobody finds it, and with this process it is gone.

        In memory while it is small, then on the disk that it will be stored on; where that is elsewhere, on that of
        `TMPDIR`.

        Raises:
            OSError: there is no such disk.
        """
        if self.folder is not None:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = str(self.folder) if self.folder is not None else None
        # where the file system knows no file without a name, it has one for a moment
        return tempfile.SpooledTemporaryFile(SPOOLED_IN_MEMORY, prefix=UNFINISHED, dir=folder)

    def read(self, path: str) -> bytes:
        """A file's bytes.

        Raises:
            FileNotFoundError: there is none of that name.
            OSError: it cannot be read.
        """
        with self._told_as_ours():
            data: bytes = self.fs.cat_file(f"{self.root}/{path}")
        return data

    def table(self, path: str) -> "pa.Table":
        """A Parquet file's rows.

        Raises:
            FileNotFoundError: there is none of that name.
            OSError: it cannot be read.
            pyarrow.ArrowInvalid: it is damaged.
        """
        import pyarrow.parquet as pq  # noqa: PLC0415 - for who reads tables

        return pq.read_table(io.BytesIO(self.read(path)))

    def schema(self, path: str) -> "pa.Schema":
        """A Parquet file's columns and what else stands at its end, without its rows.

        Raises:
            FileNotFoundError: there is none of that name.
            OSError: it cannot be read, or is damaged.
        """
        import pyarrow as pa  # noqa: PLC0415 - likewise
        import pyarrow.parquet as pq  # noqa: PLC0415

        with self._told_as_ours(), self.fs.open(f"{self.root}/{path}", "rb") as file:
            try:
                return pq.read_schema(file)
            except pa.ArrowInvalid:
                raise OSError("a file of the store is damaged") from None

    def size(self, path: str) -> int:
        """A file's bytes, counted; 0 where there is none.

        Raises:
            OSError: the store does not answer.
        """
        with suppress(FileNotFoundError), self._told_as_ours():
            return int(self.fs.info(f"{self.root}/{path}")["size"])
        return 0

    def modified(self, path: str) -> datetime:
        """When a file was written, UTC; now where there is none any more.

        Raises:
            OSError: the store does not answer.
        """
        with suppress(FileNotFoundError), self._told_as_ours():
            when: datetime = self.fs.modified(f"{self.root}/{path}")
            return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
        return datetime.now(UTC)

    def has(self, path: str) -> bool:
        """Whether there is such a file."""
        self.fs.invalidate_cache()
        with self._told_as_ours():
            return bool(self.fs.exists(f"{self.root}/{path}"))

    def remove(self, path: str) -> None:
        """Remove a file; that there is none is no error."""
        with suppress(FileNotFoundError), self._told_as_ours():
            self.fs.rm_file(f"{self.root}/{path}")

    def remove_below(self, folder: str) -> None:
        """Remove a folder with all that is in it; that there is none is no error.

        Raises:
            OSError: the store does not answer; some may be gone.
        """
        self.fs.invalidate_cache()
        with suppress(FileNotFoundError), self._told_as_ours():
            self.fs.rm(f"{self.root}/{folder}", recursive=True)

    def listed(self, folder: str) -> Iterator[tuple[str, str]]:
        """The names of what is right below a folder, each with what tells it from another file of that name.

        Raises:
            OSError: the store does not answer.
        """
        self.fs.invalidate_cache()
        with suppress(FileNotFoundError), self._told_as_ours():
            for entry in self.fs.ls(f"{self.root}/{folder}".rstrip("/"), detail=True):
                name = str(entry["name"]).rstrip("/").rpartition("/")[2]
                if not name.startswith(UNFINISHED):
                    yield (
                        name,
                        "-".join(str(entry.get(fact, "")) for fact in ("size", "ETag", "mtime", "ino", "created")),
                    )

    def names(self, folder: str) -> Iterator[str]:
        """The names of what is right below a folder; none where there is no such folder."""
        self.fs.invalidate_cache()
        with suppress(FileNotFoundError), self._told_as_ours():
            for entry in self.fs.ls(f"{self.root}/{folder}".rstrip("/"), detail=False):
                name = str(entry).rstrip("/").rpartition("/")[2]
                if not name.startswith(UNFINISHED):
                    yield name

    def address(self, path: str) -> str:
        """A file's address, for who reads it through `fs`."""
        return f"{self.root}/{path}" if self.folder is not None else f"{_protocols(self.fs)[0]}://{self.root}/{path}"

    @contextmanager
    def _told_as_ours(self) -> Iterator[None]:
        """What a store's client raises beside OSError, as that: without its words, which may hold a key."""
        try:
            yield
        except OSError:
            raise
        except Exception as error:
            if self.folder is not None:
                raise
            raise OSError(f"the store does not answer: {type(error).__name__}") from None

    def _write_durably(self, folder: Path, path: str, data: bytes, rest: BinaryIO | None) -> None:
        """Write right below the root, flush to the disk, then give it its name: where there is no file of it yet."""
        unfinished, file = folder / f"{UNFINISHED}{uuid4().hex}", folder / path
        try:
            with os.fdopen(_opened(unfinished), "wb") as out:
                out.write(data)
                if rest is not None:
                    shutil.copyfileobj(rest, out, PORTION)
                out.flush()
                os.fsync(out.fileno())
            try:
                os.link(unfinished, file)
            except FileNotFoundError:
                self._flushed.pop(file.parent, None)
                file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                os.link(unfinished, file)
            self._flush_folders(file.parent)
        finally:
            unfinished.unlink(missing_ok=True)

    def _flush_folders(self, folder: Path) -> None:
        """Flush a folder's names to the disk, and those of the folders above it where this process has not yet.

        A folder that was removed and made again is another one: its number tells.
        """
        _flush_folder(folder)
        made = folder.stat()
        which = made.st_dev, made.st_ino
        if self._flushed.get(folder) == which:
            return
        above = folder
        while above not in {self.folder, above.parent}:
            above = above.parent
            _flush_folder(above)
        if len(self._flushed) >= MOST_FLUSHED:
            self._flushed.clear()
        self._flushed[folder] = which

    def sweep(self) -> int:
        """Remove what writers that died have left unfinished an hour ago and earlier. Gives how many files."""
        if self.folder is None:
            return 0
        gone = 0
        for left in self.folder.glob(f"{UNFINISHED}*"):
            with suppress(FileNotFoundError):  # its writer lives, and has just come to its end
                if time.time() - left.stat().st_mtime > FORGOTTEN_AFTER_S:
                    left.unlink()
                    gone += 1
        return gone


def _opened(unfinished: Path) -> int:
    """A descriptor of a new file, its folder made where there is none."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        return os.open(unfinished, flags, 0o600)
    except FileNotFoundError:
        unfinished.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(unfinished, flags, 0o600)


def _protocols(fs: Any) -> tuple[str, ...]:
    protocol: str | tuple[str, ...] = fs.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
