"""What py-spy and perf print when they fail, in words a person can act on. Pure: text in, text out."""

import re
from typing import Final

INSTALL_PERF: Final = "perf is not installed: apt-get install linux-perf (Debian), linux-tools-$(uname -r) (Ubuntu)"
INSTALL_PY_SPY: Final = "py-spy is not installed: pip install 'performance-studio[agent]'"

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


def perf_event_is_missing(output: str) -> bool:
    """Whether perf failed because the machine has no such event, so that another may do."""
    lowered = output.lower()
    return any(text in lowered for text in ("not supported", "doesn't support sampling", "no such device"))


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip() and not line.startswith("[ perf record:")]
    return lines[-1] if lines else "it said nothing"
