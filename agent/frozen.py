"""The agent as one executable, built by `scripts/build_executable.py`: where it starts, and what is different in it.

There `sys.executable` is the agent itself and no Python. Whatever the agent would start Python for, it starts itself
for, with a first argument of its own. The executable brings shared libraries along, which the loader finds through
LD_LIBRARY_PATH: programs of the host that are started from here must not.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

ON_A_LEASH: Final = "--run-on-a-leash"
ASK_A_JVM: Final = "--ask-a-jvm"
_LIBRARIES: Final = "LD_LIBRARY_PATH"
_ORIGINAL: Final = "LD_LIBRARY_PATH_ORIG"
"""Where the executable's loader keeps what the variable was before: PyInstaller, "LD_LIBRARY_PATH considerations"."""
_OF_THE_LOADER: Final = "_PYI_"
_LEASH: Final = '[ "$PPID" = "$0" ] || exit 125; exec "$@"'
"""As in leash.py: a parent that died before the flag was set sends no signal."""
IN_USE: Final = ".in-use"


def is_frozen() -> bool:
    """Whether this is the executable."""
    return bool(getattr(sys, "frozen", False))


def environment_of_the_host(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment as it was before the executable's loader changed it."""
    kept = {name: value for name, value in environment.items() if not name.startswith(_OF_THE_LOADER)}
    kept.pop(_LIBRARIES, None)
    original = kept.pop(_ORIGINAL, None)
    return kept | ({_LIBRARIES: original} if original else {})


def leash(script: str) -> list[str]:
    """The command that does what `agent/profilers/leash.py` does, up to its arguments.

    A run starts many profilers, and to start Python takes longer than to start one of them, to start the executable a
    third of a second of CPU: where the host has setpriv of util-linux, that and a shell take their place.
    """
    if (setpriv := _setpriv()) is not None:
        return [setpriv, "--pdeathsig", "KILL", "/bin/sh", "-c", _LEASH]
    return [sys.executable, ON_A_LEASH] if is_frozen() else [sys.executable, "-I", "-S", script]


@cache
def _setpriv() -> str | None:
    """The program, if it is one that knows the flag: busybox's does not."""
    found = shutil.which("setpriv")
    if found is None:
        return None
    tried = subprocess.run([found, "--pdeathsig", "KILL", "/bin/sh", "-c", "exit 0"], capture_output=True, check=False)
    return found if tried.returncode == 0 else None


def jvm_attach(script: str) -> list[str]:
    """The command that runs `agent/profilers/jvm_attach.py`, up to its arguments."""
    return [sys.executable, ASK_A_JVM] if is_frozen() else [sys.executable, "-I", "-S", script]


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
