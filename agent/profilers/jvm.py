"""Speaks to a running JVM by its attach mechanism, through `jattach` or the JDK's `jcmd`."""

import contextlib
import os
import re
import shutil
import signal
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from agent.processes import Process
from agent.profilers.attached import ask
from agent.profilers.crash_watch import number_inside

JDK_HOMES: Final = Path("/usr/lib/jvm")
CHEAP_JVM: Final = ("-Xmx32m", "-Xshare:auto", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")
"""For jcmd, which is a JVM itself: half the start, and no file in `/tmp/hsperfdata`."""
ATTACHING: Final = timedelta(seconds=30)
"""A JVM answers at its next safepoint, and jcmd has to start: on a host at its limit that takes long."""
OLDEST: Final = 11
OLDEST_UPDATE_OF_8: Final = 262
"""Flight Recorder is free in JDK 11 and later, and came to JDK 8 with this update."""

INSTALL: Final = (
    "neither jcmd nor jattach is installed: apt-get install openjdk-17-jdk-headless (any JDK has jcmd), or jattach"
)
_VERSION: Final = re.compile(
    r"^JDK (?P<feature>\d+)(?:\.(?P<interim>\d+))?(?:\.\d+)*(?:_(?P<update>\d+))?", re.MULTILINE
)


class NoAnswer(Exception):
    """The JVM did not do what it was asked; the text says why, and what a person can do."""


@dataclass(frozen=True)
class Version:
    """Of a JDK: `17`, or `8` with its update."""

    feature: int
    update: int = 0

    @property
    def has_recorder(self) -> bool:
        """Whether it has Flight Recorder without a commercial licence."""
        return self.feature >= OLDEST or (self.feature == 8 and self.update >= OLDEST_UPDATE_OF_8)  # noqa: PLR2004

    def __str__(self) -> str:
        return f"{self.feature}u{self.update}" if self.update else str(self.feature)


def tool() -> Path | None:
    """`jattach`, which is quicker, or `jcmd`: on PATH, or in a JDK that root has put in the usual place."""
    for name in ("jattach", "jcmd"):
        if found := shutil.which(name):
            return Path(found).absolute()
    homes = sorted(JDK_HOMES.glob("*/bin/jcmd"), reverse=True)
    return next((path for path in homes if os.access(path, os.X_OK) and path.stat().st_uid == 0), None)


async def command(binary: Path, target: Process, words: Sequence[str], *, cwd: Path) -> str:
    """Have the JVM carry out a diagnostic command, and give back what it says.

    Raises:
        NoAnswer: it cannot be attached to, or refuses.
        OSError: the tool cannot be started.
    """
    if not takes_quit(target.pid):
        # To attach is to send SIGQUIT, which ends a process that does not handle it.
        raise NoAnswer("it does not handle SIGQUIT, by which a JVM is attached to: it is still starting, or has -Xrs")
    line = " ".join(words)
    if binary.name == "jattach":
        program = [str(binary), str(target.pid), "jcmd", line]
    else:
        program = [str(binary), *(f"-J{option}" for option in CHEAP_JVM), str(target.pid), line]
    code = None
    try:
        code, said = await ask(program, cwd=cwd, patience=ATTACHING)
    finally:
        if code is None:  # it was killed, and could not clear up
            _remove_trigger(target.pid)
    if code != 0:
        raise NoAnswer(why(said, timed_out=code is None, tool=binary.name))
    return said


def why(said: str, *, timed_out: bool, tool: str) -> str:
    """Why a JVM cannot be spoken to, by what the tool printed."""
    lowered = said.lower()
    if timed_out or "not respond" in lowered or "timeout" in lowered or "unable to open socket file" in lowered:
        return "it does not answer to attaching: it is stopped, too busy, or has -XX:+DisableAttachMechanism"
    if (
        "permission" in lowered
        or "not permitted" in lowered
        or "not secure" in lowered
        or "change credentials" in lowered
    ):
        return "no permission to attach: run the agent as root, or as the user of the JVM"
    if "no such process" in lowered or "not found" in lowered:
        return "it has ended"
    if "unknown diagnostic command" in lowered:
        return f"its JVM has no Flight Recorder: JDK {OLDEST} or newer has, or 8u{OLDEST_UPDATE_OF_8}"
    lines = [line.strip() for line in said.splitlines() if line.strip() and not line.strip().startswith("at ")]
    return f"{tool} says: {(lines[-1] if lines else 'nothing')[:300]}"


def version_of(said: str) -> Version | None:
    """The JDK that answers `VM.version` like this; None for a JVM that is no HotSpot."""
    found = _VERSION.search(said)
    if found is None:
        return None
    feature, interim = int(found["feature"]), int(found["interim"] or 0)
    if feature == 1:
        feature = interim
    return Version(feature, int(found["update"] or 0))


def takes_quit(pid: int) -> bool:
    """Whether a process handles SIGQUIT; False where that cannot be known."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except OSError:
        return False
    caught = next((line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")), "0")
    return bool(int(caught, 16) & 1 << (signal.SIGQUIT - 1))


def _remove_trigger(pid: int) -> None:
    """Remove the empty file by which a JVM is told to listen; the tool removes it itself if it gets to its end."""
    name = f".attach_pid{number_inside(pid)}"
    for place in (f"/proc/{pid}/cwd", f"/proc/{pid}/root/tmp"):
        with contextlib.suppress(OSError):
            directory = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                about = os.stat(name, dir_fd=directory, follow_symlinks=False)
                if stat.S_ISREG(about.st_mode) and about.st_size == 0:
                    os.unlink(name, dir_fd=directory)
            finally:
                os.close(directory)
