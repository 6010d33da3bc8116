"""Speaks to a running JVM by its attach mechanism, as `jcmd` does, but also to one with files and a user of its own.

docs/decisions says why not through `jcmd` itself.
"""

import contextlib
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import psutil

from agent import frozen
from agent.processes import Process
from agent.profilers import jvm_attach, reasons
from agent.profilers.attached import Answer, ask
from agent.profilers.crash_watch import number_inside

PATIENCE: Final = timedelta(seconds=30)
"""For a command; the program that asks has bounds of its own below that."""
OLDEST: Final = 11
OLDEST_UPDATE_OF_8: Final = 262
"""Flight Recorder is free in JDK 11 and later, and came to JDK 8 with this update."""

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


async def command(target: Process, words: Sequence[str], *, cwd: Path) -> Answer:
    """Have the JVM carry out a diagnostic command, and give back what it says and when.

    Raises:
        NoAnswer: it cannot be attached to, or refuses.
        OSError: no program can be started.
    """
    try:
        process = psutil.Process(target.pid)
        uid, gid = process.uids().effective, process.gids().effective
    except psutil.Error as problem:
        raise NoAnswer("it has ended") from problem
    numbers = [str(number) for number in (target.pid, number_inside(target.pid), uid, gid)]
    program = [*frozen.jvm_attach(jvm_attach.__file__), *numbers, " ".join(words)]
    answer = None
    try:
        answer = await ask(program, cwd=cwd, patience=PATIENCE)
    finally:
        if answer is None or answer.code is None:  # it was killed, and could not clear up
            _remove_trigger(target.pid)
    if answer.code != 0:
        raise NoAnswer(reasons.jvm(answer.said, timed_out=answer.code is None))
    return answer


def version_of(said: str) -> Version | None:
    """The JDK that answers `VM.version` like this; None for a JVM that is no HotSpot."""
    found = _VERSION.search(said)
    if found is None:
        return None
    feature, interim = int(found["feature"]), int(found["interim"] or 0)
    if feature == 1:
        feature = interim
    return Version(feature, int(found["update"] or 0))


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
