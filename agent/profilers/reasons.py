"""What profilers print when they fail, in words a person can act on. Pure: text in, text out."""

import re
from collections.abc import Sequence
from typing import Final

INSTALL_PERF: Final = "perf is not installed: apt-get install linux-perf (Debian), linux-tools-$(uname -r) (Ubuntu)"
INSTALL_PY_SPY: Final = "py-spy is not installed: pip install 'performance-studio[agent]'"

Complaints = Sequence[tuple[str, str]]
"""What is printed, as a pattern in lower case, and what it means; the first that is found counts."""

_NOT_PERMITTED: Final = "permission|not permitted"
_OF_A_JVM: Final[Complaints] = (
    ("timed out", "it does not answer to attaching in time"),
    (_NOT_PERMITTED, "no permission to attach: run the agent as root, or as the user of the JVM"),
    ("no such process|no such file", "it has ended"),
    ("unknown diagnostic command", "its JVM has no Flight Recorder: JDK 11 or newer has, or 8u262"),
)
_OF_ASYNC_PROFILER: Final[Complaints] = (
    ("already started|already running", "somebody else's async-profiler is at work in it"),
    (_NOT_PERMITTED, "no permission to attach: run the agent as root, or as the user of the JVM"),
)
_OF_MEMRAY: Final[Complaints] = (
    ("no module named", "memray is not installed in it: pip install memray, in the target's own environment"),
    ("already.*track|track.*already", "another memray follows it already"),
    (f"ptrace|{_NOT_PERMITTED}", "no permission to attach: run the agent as root, or with CAP_SYS_PTRACE"),
)
_LONGEST: Final = 300
_PY_SPY_ERROR: Final = re.compile(r"^Error: (?P<text>.+)$", re.MULTILINE)
_CONTAINER: Final = " (it runs in a container with its own process numbers)"


def py_spy(output: str, *, pid: int, name: str, gone: bool, contained: bool) -> str:
    """Why py-spy gave no profile of a process.

    Args:
        output: everything it printed.
        pid: the process.
        name: its name.
        gone: whether the process has ended by now.
        contained: whether it runs in another pid namespace.
    """
    who = f"process {pid} ({name})" + (_CONTAINER if contained else "")
    lowered = output.lower()
    if gone:
        return f"{who} ended before py-spy could sample it"
    if "permission denied" in lowered or "operation not permitted" in lowered:
        return (
            f"no permission to read {who}: run the agent as root, or with CAP_SYS_PTRACE"
            " (in a container: --cap-add SYS_PTRACE, and the host's pid namespace)"
        )
    if "no such process" in lowered or "check that the process is running" in lowered:
        return f"{who} ended before py-spy could sample it"
    if "failed to find python version" in lowered or "failed to find a python interpreter" in lowered:
        return (
            f"py-spy does not recognise the Python of {who}: it is still starting, or of a version py-spy cannot read"
        )
    found = _PY_SPY_ERROR.search(output)
    return f"py-spy failed on {who}: {found['text'] if found else _last_line(output)}"


def perf(output: str) -> str:
    """Why perf gave no profile."""
    lowered = output.lower()
    if "permission" in lowered or "access to performance monitoring" in lowered or "not permitted" in lowered:
        return (
            "no permission to use perf: run the agent as root, or give it CAP_PERFMON"
            " (or lower /proc/sys/kernel/perf_event_paranoid)"
        )
    if "perf not found for kernel" in lowered:
        return "perf is installed, but not for the running kernel: apt-get install linux-tools-$(uname -r)"
    if "function not implemented" in lowered or "enosys" in lowered:
        return "perf cannot sample here: the kernel, or the container's seccomp profile, refuses perf_event_open"
    if "no space left" in lowered:
        return "perf ran out of disk space in the agent's work directory"
    return f"perf failed: {_last_line(output)}"


def jvm(said: str, *, timed_out: bool) -> str:
    """Why a JVM does not do what it was asked, by what it says, or what the program says that asks it."""
    if timed_out:
        return "it does not answer to attaching in time"
    return _meant(said, _OF_A_JVM) or _last_words(said, without="at ") or "it says nothing"


def async_profiler(said: str, *, timed_out: bool) -> str:
    """Why async-profiler did not do as it was told."""
    if timed_out:
        return "async-profiler did not answer in time"
    return _meant(said, _OF_ASYNC_PROFILER) or f"async-profiler says: {_last_words(said) or 'nothing'}"


def memray(said: str, *, timed_out: bool) -> str:
    """Why memray did not get into a process."""
    if timed_out:
        return "gdb did not get into it in time"
    return _meant(said, _OF_MEMRAY) or f"memray says: {_last_words(said) or 'nothing'}"


def perf_event_is_missing(output: str) -> bool:
    """Whether perf failed because the machine has no such event, so that another may do."""
    lowered = output.lower()
    return any(text in lowered for text in ("not supported", "doesn't support sampling", "no such device"))


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip() and not line.startswith("[ perf record:")]
    return lines[-1] if lines else "it said nothing"


def _meant(said: str, complaints: Complaints) -> str | None:
    lowered = said.lower()
    return next((meaning for pattern, meaning in complaints if re.search(pattern, lowered, re.DOTALL)), None)


def _last_words(said: str, *, without: str | None = None) -> str:
    """The last line that says something; of a Java trace not where it was."""
    lines = [line for line in map(str.strip, said.splitlines()) if line and not (without and line.startswith(without))]
    return lines[-1][:_LONGEST] if lines else ""
