"""Ask a JVM for a diagnostic command and print what it says.

Run as a program, `python jvm_attach.py PID PID_INSIDE UID GID COMMAND`, by root or by the JVM's user: it goes to the
JVM's own files and becomes the JVM's user before it makes a file, sends a signal or speaks: a JVM listens to nobody
else, and where the JVM stands may be a directory that its user may not write to. The words on the wire are
those of HotSpot's attach mechanism, version 1, which every JDK since 6 understands: `1`, `jcmd`, the command and two
empty arguments, each ended by a zero byte; the answer is a number on a line, 0 for success, and a text.

Exit codes: 0 it is done; 1 the JVM says no, and the text why; 2 it could not be spoken to, and the text why.
"""

import ctypes
import os
import signal
import socket
import stat
import sys
import time
from pathlib import Path
from typing import Final

REFUSED: Final = 1
NOT_REACHED: Final = 2
LISTENS_WITHIN: Final = 20.0
"""Seconds: a JVM begins to listen at its next safepoint, and on a host at its limit that takes long."""
ANSWERS_WITHIN: Final = 25.0
POLL: Final = 0.02
LONGEST_ANSWER: Final = 1 << 20
PR_SET_PDEATHSIG: Final = 1

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def main(arguments: list[str]) -> int:
    """Speak to the JVM; the return value is the exit code."""
    pid, inside, uid, gid = map(int, arguments[:4])
    try:
        code, said = ask(pid, inside, (uid, gid), " ".join(arguments[4:]))
    except (OSError, NotReached) as problem:
        sys.stdout.write(f"{problem}\n")
        return NOT_REACHED
    sys.stdout.write(said)
    return 0 if code == "0" else REFUSED


class NotReached(Exception):
    """The JVM does not listen; the text says why."""


def ask(pid: int, inside: int, user: tuple[int, int], command: str) -> tuple[str, str]:
    """The JVM's code, `0` for success, and its text.

    Raises:
        NotReached: it does not listen.
        OSError: its files or its socket cannot be reached.
    """
    root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    # A link would be followed in our own root, wherever the JVM's user wants.
    tmp = os.open("tmp", _DIRECTORY | os.O_NOFOLLOW, dir_fd=root)
    cwd = os.open(f"/proc/{pid}/cwd", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    os.fchdir(tmp)
    if os.geteuid() == 0 and user[0] != 0:
        _become(user)
    name = f".java_pid{inside}"
    if not _listens(tmp, name, user[0]):
        _have_it_listen(pid, inside, (cwd, tmp), name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(ANSWERS_WITHIN)
        line.connect(name)
        line.sendall(b"".join(one.encode() + b"\0" for one in ("1", "jcmd", command, "", "")))
        answer = bytearray()
        while chunk := line.recv(65536):
            answer += chunk
            if len(answer) > LONGEST_ANSWER:
                raise NotReached(f"it answers with more than {LONGEST_ANSWER} bytes, as no JVM does")
    code, _, said = answer.decode(errors="replace").partition("\n")
    return code.strip(), said


def _become(user: tuple[int, int]) -> None:
    """Become the user, and still die with the agent: the kernel forgets who holds the leash when the user changes."""
    agent = os.getppid()
    os.setgroups([])
    os.setgid(user[1])
    os.setuid(user[0])
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    if os.getppid() != agent:
        raise NotReached("the agent has ended")


def _have_it_listen(pid: int, inside: int, places: tuple[int, int], name: str) -> None:
    """Put an empty file where the JVM looks for it, and send SIGQUIT, on which it looks.

    Raises:
        NotReached: SIGQUIT would end it, or it does not listen in time.
        OSError: the file cannot be made.
    """
    place, tmp = places
    trigger = f".attach_pid{inside}"
    try:
        made = _make(trigger, place)
    except OSError:  # its directory is read-only, not its user's, or gone: it looks in /tmp next
        place = tmp
        made = _make(trigger, place)
    try:
        if not takes_quit(pid):
            raise NotReached("it does not handle SIGQUIT, by which a JVM is attached to: it is starting, or has -Xrs")
        os.kill(pid, signal.SIGQUIT)
        end = time.monotonic() + LISTENS_WITHIN
        while not _listens(tmp, name, os.geteuid()):
            if time.monotonic() > end:
                raise NotReached("it does not answer to attaching: it is stopped, or has -XX:+DisableAttachMechanism")
            time.sleep(POLL)
    finally:
        if made:
            os.unlink(trigger, dir_fd=place)


def _make(name: str, place: int) -> bool:
    """Make an empty file of the JVM's user, as older JVMs take no other's; False if it is there already."""
    try:
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=place)
    except FileExistsError:
        return False
    os.close(file)
    return True


def _listens(tmp: int, name: str, uid: int) -> bool:
    """Whether the JVM's socket is there, and is its own."""
    try:
        about = os.stat(name, dir_fd=tmp, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return stat.S_ISSOCK(about.st_mode) and about.st_uid == uid


def takes_quit(pid: int) -> bool:
    """Whether a process handles SIGQUIT, which ends one that does not; False where that cannot be known."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except OSError:
        return False
    caught = next((line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")), "0")
    return bool(int(caught, 16) & 1 << (signal.SIGQUIT - 1))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
