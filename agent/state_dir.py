"""The agent's own directory, and the lock that keeps a second agent out of it."""

import errno
import fcntl
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_MAX_LOCK_BYTES: Final = 32


class StateDirUnusable(Exception):
    """The agent cannot run with this directory; the text says why and what to do."""


def default_state_dir() -> Path:
    """`/var/lib/gprofiler` for root, else the XDG state directory of the user."""
    if os.geteuid() == 0:
        return Path("/var/lib/gprofiler")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "gprofiler"


class StateDir:
    """Where things lie in the state directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ledger = path / "ledger.jsonl"
        self.work = path / "work"
        self.profiles = path / "profiles"
        self.spool = path / "spool"
        self.spool_local = path / "spool-local"
        self.deaths = path / "deaths.json"
        self.lock = path / "lock"
        self.heartbeat_log = path / "gprofiler-heartbeat.log"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Own the directory: create it, keep other agents out, sweep away what a killed agent left in `work`.

        Raises:
            StateDirUnusable: it cannot be created or written, is another user's, or another agent owns it.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.path.stat().st_uid not in {0, os.geteuid()}:
                # Its owner could put links where the agent, as root, writes.
                raise PermissionError(errno.EPERM, "it is another user's", str(self.path))
            lock = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateDirUnusable(
                f"the state directory {self.path} cannot be used: {error.strerror}. "
                "Name one this user may write with --state-dir."
            ) from error
        try:
            self._take(lock)
            shutil.rmtree(self.work, ignore_errors=True)
            yield
        finally:
            os.close(lock)

    def _take(self, lock: int) -> None:
        owner = _taken_by(lock)
        if owner is not None:
            raise StateDirUnusable(
                f"another gprofiler (pid {owner}) already uses the state directory {self.path}. "
                "Stop it, or give this one its own with --state-dir."
            )


@contextmanager
def sole(identity: str, *, run: Path | None = None) -> Iterator[None]:
    """Be the one agent of this identity on the host, whatever its state directory: two would take turns at commands.

    The lock is a file in a directory of this user's own, so that nobody else can keep the agent from starting. Where
    there is no such directory (a container without /run), nothing is held: then the state directory has to do.

    Raises:
        StateDirUnusable: another agent is it.
    """
    lock = _open_own(run or _run_directory(), hashlib.sha256(identity.encode()).hexdigest()[:16])
    if lock is None:
        yield
        return
    try:
        owner = _taken_by(lock)
        if owner is not None:
            raise StateDirUnusable(
                f"another gprofiler (pid {owner}) already speaks for this host and service to this server."
                " Stop it first."
            )
        yield
    finally:
        os.close(lock)


def _run_directory() -> Path:
    return Path("/run") if os.geteuid() == 0 else Path(os.environ.get("XDG_RUNTIME_DIR") or "/nonexistent")


def _open_own(run: Path, name: str) -> int | None:
    """A lock file in a directory that nobody else may write to; None where there cannot be one."""
    directory = run / "gprofiler"
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        facts = directory.lstat()
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_mode & 0o022:
            return None
        return os.open(directory / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        return None


def _taken_by(lock: int) -> str | None:
    """Take a lock and leave our pid in it; whose it is, when it is another's."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return os.pread(lock, _MAX_LOCK_BYTES, 0).decode(errors="replace").strip() or "unknown"
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return None
