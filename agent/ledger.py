"""The agent's memory of commands: an append-only file of JSON lines, on disk before anything is acted on.

A line is one record (`history.Record`). A crash can tear the last line only; it is dropped when the file is read. Ids,
not times, bound the file, so that a clock that steps makes nothing forgotten.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import structlog
from pydantic import ValidationError
from structlog.typing import FilteringBoundLogger

from agent.history import History, Record, RecordReader
from protocol.heartbeats import MAX_IDS

log: FilteringBoundLogger = structlog.get_logger()

_COMPACT_AFTER: Final = 4 * MAX_IDS
"""Lines appended before the file is rewritten: about what `MAX_IDS` commands write."""

_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


class LedgerFull(OSError):
    """The record is not on disk: whatever it was to protect must not be done."""


class Ledger:
    """An open ledger. `history` holds what is on disk, and what `note` was told."""

    def __init__(self, path: Path) -> None:
        """Open it, drop what a crash tore, and rewrite it in its shortest form.

        Raises:
            OSError: the file cannot be read or written.
        """
        self._path = path
        self.history = History.of(_read(path))
        self._file = -1
        self._size = 0
        self._appended = 0
        self._compact()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file. Every record is on disk already."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def record(self, record: Record) -> None:
        """Write a record and wait until the disk has it.

        Raises:
            LedgerFull: it could not be written; the ledger is as it was.
        """
        if self._appended >= _COMPACT_AFTER:
            self._try_to_compact()
        try:
            self._append(_line(record))
        except OSError as error:
            raise LedgerFull(error.errno, f"the ledger {self._path} cannot be written: {error.strerror}") from error
        self.note(record)

    def note(self, record: Record) -> None:
        """Keep a record in memory alone: for this process it counts, after a restart it does not."""
        self.history = self.history.having(record)

    def _append(self, line: bytes) -> None:
        try:
            _write_all(self._file, line)
            os.fsync(self._file)
        except OSError:
            # A half-written line would swallow the next one.
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(line)
        self._appended += 1

    def _try_to_compact(self) -> None:
        try:
            self._compact()
        except OSError as error:
            log.warning("the ledger could not be compacted, it keeps growing", path=str(self._path), error=str(error))

    def _compact(self) -> None:
        fresh = self._path.with_name(self._path.name + ".new")
        content = b"".join(_line(record) for record in self.history.records(at=datetime.now(UTC)))
        file = os.open(fresh, _FLAGS, 0o600)
        try:
            with open(file, "wb", closefd=False) as writer:
                writer.write(content)
            os.fsync(file)
            fresh.replace(self._path)
            _sync_directory(self._path.parent)
        except OSError:
            os.close(file)
            raise
        self.close()
        self._file, self._size, self._appended = file, len(content), 0


def _write_all(file: int, line: bytes) -> None:
    """Write the line as a whole; what a nearly full disk does not take the second time is its own error."""
    written = os.write(file, line)
    while written < len(line):
        written += os.write(file, line[written:])


def _line(record: Record) -> bytes:
    return record.model_dump_json(exclude_none=True).encode() + b"\n"


def _read(path: Path) -> Iterator[Record]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    lines = content.split(b"\n")
    torn = lines.pop()
    if torn:
        log.info("the ledger's last line is torn, as a crash leaves it; it is dropped", path=str(path))
    damaged = 0
    for line in lines:
        try:
            yield RecordReader.validate_json(line)
        except ValidationError:
            damaged += 1
    if damaged:
        log.warning("lines of the ledger cannot be read; they are dropped", path=str(path), lines=damaged)


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
