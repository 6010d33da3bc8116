"""Become another program that the kernel kills when the process that started it dies.

Run as a program, `python leash.py PARENT_PID PROGRAM ARGUMENTS...`: the flag is set between fork and exec without
running Python code in a fork of the agent, which has threads. It keeps its pid, and nothing of Python is left after.
"""

import ctypes
import os
import signal
import sys
from typing import Final

PR_SET_PDEATHSIG: Final = 1
PARENT_IS_GONE: Final = 125
CANNOT_EXECUTE: Final = 126


def main(arguments: list[str]) -> int:
    """Replace this process by the program; the return value is the exit code where that is not possible."""
    parent, program = int(arguments[0]), arguments[1:]
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.stderr.write(f"prctl: {os.strerror(ctypes.get_errno())}\n")
        return CANNOT_EXECUTE
    if os.getppid() != parent:
        return PARENT_IS_GONE  # it died before the flag was set: no signal will come
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
        # Python ignores the first two, a shell's background jobs the third; a program after exec would inherit that.
        signal.signal(ignored, signal.SIG_DFL)
    try:
        os.execv(program[0], program)  # noqa: S606 -- no shell is wanted: the arguments are a list
    except OSError as problem:
        sys.stderr.write(f"{program[0]}: {problem.strerror}\n")
    return CANNOT_EXECUTE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
