"""A profile on disk: one collapsed-stack file, one flame graph that opens without a network."""

import contextlib
import json
import os
import platform
import socket
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC
from pathlib import Path
from typing import Any, Final

from agent import flamegraph
from agent.capture import Profile
from agent.stacks import collapsed

LAST_COLLAPSED: Final = "last_profile.col"
LAST_FLAMEGRAPH: Final = "last_flamegraph.html"
MODE: Final = 0o644
SHOWN_PROCESSES: Final = 3
LISTED_PROCESSES: Final = 100


@dataclass(frozen=True)
class SavedProfile:
    """Where a profile was written."""

    collapsed: Path
    flamegraph: Path


def save(profile: Profile, directory: Path, *, name: str, title: str) -> SavedProfile:
    """Write `name.col` and `name.html`, and replace `last_profile.col` and `last_flamegraph.html` by copies of them.

    Every file appears whole or not at all, also after a crash. The copies are hard links where the file system has
    them: the folder may be moved or copied.

    Raises:
        OSError: the directory cannot be made or written to.
        ValueError: the name is no plain file stem.
    """
    if not name or Path(name).name != name or name in {".", ".."}:
        raise ValueError(f"{name!r} is no file stem")
    directory.mkdir(parents=True, exist_ok=True)
    facts = metadata(profile)
    header = f"# {json.dumps(facts, ensure_ascii=True, separators=(',', ':'))}\n"
    page = flamegraph.render(profile.stacks, title=title, facts=_shown(profile, facts), notices=_notices(profile))
    saved = SavedProfile(directory / f"{name}.col", directory / f"{name}.html")
    _write(saved.collapsed, header + collapsed.render(profile.stacks))
    _write(saved.flamegraph, page)
    _copy(saved.collapsed, directory / LAST_COLLAPSED)
    _copy(saved.flamegraph, directory / LAST_FLAMEGRAPH)
    _sync_directory(directory)
    return saved


def metadata(profile: Profile) -> dict[str, Any]:
    """What the collapsed file's first line says of the profile."""
    return {
        "format": "collapsed",
        "host": socket.gethostname(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "started_at": profile.started_at.astimezone(UTC).isoformat(),
        "finished_at": profile.finished_at.astimezone(UTC).isoformat(),
        "elapsed_seconds": round(profile.elapsed_seconds, 3),
        "frequency_hz": profile.frequency_hz,
        "samples": profile.samples,
        "stacks": len(profile.stacks),
        "events": profile.events,
        "processes": [asdict(process) for process in profile.processes[:LISTED_PROCESSES]],
        "warnings": profile.warnings,
        "error": profile.error,
        **({"capture_id": profile.capture_id} if profile.capture_id is not None else {}),
    }


def _shown(profile: Profile, facts: dict[str, Any]) -> dict[str, str]:
    """What the page says below its title."""
    started = profile.started_at.astimezone(UTC)
    named = [f"{process.name} ({process.pid})" for process in profile.processes[:SHOWN_PROCESSES]]
    more = len(profile.processes) - len(named)
    return {
        "host": facts["host"],
        "started": f"{started:%Y-%m-%d %H:%M:%S} UTC",
        "took": f"{profile.elapsed_seconds:.1f} s",
        "frequency": f"{profile.frequency_hz} Hz",
        "samples": f"{profile.samples:,}",
        "stacks": f"{len(profile.stacks):,}",
    } | ({"processes": ", ".join(named) + (f" and {more} more" if more > 0 else "")} if named else {})


def _notices(profile: Profile) -> Sequence[str]:
    return [*([profile.error] if profile.error else []), *profile.warnings]


def _write(target: Path, text: str) -> None:
    """Write a new file beside the target, see it on disk, and only then give it the target's name."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), MODE)
            os.fsync(file.fileno())
        Path(temporary).replace(target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise


def _copy(source: Path, target: Path) -> None:
    """Give the source a second name, replacing what had it."""
    if target == source:
        return
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
        link = Path(folder) / target.name
        try:
            os.link(source, link)
        except OSError:  # a file system without hard links
            _write(target, source.read_text(encoding="utf-8"))
            return
        link.replace(target)


def _sync_directory(directory: Path) -> None:
    """Make the new names last."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
