"""Where a profile's files are: as it was uploaded, and as it is asked for; by tenant, service and hour."""

import json
import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, Final

from profiles.objects import Objects, part_of
from profiles.questions import Place

RAW: Final = "raw"
SAMPLES: Final = "samples"
STACKS: Final = "stacks"
GONE: Final = "gone"
"""A file for each profile that was deleted: who indexes or packs it just then takes it out again."""
HOUR: Final = timedelta(hours=1)
MOST_HOURS: Final = 24 * 400
ID: Final = re.compile(r"[0-8][0-9]{7}T[0-9]{2}-[0-9a-f]{32}")


@dataclass(frozen=True)
class Envelope:
    """What an upload does not say itself: whose it is, in which form it came, and when."""

    tenant: str
    service: str
    host: str
    form: str
    """`agent` (the JSON of agents of the field), `collapsed` or `pprof`; each unzipped or not, as it came."""
    is_zipped: bool
    started_at: str
    ended_at: str
    received_at: str
    request_ids: list[str] = field(default_factory=list)
    """Of the requests that its command worked for, as the broker knew when it came."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What was said beside a file, in the words of a header."""
    sample_type: str = ""
    """Of pprof: which of its values is meant."""


def hour_of(profile_id: str) -> datetime:
    """The hour of a profile, by its id.

    An id becomes a part of paths, and comes from callers: nothing but what `profile_id_of` gives is one.

    Raises:
        ValueError: this is no such id.
    """
    if ID.fullmatch(profile_id) is None:
        raise ValueError("no id of a profile")
    return datetime.strptime(profile_id[:11], "%Y%m%dT%H").replace(tzinfo=UTC)


def place_of(tenant: str, service: str, hour: datetime) -> str:
    """The folder of a service's profiles of one hour, below `raw`, `samples` or `stacks`."""
    return f"{part_of(tenant)}/{part_of(service)}/{hour:%Y-%m-%d}/{hour:%H}"


def path_of(kind: str, tenant: str, service: str, profile_id: str) -> str:
    """A file of a profile.

    Raises:
        ValueError: this is no profile's id.
    """
    end = "" if kind in {RAW, GONE} else ".parquet"
    return f"{kind}/{place_of(tenant, service, hour_of(profile_id))}/{profile_id}{end}"


class RawUploads:
    """Uploads as they came, each with its envelope as its first line."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def spool(self) -> "SpooledTemporaryFile[bytes]":
        """A file for an upload that is still coming: see `Objects.spool`.

        Raises:
            OSError: there is no room for it.
        """
        return self._objects.spool()

    def keep(self, profile_id: str, envelope: Envelope, content: bytes | BinaryIO) -> str:
        """Store an upload for good; of one that was stored before, that one stays. Gives its path.

        Raises:
            OSError: it cannot be stored.
        """
        path = path_of(RAW, envelope.tenant, envelope.service, profile_id)
        line = json.dumps(asdict(envelope), separators=(",", ":")).encode()
        head, rest = (line + b"\n" + content, None) if isinstance(content, bytes) else (line + b"\n", content)
        try:
            self._objects.write(path, head, rest)
        except FileExistsError:
            return path
        return path

    def read(self, path: str) -> tuple[Envelope, bytes]:
        """An upload by its path.

        Raises:
            FileNotFoundError: there is none.
        """
        line, _, content = self._objects.read(path).partition(b"\n")
        return Envelope(**json.loads(line)), content

    def is_there(self, place: Place) -> bool:
        """Whether there is an upload.

        Raises:
            OSError: the store does not answer.
        """
        return self._objects.has(path_of(RAW, place.tenant, place.service, place.profile_id))

    def is_deleted(self, place: Place) -> bool:
        """Whether a profile was deleted for good.

        Raises:
            OSError: the store does not answer.
        """
        return self._objects.has(path_of(GONE, place.tenant, place.service, place.profile_id))

    def deleted(self, places: Collection[Place]) -> set[Place]:
        """Those of some profiles that were deleted for good. Each hour of a service is looked at once.

        Raises:
            ValueError: one of them is no profile's id.
            OSError: the store does not answer.
        """
        hours: dict[str, set[str]] = {}
        found: set[Place] = set()
        for place in places:
            hour = place_of(place.tenant, place.service, hour_of(place.profile_id))
            if hour not in hours:
                hours[hour] = {*self._objects.names(f"{GONE}/{hour}")}
            found |= {place} if place.profile_id in hours[hour] else set()
        return found

    def delete(self, place: Place) -> None:
        """Remove an upload, and remember that: who indexes or packs it just now looks there afterwards.

        Raises:
            ValueError: this is no profile's id.
            OSError: the store does not answer.
        """
        with suppress(FileExistsError):
            self._objects.write(path_of(GONE, place.tenant, place.service, place.profile_id), b"")
        self.forget(place)

    def forget(self, place: Place) -> None:
        """Remove an upload.

        Raises:
            OSError: the store does not answer.
        """
        self._objects.remove(path_of(RAW, place.tenant, place.service, place.profile_id))

    def paths(self, tenant: str, service: str, *, start: datetime, end: datetime) -> Iterator[str]:
        """Every upload whose profile began in the hours of this time."""
        for hour in hours_between(start, end):
            folder = f"{RAW}/{place_of(tenant, service, hour)}"
            for name in self._objects.names(folder):
                yield f"{folder}/{name}"


def hours_between(start: datetime, end: datetime) -> Iterator[datetime]:
    """Every hour that has a moment in [start, end).

    Raises:
        ValueError: there are too many.
    """
    hour = start.replace(minute=0, second=0, microsecond=0)
    if end - hour > MOST_HOURS * HOUR:
        raise ValueError(f"a time of more than {MOST_HOURS // 24} days")
    while hour < end:
        yield hour
        hour += HOUR
