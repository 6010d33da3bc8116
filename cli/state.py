"""The state directory: who runs on it, what runs, logs and tokens. Closed to other users, for it holds tokens."""

import contextlib
import fcntl
import json
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Final, Literal

from cli.errors import AlreadyRunning, BadTokens, UnsafeStateDir

LARGE_LOG_BYTES: Final = 10 * 1024 * 1024
KEPT_LOGS: Final = 3
PATIENCE_FOR_A_LOOK_S: Final = 1.0
"""`status` holds the lock for an instant to see whether anyone else does; a start waits that out."""


def default_state_dir() -> Path:
    """`$XDG_STATE_HOME/performance-studio`, by default `~/.local/state/performance-studio`."""
    base = os.environ.get("XDG_STATE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".local" / "state") / "performance-studio"


@dataclass(frozen=True)
class RunningRole:
    """One child of the supervisor. `born` is the kernel's start time: with it a pid is known from a reused one."""

    name: str
    pid: int | None
    born: int | None
    restarts: int
    last_exit: str | None = None


@dataclass(frozen=True)
class RunningSystem:
    """What a supervisor says of itself in `run/studio.json`."""

    pid: int
    born: int | None
    url: str
    roles: list[RunningRole] = field(default_factory=list)


class StateDir:
    """A state directory, made with mode 0700."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()

    def __str__(self) -> str:
        return str(self.path)

    @property
    def tokens_file(self) -> Path:
        """Written by the API at its first start, mode 0600."""
        return self.path / "tokens.json"

    @property
    def profiles(self) -> Path:
        """Where the agent that runs beside the API leaves its profiles."""
        return self.path / "profiles"

    @property
    def run(self) -> Path:
        """Pids, and what the supervisor says of itself."""
        return self.path / "run"

    @property
    def logs(self) -> Path:
        """One file a role."""
        return self.path / "logs"

    def make(self) -> None:
        """Make the directory and its folders, closed to other users.

        Raises:
            UnsafeStateDir: it belongs to somebody else, or cannot be made.
        """
        try:
            for folder in (self.path, self.run, self.logs, self.profiles):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            facts = self.path.stat()
            if facts.st_uid != os.geteuid():
                raise UnsafeStateDir(f"{self.path} belongs to another user (uid {facts.st_uid}); choose another one.")
            if stat.S_IMODE(facts.st_mode) & 0o077:
                self.path.chmod(0o700)
        except OSError as error:
            raise UnsafeStateDir(f"cannot use {self.path} as state directory: {error.strerror or error}.") from error

    @contextlib.contextmanager
    def claim(self) -> Iterator[None]:
        """Hold the directory: one supervisor at a time. The kernel lets go of it when we die, however we die.

        Raises:
            AlreadyRunning: another supervisor holds it.
        """
        with (self.run / "lock").open("a+") as lock:
            deadline = time.monotonic() + PATIENCE_FOR_A_LOOK_S
            while not _try_lock(lock):
                if time.monotonic() > deadline:
                    raise AlreadyRunning(self.path, _pid_in(lock))
                time.sleep(0.05)
            lock.seek(0)
            lock.truncate()
            lock.write(f"{os.getpid()}\n")
            lock.flush()
            yield

    def is_claimed(self) -> bool:
        """Whether a supervisor runs on it."""
        try:
            with (self.run / "lock").open("r+") as lock:
                return not _try_lock(lock)
        except FileNotFoundError:
            return False

    def write_record(self, system: RunningSystem) -> None:
        """Say what runs: `run/studio.json` for programs, `run/<role>.pid` for people."""
        for role in system.roles:
            pid_file = self.run / f"{role.name}.pid"
            if role.pid is None:
                pid_file.unlink(missing_ok=True)
            else:
                _replace(pid_file, f"{role.pid}\n")
        _replace(self.run / "studio.json", json.dumps(asdict(system), indent=1))

    def read_record(self) -> RunningSystem | None:
        """What the last supervisor said, also after its death; None when there was none, or it was of another kind."""
        try:
            facts = json.loads((self.run / "studio.json").read_text())
            return RunningSystem(**{**facts, "roles": [RunningRole(**role) for role in facts["roles"]]})
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None  # an older or newer version wrote it: what it left running is found by its mark

    def clear_record(self) -> None:
        """Forget what ran, once it has stopped."""
        for file in (*self.run.glob("*.pid"), self.run / "studio.json"):
            file.unlink(missing_ok=True)

    def token(self, kind: Literal["admin", "agent"]) -> str | None:
        """A token of the file the API made; None until it is there.

        Raises:
            BadTokens: it is there and cannot be used.
        """
        try:
            return str(json.loads(self.tokens_file.read_text())[kind])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadTokens(
                f"{self.tokens_file} cannot be used as the file of tokens ({type(error).__name__}). It is JSON with the"
                " texts `admin` and `agent`: put it back from a backup, or, if the broker answers, make a token with"
                " `studio tenants admin default`."
            ) from None

    def replace_token(self, kind: str, secret: str) -> None:
        """Put another token into the file, which nobody else may read, in one step.

        Raises:
            OSError: it cannot be written; the file is as it was.
        """
        found = json.loads(self.tokens_file.read_text()) | {kind: secret}
        unfinished = self.tokens_file.with_name(f".{self.tokens_file.name}.{os.getpid()}")
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as file:
            json.dump(found, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self.tokens_file)

    def log_file(self, role: str) -> Path:
        """Where a role's output goes."""
        return self.logs / f"{role}.log"

    def open_log(self, role: str) -> IO[bytes]:
        """A role's log, to append to; a large one is put aside first, and the oldest of those dropped."""
        log = self.log_file(role)
        if log.exists() and log.stat().st_size > LARGE_LOG_BYTES:
            for number in range(KEPT_LOGS, 0, -1):
                older = log.with_suffix(f".log.{number}")
                newer = log.with_suffix(f".log.{number - 1}") if number > 1 else log
                if newer.exists():
                    newer.replace(older)
        return log.open("ab", buffering=0)

    def tail(self, role: str, lines: int = 15) -> str:
        """The last lines of a role's log."""
        try:
            with self.log_file(role).open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - 64 * 1024))
                return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return ""


def _try_lock(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _pid_in(lock: IO[str]) -> int | None:
    lock.seek(0)
    text = lock.read().strip()
    return int(text) if text.isdigit() else None


def _replace(file: Path, text: str) -> None:
    """Write in one step: a reader sees the old text or the new."""
    unfinished = file.with_name(f".{file.name}")
    unfinished.write_text(text)
    unfinished.replace(file)
