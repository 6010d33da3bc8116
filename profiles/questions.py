"""What is asked of stored profiles, and what every engine answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

FILTERS: Final = (
    "profile_id", "host", "command_id", "request_id", "capture_id", "mode", "process", "container", "pod", "runtime",
)  # fmt: skip
"""By what samples may be chosen, beside service and time."""


@dataclass(frozen=True)
class Selection:
    """Samples of one service.

    Attributes:
        tenant: whose.
        service: of which service.
        start: profiles that began at this moment or later, UTC.
        end: and before this one.
        where: filter (see `FILTERS`) -> any of these values.
    """

    tenant: str
    service: str
    start: datetime
    end: datetime
    where: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class StoredProfile:
    """One profile in a list."""

    profile_id: str
    host: str
    started_at: datetime
    ended_at: datetime
    command_id: str
    request_ids: Sequence[str]
    capture_id: str
    mode: str
    frequency_hz: int
    samples: int


class Engine(Protocol):
    """Where indexed profiles are asked for. Calls block: they belong off the event loop."""

    def merged(self, selection: Selection) -> dict[str, int]:
        """Stack -> samples, over everything selected."""

    def profiles(self, selection: Selection, *, after: str, most: int) -> list[StoredProfile]:
        """Up to `most` profiles with samples in the selection, the newest first, behind the one with id `after`."""

    def add(self, samples: bytes, stacks: bytes, place: Any) -> None:
        """Take in a profile's two tables. Taken in again it is still there once."""
