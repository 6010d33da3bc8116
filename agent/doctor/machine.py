"""What this host lets the agent do: profilers, permissions, the kernel's settings, disk, the agent's own directory."""

import fcntl
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from agent.doctor.findings import Finding

LITTLE_SPACE: Final = 1024**3
NO_SPACE: Final = 100 * 1024**2
INIT_PID_NAMESPACE: Final = "pid:[4026531836]"
"""The first one's number, the same on every kernel: PROC_PID_INIT_INO in include/linux/proc_ns.h."""

_NEEDED: Final = {
    19: ("CAP_SYS_PTRACE", "py-spy reads other users' processes by it"),
    21: ("CAP_SYS_ADMIN", "attaching across containers needs it"),
    38: ("CAP_PERFMON", "perf samples the whole host by it"),
}
"""Numbers of include/uapi/linux/capability.h."""
_PERFMON, _SYS_ADMIN, _SYS_PTRACE, _SYSLOG = 1 << 38, 1 << 21, 1 << 19, 1 << 34
_NAMELESS: Final = 2
"""kernel.kptr_restrict: nobody is told an address (Documentation/admin-guide/sysctl/kernel.rst)."""
_NO_TRACING: Final = 3
"""kernel.yama.ptrace_scope: nobody may attach, until the next boot (Documentation/admin-guide/LSM/Yama.rst)."""
_HOW: Final = (
    "run as root, or AmbientCapabilities= in the systemd unit; in a container --privileged --pid=host, in Kubernetes"
    " securityContext.privileged and hostPID"
)


def profilers(capabilities: Mapping[str, Any]) -> Iterable[Finding]:
    """Which profilers work here, and why not the others."""
    offered: Mapping[str, Mapping[str, Any]] = capabilities["profilers"]
    works = [name for name, said in offered.items() if said["available"]]
    for name, said in offered.items():
        if said["available"]:
            yield Finding(name, "ok", f"works: {said['detail']}" if said["detail"] else "works")
        else:
            yield Finding(name, "note", "not here", str(said["reason"]))
    if not works:
        yield Finding("profilers", "bad", "none works here", "install one of those above")


def permissions(*, user: int, effective: int) -> Finding:
    """What the process may do, by its user and the bits of CapEff in /proc/self/status."""
    missing = [(name, why) for bit, (name, why) in _NEEDED.items() if not effective & 1 << bit]
    who = "root" if user == 0 else f"user {user}"
    if not missing:
        return Finding("permissions", "ok", f"{who}, with every capability that profilers need")
    lacks = "; ".join(f"{name}: {why}" for name, why in missing)
    return Finding("permissions", "note" if user else "bad", f"{who} lacks {lacks}", _HOW)


def kernel(settings: Mapping[str, str | None], *, effective: int) -> Iterable[Finding]:
    """The kernel's settings, by name below /proc/sys/kernel; None is one that this kernel has not."""
    may_perf = bool(effective & (_PERFMON | _SYS_ADMIN))
    may_trace = bool(effective & _SYS_PTRACE)
    paranoid = _number(settings.get("perf_event_paranoid"))
    if paranoid is None:
        yield Finding("perf_event", "bad", "this kernel has no perf events", "perf cannot be used here")
    elif may_perf or paranoid <= 0:
        yield Finding(
            "perf_event", "ok", f"perf_event_paranoid is {paranoid}" + ("; no bar to us" if paranoid > 0 else "")
        )
    else:
        yield Finding(
            "perf_event", "note", f"perf_event_paranoid is {paranoid}: perf may not sample the whole host",
            "give CAP_PERFMON, or: sysctl kernel.perf_event_paranoid=0",
        )  # fmt: skip
    restricted = _number(settings.get("kptr_restrict"))
    if restricted == _NAMELESS or (restricted == 1 and not effective & (_SYSLOG | _SYS_ADMIN)):
        yield Finding(
            "kptr_restrict", "note", f"it is {restricted}: frames of the kernel have no names",
            "sysctl kernel.kptr_restrict=0 (or 1, with CAP_SYSLOG)",
        )  # fmt: skip
    else:
        yield Finding("kptr_restrict", "ok", f"it is {restricted if restricted is not None else 'not there'}")
    scope = _number(settings.get("yama/ptrace_scope"))
    if scope == _NO_TRACING or (scope in {1, 2} and not may_trace):
        yield Finding(
            "ptrace_scope", "note", f"it is {scope}: no other process may be read",
            "give CAP_SYS_PTRACE, or: sysctl kernel.yama.ptrace_scope=0" if scope != _NO_TRACING else
            "only a reboot with kernel.yama.ptrace_scope below 3 changes that",
        )  # fmt: skip
    else:
        yield Finding("ptrace_scope", "ok", f"it is {scope if scope is not None else 'not there'}")


