"""A Node process as the kernel shows it: whether it may be asked for its inspector, and where that listens."""

import ctypes
import os
import signal
import socket
import threading
from pathlib import Path
from typing import Final

from agent.processes import Process, is_alive
from agent.runtimes import by_library, by_name
from agent.sockets import listening

INSPECTOR_PORT: Final = 9229
"""Node's own choice, which nothing but its command line changes."""

_PROC: Final = Path("/proc")
_CLONE_NEWNET: Final = 0x4000_0000
_RUNS: Final = frozenset({"R", "S", "D", "I"})


class NotToBeAsked(RuntimeError):
    """The process must not, or cannot, be asked for its inspector; the text says why."""


def ask(process: Process) -> None:
    """Send the signal that opens Node's inspector, if this is surely Node and waits for it.

    SIGUSR1 ends what has no handler for it; so the handler must be there, the program must be Node, and the process the
    one that was looked at: it is held by a descriptor, since its number may be given to another at any time.

    Raises:
        NotToBeAsked: it is not so.
    """
    try:
        held = os.pidfd_open(process.pid)
    except OSError:
        raise NotToBeAsked("it has ended") from None
    try:
        check(process)
        signal.pidfd_send_signal(held, signal.SIGUSR1)
    except ProcessLookupError:
        raise NotToBeAsked("it has ended") from None
    except PermissionError:
        raise NotToBeAsked("the agent may not send it a signal: run the agent as root") from None
    finally:
        os.close(held)


def check(process: Process, *, proc: Path = _PROC) -> None:
    """Whether the signal would do nothing but open the inspector.

    Raises:
        NotToBeAsked: it would not.
    """
    folder = proc / str(process.pid)
    try:
        status = dict(line.split(":\t", 1) for line in (folder / "status").read_text().splitlines() if ":\t" in line)
        executable = str((folder / "exe").readlink())
        maps = (folder / "maps").read_text(errors="replace")
    except OSError:
        raise NotToBeAsked("it has ended, or may not be looked at") from None
    if not is_alive(process):
        raise NotToBeAsked("it has ended")
    mapped = (line.split(maxsplit=5)[-1] for line in maps.splitlines())
    if by_name(executable) != "node" and by_library(mapped) != "node":
        raise NotToBeAsked("it is no longer Node")
    if status.get("State", "?")[:1] not in _RUNS:
        raise NotToBeAsked("it is stopped, and would only see the signal later")
    if not has_handler(status):
        raise NotToBeAsked("it has no handler for SIGUSR1, which would end it (is it started with --disable-sigusr1?)")


def has_handler(status: dict[str, str]) -> bool:
    """Whether the fields of `/proc/PID/status` show a handler for SIGUSR1 that is neither ignored nor held back."""
    bit = 1 << (signal.SIGUSR1 - 1)
    caught, ignored, blocked = (int(status.get(name, "0"), 16) for name in ("SigCgt", "SigIgn", "SigBlk"))
    return bool(caught & bit) and not (ignored | blocked) & bit


def network(pid: int, *, proc: Path = _PROC) -> str:
    """Which network it lives in: processes with the same answer share their ports.

    Raises:
        OSError: it has ended, or may not be looked at.
    """
    return str((proc / str(pid) / "ns" / "net").readlink())


def ports(pid: int, *, proc: Path = _PROC) -> tuple[frozenset[int], frozenset[int]]:
    """The ports that the process itself listens on, and those that anybody does in its network.

    Raises:
        OSError: it has ended, or may not be looked at.
    """
    everybody: dict[int, int] = {}
    for table in ("tcp", "tcp6"):
        path = proc / str(pid) / "net" / table
        if path.exists():  # without version 6 there is no second one
            with path.open() as lines:
                everybody |= listening(lines)
    own = set()
    for entry in (proc / str(pid) / "fd").iterdir():
        try:
            kind, _, inode = str(entry.readlink()).partition(":")
        except FileNotFoundError:  # it was closed meanwhile
            continue
        if kind == "socket" and (number := int(inode.strip("[]"))) in everybody:
            own.add(everybody[number])
    return frozenset(own), frozenset(everybody.values())


def connected(pid: int, port: int, *, patience: float) -> socket.socket:
    """A connection to a port of the loopback in the process's network. Blocks: call it off the event loop.

    Raises:
        OSError: there is none to be had.
    """
    there = _socket_in_network_of(pid)
    try:
        there.settimeout(patience)
        there.connect(("127.0.0.1", port))
    except BaseException:
        there.close()
        raise
    return there


def _socket_in_network_of(pid: int) -> socket.socket:
    """A socket belongs to the network that its maker was in: made by a thread that goes there and ends."""
    if network(pid) == str(Path("/proc/thread-self/ns/net").readlink()):
        return socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made: list[socket.socket | OSError] = []

    def make() -> None:
        try:
            _enter_network_of(pid)
            made.append(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        except OSError as problem:
            made.append(problem)

    thread = threading.Thread(target=make, name="into another network")
    thread.start()
    thread.join()
    if isinstance(made[0], OSError):
        raise made[0]
    return made[0]


def _enter_network_of(pid: int) -> None:
    """Move this thread into the process's network; os.setns is Python 3.12's."""
    with Path(f"/proc/{pid}/ns/net").open("rb") as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
