"""What a profile's metadata says: of the profile, of the host that it was taken on, of the programs that took it."""

import os
import platform
import socket
from dataclasses import asdict
from datetime import UTC
from functools import cache
from pathlib import Path
from typing import Any, Final

import psutil

from agent import cloud
from agent.host import agent_version
from agent.run_profile import Profile, ProfiledProcess

LISTED_PROCESSES: Final = 1_000
_FIRMWARE: Final = Path("/sys/class/dmi/id")


def metadata(profile: Profile) -> dict[str, Any]:
    """Everything, as a value to write as JSON; what is not known is left out, but for `error`.

    The busiest `LISTED_PROCESSES` stand in it one by one, each with the container and pod that it ran in.
    """
    return {
        "format": "collapsed",
        **host(),
        "started_at": profile.started_at.astimezone(UTC).isoformat(),
        "finished_at": profile.finished_at.astimezone(UTC).isoformat(),
        "elapsed_seconds": round(profile.elapsed_seconds, 3),
        "frequency_hz": profile.frequency_hz,
        "unit": profile.unit,
        "samples": profile.samples,
        "stacks": len(profile.stacks),
        "events": profile.events,
        "versions": {"gprofiler": agent_version(), "python": platform.python_version(), **profile.versions},
        **_usage(profile),
        "processes": [_told(process) for process in profile.processes[:LISTED_PROCESSES]],
        "warnings": profile.warnings,
        "error": profile.error,
        **{name: value for name in ("command_id", "capture_id") if (value := getattr(profile, name)) is not None},
        **({"start_at": profile.start_at.astimezone(UTC).isoformat()} if profile.start_at is not None else {}),
    }


@cache
def host(firmware: Path = _FIRMWARE) -> dict[str, Any]:
    """What does not change while the agent runs."""
    where = cloud.named({name: text for name in cloud.FILES if (text := _read(firmware / name))})
    return {
        "host": socket.gethostname(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        **({"cloud": where} if where is not None else {}),
    }


def _usage(profile: Profile) -> dict[str, Any]:
    if profile.usage is None:
        return {}
    before, after = profile.usage
    return {
        "load_average": {"start": before.load, "end": after.load},
        "memory_used_bytes": {"start": before.memory_used, "end": after.memory_used},
        "cpu_percent": before.cpu_percent_until(after),
    }


def _told(process: ProfiledProcess) -> dict[str, Any]:
    own = {"pid": process.pid, "name": process.name, "samples": process.samples}
    labels = asdict(process.labels) if process.labels is not None else {}
    return own | {name: value for name, value in labels.items() if value}


def _read(path: Path) -> str:
    """A line of the firmware's; nothing where there is none, as on most machines that are not x86."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
