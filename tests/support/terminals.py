"""Commands in a terminal of their own, of 80 columns, as a person has them."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from typing import Final

COLUMNS: Final = 80
ROWS: Final = 40
CONTROL: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|\r(?!\n)")


def in_terminal(command: Sequence[str], env: Mapping[str, str], *, within: float = 60.0) -> tuple[int, str]:
    """Run a command to its end; gives its exit code and all that came to the terminal, control codes too."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm", **env}
    for name in ("COLUMNS", "LINES", "NO_COLOR"):
        environment.pop(name, None)
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    said = b""
    deadline = time.monotonic() + within
    try:
        while time.monotonic() < deadline:
            try:
                read = os.read(ours, 65_536)
            except OSError:  # the other side is closed: that is how Linux says so
                break
            if not read:
                break
            said += read
        return process.wait(max(deadline - time.monotonic(), 1.0)), said.decode(errors="replace")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(ours)


def plain(said: str) -> str:
    """What stays on the screen of a command that only writes on: without colours."""
    return CONTROL.sub("", said).replace("\r\n", "\n")
