"""JVMs to profile, and what goes on in them."""

import contextlib
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import psutil

from tests.support.processes import ROOT, eventually

PROGRAM = ROOT / "tests" / "targets" / "HotJava.java"
CLASSES = ROOT / "build" / "java"


def compiled() -> Path:
    """The program's classes, compiled when they are older: `java HotJava.java` would compile them at each start.

    Below the clone, like the program: who runs it as another user may look there.
    """
    CLASSES.mkdir(parents=True, exist_ok=True)
    with (CLASSES / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = CLASSES / "HotJava.class"
        if not made.exists() or made.stat().st_mtime_ns < PROGRAM.stat().st_mtime_ns:
            subprocess.run(["javac", "-d", str(CLASSES), str(PROGRAM)], check=True, timeout=120)
    return CLASSES


@contextlib.contextmanager
def hot_java(
    *arguments: str, options: Sequence[str] = (), before: Sequence[str] = (), cwd: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """The program with known shares, past its start."""
    program = ["-cp", str(compiled()), "HotJava", *arguments]
    command = [*before, "java", "-Xmx256m", "-XX:TieredStopAtLevel=1", *options, *program]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=cwd)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n", "the JVM did not start"
        began = _cpu(process.pid)
        eventually(lambda: _cpu(process.pid) > began + 0.3, within=60, what="the JVM at work")
        yield process
    finally:
        process.kill()
        process.communicate()
        for left in Path("/tmp").glob(f"20*_{process.pid}"):  # its recorder's, which a JVM that is killed leaves
            shutil.rmtree(left, ignore_errors=True)


def jcmd(pid: int, *words: str) -> str:
    """What the JVM answers."""
    asked = subprocess.run(["jcmd", str(pid), " ".join(words)], capture_output=True, text=True, check=True, timeout=60)
    return asked.stdout


def left_in_tmp(pid: int, *, agent: int | Literal["*"] | None = None) -> list[str]:
    """An agent's directories in the process's own `/tmp`, for this process.

    Others may be there: agents of other tests profile the whole host, and with it this process.

    Args:
        pid: of the process.
        agent: the agent's pid; `*`: of any; None: this process.
    """
    return sorted(
        path.name for path in Path(f"/proc/{pid}/root/tmp").glob(f"gprofiler-{agent or os.getpid()}-*-{pid}-*")
    )


def recordings(jvm: int, *, agent: int | None = None) -> list[str]:
    """What an agent, this process if none is named, has Flight Recorder record just now: a line each."""
    own = f"name=gprofiler-{agent or os.getpid()}-"
    return [line for line in jcmd(jvm, "JFR.check").splitlines() if own in line]


def _cpu(pid: int) -> float:
    return float(sum(psutil.Process(pid).cpu_times()[:2]))
