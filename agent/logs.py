"""Where the agent's log goes: stderr for whoever runs it, and the heartbeat log for whoever looks afterwards."""

import json
import os
import stat
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any, Final, TextIO

import structlog
from structlog.typing import EventDict, WrappedLogger

_MAX_LOG_BYTES: Final = 10 * 1024 * 1024
_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


class UnsafeLog(OSError):
    """The path is not a file of ours; writing there could harm something else."""


class HeartbeatLog:
    """A file of JSON lines that holds every beat. It is kept to ten megabytes, and one older file of as many."""

    def __init__(self, path: Path) -> None:
        """Open it for appending.

        Raises:
            OSError: it cannot be opened, or is not a plain file of this user (`UnsafeLog`).
        """
        self.path = path
        self._file = _open_safely(path)

    def write(self, line: str) -> None:
        """Append a line. A full disk must not stop the agent: the line is lost then."""
        try:
            if os.fstat(self._file).st_size > _MAX_LOG_BYTES:
                self._rotate()
            os.write(self._file, line.encode("utf-8", errors="replace") + b"\n")
        except OSError:
            return

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def _rotate(self) -> None:
        self.path.replace(self.path.with_name(self.path.name + ".1"))
        fresh = _open_safely(self.path)
        os.close(self._file)
        self._file = fresh


def _open_safely(path: Path) -> int:
    """Open a log in a directory that others may write: follow no link, wait for no pipe, trust no foreign file."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    file = os.open(path, flags, 0o600)
    found = os.fstat(file)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_nlink > 1:
        os.close(file)
        raise UnsafeLog(1, "it is not a plain file of this user", str(path))
    return file


def open_heartbeat_log(candidates: Sequence[Path]) -> tuple[HeartbeatLog | None, list[str]]:
    """The first log that can be opened, and why those before it cannot."""
    refused: list[str] = []
    for path in candidates:
        try:
            return HeartbeatLog(path), refused
        except OSError as error:
            refused.append(f"{path}: {error.strerror}")
    return None, refused


class _Tee:
    """The last processor: everything to the heartbeat log, what is important enough to stderr."""

    def __init__(self, stream: TextIO, *, at_least: str, file: HeartbeatLog | None) -> None:
        self._stream = stream
        self._at_least = _LEVELS[at_least]
        self._file = file
        self._console = structlog.dev.ConsoleRenderer(pad_event_to=36) if stream.isatty() else None

    def __call__(self, logger: WrappedLogger, name: str, event: EventDict) -> Mapping[str, Any]:
        as_json = json.dumps(event, default=str, ensure_ascii=False)
        if self._file is not None:
            self._file.write(as_json)
        if _LEVELS.get(name, 0) >= self._at_least:
            text = str(self._console(logger, name, _copy(event))) if self._console else as_json
            self._stream.write(text + "\n")
            self._stream.flush()
        raise structlog.DropEvent


def _copy(event: EventDict) -> MutableMapping[str, Any]:
    return dict(event)


def configure(*, at_least: str, file: HeartbeatLog | None = None) -> None:
    """Send log lines to stderr (JSON unless it is a terminal), and all of them to the heartbeat log."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            _Tee(sys.stderr, at_least=at_least, file=file),
        ],
        wrapper_class=structlog.make_filtering_bound_logger("debug" if file else at_least),
        cache_logger_on_first_use=False,
    )
