"""What is different in the agent as one executable, see `executable.py`.

There `sys.executable` is the agent itself and no Python. Whatever the agent would start Python for, it starts itself
for, with a first argument of its own. The executable brings shared libraries along, which the loader finds through
LD_LIBRARY_PATH: programs of the host that are started from here must not.
"""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from typing import Final

ON_A_LEASH: Final = "--run-on-a-leash"
ASK_A_JVM: Final = "--ask-a-jvm"
_LIBRARIES: Final = "LD_LIBRARY_PATH"
_ORIGINAL: Final = "LD_LIBRARY_PATH_ORIG"
"""Where the executable's loader keeps what the variable was before: PyInstaller, "LD_LIBRARY_PATH considerations"."""
_OF_THE_LOADER: Final = "_PYI_"
_LEASH: Final = '[ "$PPID" = "$0" ] || exit 125; exec "$@"'
"""As in leash.py: a parent that died before the flag was set sends no signal."""


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