def namespace(link: str) -> Finding:
    """Whether this is the host's pid namespace."""
    if link == INIT_PID_NAMESPACE:
        return Finding("processes", "ok", "the host's are seen")
    return Finding(
        "processes", "note", "only those of this container are seen",
        "docker run --pid=host; in Kubernetes hostPID: true",
    )  # fmt: skip


def disk(folder: Path) -> Finding:
    """How much room there is where profiles or the agent's books go."""
    at = folder
    while not at.exists() and at != at.parent:
        at = at.parent
    free = shutil.disk_usage(at).free
    said = f"{free / 1024**3:.1f} GiB free for {folder}"
    if free < NO_SPACE:
        return Finding("disk", "bad", said, "make room, or name another --output-dir and --state-dir")
    return Finding("disk", "ok" if free >= LITTLE_SPACE else "note", said)


def state_dir(path: Path, *, user: int) -> Finding:
    """Whether the agent can keep its books there, and whether one does just now."""
    if not path.exists():
        at = path
        while not at.exists():
            at = at.parent
        if os.access(at, os.W_OK):
            return Finding("state dir", "ok", f"{path} will be made")
        return Finding("state dir", "bad", f"{path} cannot be made by this user", "--state-dir DIR, or run as root")
    if not os.access(path, os.W_OK | os.X_OK):
        return Finding("state dir", "bad", f"{path} is not this user's", "--state-dir DIR, or run as the agent's user")
    if path.stat().st_uid != user:
        return Finding("state dir", "note", f"{path} belongs to user {path.stat().st_uid}", f"chown it to user {user}")
    holder = _holder(path / "lock")
    if holder is not None:
        return Finding("state dir", "ok", f"{path}, where an agent (pid {holder}) is at work")
    return Finding("state dir", "ok", f"{path}; no agent is at work")


def kill_switch(path: Path) -> Finding:
    """Whether profiling is switched off on this host, which no server can overrule."""
    if path.exists():
        return Finding("kill switch", "bad", f"profiling is switched off here by {path}", f"rm {path} switches it on")
    return Finding("kill switch", "ok", f"off; touch {path} stops profiling")


def effective_capabilities(status: str) -> int:
    """The bits of CapEff, from the text of /proc/PID/status."""
    line = next((line for line in status.splitlines() if line.startswith("CapEff:")), "CapEff: 0")
    return int(line.split()[1], 16)


def read_settings(
    names: Sequence[str] = ("perf_event_paranoid", "kptr_restrict", "yama/ptrace_scope"),
) -> dict[str, str | None]:
    """The kernel's settings as they are now."""
    found: dict[str, str | None] = {}
    for name in names:
        try:
            found[name] = Path("/proc/sys/kernel", name).read_text(encoding="ascii").strip()
        except OSError:
            found[name] = None
    return found


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.lstrip("-").isdecimal() else None


def _holder(lock: Path) -> str | None:
    """The pid of who holds the lock; None for nobody."""
    try:
        file = os.open(lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return os.pread(file, 32, 0).decode(errors="replace").strip() or "unknown"
    else:
        return None
    finally:
        os.close(file)
