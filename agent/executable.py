"""Where the agent as one executable begins, built by `scripts/build_executable.py`.

Here and not with what is different in it, as that is asked by those that are started from here.
"""

import fcntl
import os
import shutil
import sys
from pathlib import Path
from typing import Final

from agent.frozen import ASK_A_JVM, ON_A_LEASH, environment_of_the_host

IN_USE: Final = ".in-use"


def hold(program: Path) -> int:
    """Say that the unpacked program is in use, for as long as this process lives; gives the descriptor that holds it.

    Raises:
        OSError: it cannot be marked.
    """
    mark = os.open(program / IN_USE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    fcntl.flock(mark, fcntl.LOCK_SH)
    return mark


def sweep(program: Path) -> list[Path]:
    """Delete what other versions have unpacked beside this one and nobody runs any more; gives what was deleted."""
    gone = []
    for other in sorted(program.parent.glob(f"{program.name.partition('-')[0]}-*")):
        if other == program or other.is_symlink() or not (other / IN_USE).is_file():
            continue
        mark = os.open(other / IN_USE, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            shutil.rmtree(other, ignore_errors=True)
            gone.append(other)
        finally:
            os.close(mark)
    return gone


def main() -> None:
    """Where the executable begins."""
    if sys.argv[1:2] == [ON_A_LEASH]:
        from agent.profilers import leash as program  # noqa: PLC0415 - each profiler waits for this

        restored = environment_of_the_host(os.environ)
        os.environ.clear()
        os.environ.update(restored)
        sys.exit(program.main(sys.argv[2:]))
    if sys.argv[1:2] == [ASK_A_JVM]:
        from agent.profilers import jvm_attach  # noqa: PLC0415 - likewise

        sys.exit(jvm_attach.main(sys.argv[2:]))
    from agent.cli import main as command_line  # noqa: PLC0415 - likewise

    here = Path(sys.executable).parent
    try:
        hold(here)
        sweep(here)
    except OSError:  # a read-only disk, or somebody else's: then nothing is swept, and nothing needs to be
        pass
    command_line()
