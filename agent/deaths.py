"""Commands that the agent died of: what is in hand is on disk, so that the next life knows what killed the last one.

A command that comes again has a new id; it is known by what it asks for.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Final

import structlog
from structlog.typing import FilteringBoundLogger

from protocol.commands import StartConfig

log: FilteringBoundLogger = structlog.get_logger()

_MOST_KNOWN: Final = 100
_OF_ONE_COMMAND: Final = frozenset({"capture_id", "start_at"})
"""Keys that differ although the same is asked for."""


def digest(config: StartConfig) -> str:
    """What a command asks for, in short."""
    asked = {key: value for key, value in config.model_dump(mode="json").items() if key not in _OF_ONE_COMMAND}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


class Deaths:
    """What is in hand, and how often the agent died of what. `most` deaths and it is refused; 0 refuses nothing."""

    def __init__(self, path: Path, *, most: int) -> None:
        """Read the file and count what was in hand when the agent died."""
        self._path = path
        self._most = most
        known = _read(path)
        self._counts: dict[str, int] = _numbers(known.get("deaths"))
        in_hand = known.get("in_hand")
        self._in_hand: dict[str, str] = {}
        for command_id, what in in_hand.items() if isinstance(in_hand, dict) else ():
            self._counts[str(what)] = self._counts.pop(str(what), 0) + 1
            log.warning("the agent died while it ran a command", command_id=command_id, times=self._counts[str(what)])
        if in_hand:
            self._write()

    def refusal(self, config: StartConfig) -> str | None:
        """Why the command is never started again; None when it may be."""
        count = self._counts.get(digest(config), 0)
        if not self._most or count < self._most:
            return None
        times = "once" if count == 1 else f"{count} times"
        return f"the agent died {times} while it ran this command: it is not started on this host any more"

    def begin(self, command_id: str, config: StartConfig) -> None:
        """The command is about to run."""
        self._in_hand[command_id] = digest(config)
        self._write()

    def end(self, command_id: str) -> None:
        """The agent has lived through it, which clears its name."""
        what = self._in_hand.pop(command_id, None)
        if what is not None:
            self._counts.pop(what, None)
            self._write()

    def _write(self) -> None:
        counts = dict([*self._counts.items()][-_MOST_KNOWN:])
        fresh = self._path.with_name(f"{self._path.name}.new")
        try:
            fresh.unlink(missing_ok=True)
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as file:
                json.dump({"in_hand": self._in_hand, "deaths": counts}, file)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
        except OSError as error:
            log.warning("what is in hand is not on disk: a death of it would not be counted", reason=str(error))


def _read(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        log.warning("the count of deaths cannot be read: it begins anew", reason=str(error))
        return {}
    return known if isinstance(known, dict) else {}


def _numbers(counts: Any) -> dict[str, int]:
    if not isinstance(counts, dict):
        return {}
    return {str(what): count for what, count in counts.items() if isinstance(count, int)}
