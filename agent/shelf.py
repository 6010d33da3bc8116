"""The output directory: a name for each profile, and room for the next ones."""

import hashlib
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog
from structlog.typing import FilteringBoundLogger

log: FilteringBoundLogger = structlog.get_logger()

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]")
_OURS: Final = re.compile(r"(\d{8}T\d{6}Z-.+)\.(?:col|html|pb\.gz|speedscope\.json)")
_LOCAL: Final = re.compile(r"profile-\d{8}T\d{6}Z\.(?:col|html|pb\.gz|speedscope\.json)")
_MAX_NAME: Final = 64


def name_of(started_at: datetime, command_id: str) -> str:
    """A file name without suffix: the time first, so that names sort by it, and an id that any server may have made.

    No separators, nothing unprintable, and still another name for each id.
    """
    return f"{started_at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{_safe(command_id)}"


def profiles_of(directory: Path, command_id: str) -> list[Path]:
    """The files of a command's profiles, in no order; none where the directory cannot be read."""
    safe = _safe(command_id)
    try:
        files = [*directory.iterdir()]
    except OSError:
        return []
    ours = ((path, _OURS.fullmatch(path.name)) for path in files)
    return [path for path, name in ours if name is not None and name[1].partition("Z-")[2] == safe]


def is_profile(file_name: str) -> bool:
    """Whether the file is one that the agent names: by `name_of`, or when it profiles without a server."""
    return bool(_OURS.fullmatch(file_name) or _LOCAL.fullmatch(file_name))


def trim(directory: Path, *, keep: int) -> None:
    """Delete the oldest profiles beyond `keep`. Only files named by `name_of` are touched."""
    files: dict[str, list[Path]] = {}
    for path in directory.iterdir():
        if (ours := _OURS.fullmatch(path.name)) is not None:
            files.setdefault(ours[1], []).append(path)
    for name in sorted(files)[: max(len(files) - keep, 0)]:
        for path in files[name]:
            path.unlink(missing_ok=True)
        log.info("old profile deleted to make room", profile=name)


def _safe(command_id: str) -> str:
    safe = _UNSAFE.sub("_", command_id)[:_MAX_NAME]
    if safe == command_id:
        return safe
    return f"{safe}-{hashlib.sha256(command_id.encode(errors='surrogatepass')).hexdigest()[:12]}"
