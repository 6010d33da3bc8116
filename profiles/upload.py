"""An upload, read: the JSON that agents of the field send, or a plain collapsed file. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from profiles.collapsed import BadHeader, Collapsed, TooManyStacks, read
from profiles.facts import ProfileFacts, profile_id_of, text_of
from protocol.names import HostKey, Name
from protocol.problems import FieldFault

AHEAD: Final = timedelta(days=1)
"""A host's clock may be wrong; a profile from further in the future is refused."""
EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
LONGEST: Final = timedelta(days=2)
MOST_REQUESTS: Final = 100
MOST_HZ: Final = 1_000_000


class AgentUpload(BaseModel):
    """The body that agents of the field send; what else they say is of no use here.

    `start_time` and `end_time` are UTC, with or without an offset. `profile` is collapsed stacks below `# {json}`.
    """

    model_config = ConfigDict(extra="ignore")

    start_time: datetime
    end_time: datetime
    hostname: Name
    profile: str
    gpid: int | str | None = None


class BadUpload(ValueError):
    """An upload that cannot be taken. `faults` names every field, and lines where it makes sense."""

    def __init__(self, faults: list[FieldFault]) -> None:
        super().__init__("; ".join(f"{fault.field}: {fault.message}" for fault in faults))
        self.faults = faults


@dataclass(frozen=True)
class Upload:
    """A profile that can be stored and indexed."""

    facts: ProfileFacts
    collapsed: Collapsed


def read_json(content: bytes, *, tenant: str, service: str, now: datetime) -> Upload:
    """Read the body that agents of the field send, unzipped.

    Raises:
        BadUpload: it is no such body, or nothing of it is a profile.
    """
    try:
        body = AgentUpload.model_validate_json(content)
    except ValidationError as error:
        raise BadUpload([_fault(each) for each in error.errors(include_url=False, include_input=False)]) from None
    started_at, ended_at = utc(body.start_time), utc(body.end_time)
    _check_times(started_at, ended_at, now=now)
    return _upload(body.profile, HostKey(tenant, service, body.hostname), started_at, ended_at, content)


def read_collapsed(content: bytes, host: HostKey, *, started_at: datetime, ended_at: datetime, now: datetime) -> Upload:
    """Read a plain collapsed file, unzipped; what its first line does not say has been said beside it.

    Raises:
        BadUpload: nothing of it is a profile.
    """
    _check_times(started_at, ended_at, now=now)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise BadUpload([FieldFault(field="body", message=f"not UTF-8: byte {error.start}", code="encoding")]) from None
    return _upload(text, host, started_at, ended_at, content)


def _upload(text: str, host: HostKey, started_at: datetime, ended_at: datetime, content: bytes) -> Upload:
    try:
        collapsed = read(text)
    except (BadHeader, TooManyStacks) as error:
        raise BadUpload([FieldFault(field="profile", message=str(error), code="bad_profile")]) from None
    if not collapsed.stacks:
        faults = [
            FieldFault(field=f"profile.{each.line}", message=each.why, code="bad_line") for each in collapsed.faults
        ] or [FieldFault(field="profile", message="there is no stack in it", code="empty_profile")]
        raise BadUpload(faults)
    return Upload(_facts(collapsed.header, host, started_at, ended_at, content), collapsed)


def _facts(
    header: Mapping[str, Any], host: HostKey, started_at: datetime, ended_at: datetime, content: bytes
) -> ProfileFacts:
    metadata = header.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    requests = header.get("request_ids")
    frequency = header.get("frequency_hz")
    return ProfileFacts(
        profile_id=profile_id_of(host, started_at, content),
        host=host,
        started_at=started_at,
        ended_at=ended_at,
        command_id=text_of(header.get("command_id")),
        request_ids=tuple(filter(None, map(text_of, requests[:MOST_REQUESTS]))) if isinstance(requests, list) else (),
        capture_id=text_of(header.get("capture_id")),
        mode=text_of(header.get("profiling_mode")) or text_of(metadata.get("profiling_mode")) or "cpu",
        frequency_hz=frequency if isinstance(frequency, int) and 0 < frequency <= MOST_HZ else 0,
        agent_version=text_of(header.get("agent_version")) or text_of(metadata.get("agent_version")),
    )


def _check_times(started_at: datetime, ended_at: datetime, *, now: datetime) -> None:
    faults = []
    if not EARLIEST <= started_at <= now + AHEAD:
        faults.append(FieldFault(field="start_time", message="is not of this time", code="bad_time"))
    if not started_at <= ended_at <= started_at + LONGEST:
        why = f"must be start_time or later, by {LONGEST.days} days at most"
        faults.append(FieldFault(field="end_time", message=why, code="bad_time"))
    if faults:
        raise BadUpload(faults)


def utc(moment: datetime) -> datetime:
    """A moment in UTC, which is also what one without an offset is taken for."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _fault(error: Any) -> FieldFault:
    field = ".".join(str(part) for part in error["loc"]) or "body"
    return FieldFault(field=field, message=error["msg"], code=error["type"])


def header_line(facts: Mapping[str, Any]) -> str:
    """The first line of a collapsed file."""
    return f"# {json.dumps(facts, separators=(',', ':'))}\n"
