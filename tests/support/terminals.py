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


def screen(said: str) -> str:
    """What a command leaves on the screen, for those control codes that bars need: up, erase, return."""
    lines, row, column = [""], 0, 0
    for code, text in re.findall(r"\x1b\[([0-9;?]*[A-Za-z])|([^\x1b]+)", said):
        if code.endswith("A"):
            row = max(0, row - int(code[:-1] or 1))
        elif code.endswith("K"):
            lines[row] = "" if code == "2K" else lines[row][:column]
        for each in text:
            if each == "\n":
                row += 1
                lines += [""] * (row + 1 - len(lines))
            elif each == "\r":
                column = 0
            else:
                lines[row] = lines[row][:column].ljust(column) + each + lines[row][column + 1 :]
                column += 1
    return "\n".join(lines)
