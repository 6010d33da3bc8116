"""Where the agent's log goes: stderr for whoever runs it, and the heartbeat log for whoever looks afterwards."""

import json
import logging
import os
import stat
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from io import FileIO, TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Final, TextIO

import structlog
from structlog.typing import EventDict, WrappedLogger

_MAX_LOG_BYTES: Final = 10 * 1024 * 1024
_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


class UnsafeLog(OSError):
    """The path is not a file of ours; writing there could harm something else."""


class LogFile(RotatingFileHandler):
    """A file of lines that is kept to so many bytes, and `backups` older files of as many."""

    def __init__(self, path: Path, *, max_bytes: int | None = None, backups: int = 1) -> None:
        """Open it for appending.

        Raises:
            OSError: it cannot be opened, or is not a plain file of this user (`UnsafeLog`).
        """
        self.path = path
        size = max_bytes or _MAX_LOG_BYTES
        super().__init__(path, maxBytes=size, backupCount=backups, encoding="utf-8", errors="replace")

    def write(self, line: str) -> None:
        """Append a line. A full disk must not stop the agent: the line is lost then."""
        self.handle(logging.LogRecord("", logging.INFO, "", 0, line, None, None))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the base class names it so
        """Lose the line."""

    def doRollover(self) -> None:  # noqa: N802 - the base class names it so
        """Put the full file aside; where that cannot be done, begin it anew.

        In `/tmp` anybody can put a directory where the older file goes: the log would say nothing from then on.
        """
        try:
            super().doRollover()
        except OSError:
            if self.stream is None:
                self.stream = self._open()
            os.ftruncate(self.stream.fileno(), 0)

    def _open(self) -> TextIOWrapper:
        """Where the base class opens it, also after each rotation."""
        # Without a buffer: what a full disk refuses is lost, and does not pile up in memory.
        raw = FileIO(_open_safely(Path(self.baseFilename)), "a")
        return TextIOWrapper(raw, encoding="utf-8", errors="replace", write_through=True)


def _open_safely(path: Path) -> int:
    """Open a log in a directory that others may write: follow no link, wait for no pipe, trust no foreign file."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    file = os.open(path, flags, 0o600)
    found = os.fstat(file)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_nlink > 1:
        os.close(file)
        raise UnsafeLog(1, "it is not a plain file of this user", str(path))
    return file


def open_log_file(path: Path | None, *, max_bytes: int, backups: int) -> LogFile | None:
    """The file that was named, in a folder that is made where it is missing; None for none.

    Raises:
        OSError: it cannot be opened, or is not a plain file of this user (`UnsafeLog`).
    """
    if path is None:
        return None
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    return LogFile(path, max_bytes=max_bytes, backups=backups)


def open_heartbeat_log(candidates: Sequence[Path]) -> tuple[LogFile | None, list[str]]:
    """The first log that can be opened, and why those before it cannot."""
    refused: list[str] = []
    for path in candidates:
        try:
            return LogFile(path), refused
        except OSError as error:
            refused.append(f"{path}: {error.strerror}")
    return None, refused


class _Tee:
    """The last processor: everything to the heartbeat log, what is important enough to stderr and the log file."""

    def __init__(self, stream: TextIO, *, at_least: str, file: LogFile | None, also: LogFile | None) -> None:
        self._stream = stream
        self._at_least = _LEVELS[at_least]
        self._file = file
        self._also = also
        self._console = structlog.dev.ConsoleRenderer(pad_event_to=36) if stream.isatty() else None

    def __call__(self, logger: WrappedLogger, name: str, event: EventDict) -> Mapping[str, Any]:
        as_json = json.dumps(event, default=str, ensure_ascii=False)
        if self._file is not None:
            self._file.write(as_json)
        if _LEVELS.get(name, 0) >= self._at_least:
            if self._also is not None:
                self._also.write(as_json)
            text = str(self._console(logger, name, _copy(event))) if self._console else as_json
            self._stream.write(text + "\n")
            self._stream.flush()
        raise structlog.DropEvent


def _copy(event: EventDict) -> MutableMapping[str, Any]:
    return dict(event)


def configure(*, at_least: str, file: LogFile | None = None, also: LogFile | None = None) -> None:
    """Send log lines to stderr (JSON unless it is a terminal) and `also`, and all of them to the heartbeat log."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            _Tee(sys.stderr, at_least=at_least, file=file, also=also),
        ],
        wrapper_class=structlog.make_filtering_bound_logger("debug" if file else at_least),
        cache_logger_on_first_use=False,
    )
