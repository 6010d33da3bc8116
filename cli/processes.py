"""Starting and ending processes so that none outlives its supervisor."""

import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

from cli.signals import TAKEN

MARK: Final = "PCS_SUPERVISED_ON"
"""Environment variable of every process a supervisor started, and of what those started: its state directory."""

PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def start(
    command: Sequence[str], *, environment: Mapping[str, str], log: IO[bytes], folder: Path
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own, that ends when this process dies.

    A session of its own: Ctrl-C in the terminal reaches the supervisor alone, which then stops its children in order.

    Raises:
        OSError: there is no such program.
    """
    return subprocess.Popen(
        command,
        env=dict(environment),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        preexec_fn=_end_with(os.getpid()),  # noqa: PLW1509 - the supervisor has one thread, always
    )


def _end_with(parent: int) -> Callable[[], None]:
    """What a child does before its program: be told to stop when the parent dies, and take signals again."""

    def before_exec() -> None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, TAKEN)

    return before_exec


def has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether the process has ended, leaving it a zombie: its pid and process group are still its own."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def bury(process: subprocess.Popen[bytes]) -> int:
    """End what an ended process left in its group, then take its exit code (negative: the signal)."""
    kill_group(process.pid)
    return process.wait()


def kill_group(leader: int) -> None:
    """SIGKILL for a process group, if it is still there."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return


def tell(pid: int, signum: signal.Signals) -> None:
    """Send a signal to a process, if it is still there."""
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        return


def describe_exit(code: int) -> str:
    """`exit code 1`, `killed by SIGKILL`."""
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def born(pid: int) -> int | None:
    """The kernel's start time of a process in clock ticks since boot; None when there is none, or only its zombie."""
    try:
        facts = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = facts.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def is_alive(pid: int | None, since: int | None) -> bool:
    """Whether this very process is alive, and not a later one with its pid."""
    return pid is not None and since is not None and born(pid) == since


def marked(mark: str) -> list[int]:
    """The living processes, but for this one, that were started with `MARK=mark` in their environment.

    Finds what a role started in sessions of its own. (A server that rewrites its title may have lost its mark.)
    """
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environment = (entry / "environ").read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it ended just now, or is somebody else's
        if wanted in environment.split(b"\0"):
            found.append(int(entry.name))
    return sorted(found)
