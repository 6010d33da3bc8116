"""What is asked of stored profiles, and what every engine answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from profiles.gathering import Gathering

FILTERS: Final = (
    "profile_id", "host", "command_id", "request_id", "capture_id", "mode", "process", "container", "pod", "runtime",
)  # fmt: skip
"""By what samples may be chosen, beside service and time."""


LOST: Final = "[the text of this stack is lost]"
"""In place of a stack whose text is gone; its samples still count."""


@dataclass(frozen=True)
class Place:
    """Whose profile it is."""

    tenant: str
    service: str
    profile_id: str


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


@dataclass(frozen=True)
class Merge:
    """Everything selected, added up, and of which profiles it is.

    Attributes:
        stacks: stack -> samples.
        profiles: how many there are.
        hosts: how many those are of.
        host: one of them; empty where there is none.
        modes: theirs, sorted.
        frequencies: theirs, in samples a second, sorted.
        started_at: when the first began; None where there is none.
        ended_at: when the last ended.
    """

    stacks: Mapping[str, int]
    profiles: int = 0
    hosts: int = 0
    host: str = ""
    modes: Sequence[str] = ()
    frequencies: Sequence[int] = ()
    started_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True)
class Bucket:
    """What is selected of one stretch of time.

    Attributes:
        at: when it begins, UTC.
        samples: in profiles that began in it.
        profiles: how many those are.
    """

    at: datetime
    samples: int
    profiles: int


FIRST_MOMENT: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""From here buckets are counted, so that the same step always gives the same ones."""


class Engine(Protocol):
    """Where indexed profiles are asked for. Calls block: they belong off the event loop."""

    def merged(self, selection: Selection) -> Merge:
        """Everything selected, added up."""

    def profiles(self, selection: Selection, *, after: str, most: int) -> list[StoredProfile]:
        """Up to `most` profiles with samples in the selection, the newest first, behind the one with id `after`."""

    def over_time(self, selection: Selection, step: timedelta) -> list[Bucket]:
        """What is selected, in steps of whole milliseconds since `FIRST_MOMENT`; none without samples."""

    def add(self, gathering: Gathering) -> None:
        """Take in profiles. One that is taken in again is still there once."""

    def forget(self, place: Place) -> None:
        """Have a profile no more. That there is none is no error."""

    def expire(self, tenant: str, *, before: datetime) -> None:
        """Have no more of a tenant what began before a moment. Files of those days are removed by who calls."""
