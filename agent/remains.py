"""What a killed agent left in the output directory: files half-written, and whole profiles that nobody was told of."""

import json
import os
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import structlog
from structlog.typing import FilteringBoundLogger

from agent import shelf
from agent.reports import RESTARTED_WHILE_RUNNING, Ending

log: FilteringBoundLogger = structlog.get_logger()

_HALF_WRITTEN: Final = re.compile(r"\.(?:\d{8}T\d{6}Z-[A-Za-z0-9._-]+|last_\w+)\.[a-z.]+\.[a-z0-9_]{8}")
"""How `output` names a file, or a folder for a link, until it is whole. Local runs name theirs differently."""
_MAX_FIRST_LINE: Final = 1024 * 1024


def sweep(directory: Path) -> None:
    """Delete what was being written when the agent was killed. Links are not followed, and others' files are left."""
    for path in directory.iterdir():
        with suppress(OSError):
            if _HALF_WRITTEN.fullmatch(path.name) is None or path.lstat().st_uid != os.geteuid():
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
            log.info("half-written file of an earlier process deleted", file=path.name)


def left_by(directory: Path, command_id: str) -> Ending | None:
    """How a run ended that was killed with its agent, by the profiles it had saved; None when there is none."""
    saved = [path for path in sorted(shelf.profiles_of(directory, command_id)) if path.suffix == ".col"]
    facts = [told for path in saved if (told := _first_line(path)) is not None]
    if not facts:
        return None
    page = saved[-1].with_suffix(".html")
    return Ending(
        samples=sum(_count(told.get("samples")) for told in facts),
        elapsed_seconds=sum(_seconds(told.get("elapsed_seconds")) for told in facts),
        started_at=_moment(facts[0].get("started_at")),
        finished_at=_moment(facts[-1].get("finished_at")),
        results_path=str(page if page.exists() else saved[-1]),
        warnings=_warnings(facts),
        interrupted=RESTARTED_WHILE_RUNNING,
    )


def _first_line(path: Path) -> dict[str, Any] | None:
    """What the file says of itself; None where it is not one of ours."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            told = json.loads(file.readline(_MAX_FIRST_LINE).removeprefix("# "))
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) else None


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value >= 0 else 0


def _seconds(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and value >= 0 else 0.0


def _moment(value: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None


def _warnings(facts: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(text) for told in facts for text in told.get("warnings") or ()))
