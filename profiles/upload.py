"""An upload, read: the JSON that agents of the field send, a plain collapsed file, or pprof's. Pure.

It comes in portions, and is never in memory as a whole.
"""

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from formats import pprof_reading
from profiles import agent_bodies
from profiles.collapsed import MOST_COUNT, MOST_SAMPLES, MOST_STACKS, BadHeader, Collapsed, Reader, TooManyStacks
from profiles.facts import ProfileFacts, profile_id_of, text_of
from profiles.moments import Moment
from profiles.portions import NotText, texts
from protocol.names import HostKey, Name
from protocol.problems import FieldFault

AHEAD: Final = timedelta(days=1)
"""A host's clock may be wrong; a profile from further in the future is refused."""
EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
LONGEST: Final = timedelta(days=2)
MOST_REQUESTS: Final = 100
MOST_HZ: Final = 1_000_000
NANOSECONDS: Final = "nanoseconds"
MODES: Final[Mapping[str, str]] = {
    "samples": "cpu", "cpu": "cpu", "alloc_space": "allocation", "space": "allocation", "inuse_space": "in_use",
}  # fmt: skip
"""Kind of pprof's values -> mode; other kinds are modes of their own name."""


class AgentUpload(BaseModel):
    """The body that agents of the field send; what else they say is of no use here.

    `start_time` and `end_time` are UTC, with or without an offset. `profile` is collapsed stacks below `# {json}`.
    """

    model_config = ConfigDict(extra="ignore")

    start_time: Moment
    end_time: Moment
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


Content = bytes | Iterable[bytes]
"""What was uploaded, unzipped: whole, or in portions that can be iterated several times."""


def read_json(
    content: Content, *, tenant: str, service: str, now: datetime, profile_id: str = "", keeps: bool = True
) -> Upload:
    """Read the body that agents of the field send, unzipped.

    Args:
        content: the body.
        tenant: whose.
        service: of which service.
        now: UTC.
        profile_id: its id, where that is known already.
        keeps: whether the stacks are wanted, and not only how many there are.

    Raises:
        BadUpload: it is no such body, or nothing of it is a profile.
        BadZip, TooLong: as its portions say.
    """
    reader = Reader(keeps=keeps)
    with _told_as_faults():
        found = agent_bodies.read(
            texts(_portions(content)), wanted=AgentUpload.model_fields, long="profile", give=reader.feed
        )
    try:
        body = AgentUpload.model_validate_json(json.dumps(found))
    except ValidationError as error:
        raise BadUpload([_fault(each) for each in error.errors(include_url=False, include_input=False)]) from None
    _check_times(body.start_time, body.end_time, now=now)
    host = HostKey(tenant, service, body.hostname)
    return _upload(reader, host, body.start_time, body.end_time, content, profile_id=profile_id)


@dataclass(frozen=True)
class Beside:
    """What is said beside a file that is uploaded.

    Attributes:
        host: whose it is.
        started_at: when it began, UTC; None: the file says it itself.
        ended_at: likewise, when it ended.
        facts: what a header would say, as `frequency_hz`; the file's own header goes before it.
        sample_type: of pprof: which of its values is meant; empty: the usual one.
        profile_id: its id, where that is known already.
    """

    host: HostKey
    started_at: datetime | None = None
    ended_at: datetime | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    sample_type: str = ""
    profile_id: str = ""


def read_collapsed(content: Content, beside: Beside, *, now: datetime, keeps: bool = True) -> Upload:
    """Read a plain collapsed file, unzipped. `keeps`: as for `read_json`.

    Raises:
        BadUpload: nothing of it is a profile.
        BadZip, TooLong: as its portions say.
    """
    if beside.started_at is None or beside.ended_at is None:
        told = {"start_time": beside.started_at, "end_time": beside.ended_at}
        raise BadUpload([_needed(name) for name, value in told.items() if value is None])
    _check_times(beside.started_at, beside.ended_at, now=now)
    reader = Reader(keeps=keeps)
    with _told_as_faults():
        for text in texts(_portions(content)):
            reader.feed(text)
    return _upload(
        reader, beside.host, beside.started_at, beside.ended_at, content, beside=beside.facts,
        profile_id=beside.profile_id,
    )  # fmt: skip


def read_pprof(content: Content, beside: Beside, *, now: datetime, keeps: bool = True) -> Upload:
    """Read a profile of pprof's, unzipped. What the query says of its times goes before what it says itself.

    `keeps`: as for `read_json`.

    Raises:
        BadUpload: it is none, or nothing of it is a profile.
        BadZip, TooLong: as its portions say.
    """
    try:
        found = pprof_reading.read(
            _portions(content), value_type=beside.sample_type, most_stacks=MOST_STACKS, keeps=keeps
        )
    except pprof_reading.BadPprof as error:
        deque(_portions(content), maxlen=0)  # that it is too long, or no whole gzip, is told before what is in it
        raise BadUpload([FieldFault(field="profile", message=str(error)[:300], code="bad_profile")]) from None
    started_at, ended_at = _times_of(found, beside)
    _check_times(started_at, ended_at, now=now)
    if not found.counts:
        raise BadUpload([FieldFault(field="profile", message="there is no sample in it", code="empty_profile")])
    each = found.period if _is_divided(found) else 1
    samples = sum(_divided(count, each) for count in found.counts)
    if samples > MOST_SAMPLES:
        why = f"its values add up to more than {MOST_SAMPLES}"
        raise BadUpload([FieldFault(field="profile", message=why, code="bad_profile")])
    header = {"format": "collapsed", **_facts_of(found), **beside.facts}
    collapsed = Collapsed(
        header=header, stacks={stack: _divided(count, each) for stack, count in found.stacks.items()},
        distinct=len(found.counts), samples=samples, bad_lines=found.bad_samples, cut_stacks=found.cut_stacks,
    )  # fmt: skip
    profile_id = beside.profile_id or profile_id_of(beside.host, started_at, _portions(content))
    return Upload(_facts(header, beside.host, started_at, ended_at, profile_id), collapsed)


def _divided(count: int, each: int) -> int:
    """How many samples a count is, of which one stands for so much."""
    return min(-(-count // each), MOST_COUNT)


FILES: Final[Mapping[str, Callable[..., Upload]]] = {"collapsed": read_collapsed, "pprof": read_pprof}
"""Forms of files that anyone may upload, and what reads them."""


def _times_of(found: pprof_reading.Pprof, beside: Beside) -> tuple[datetime, datetime]:
    started_at = beside.started_at
    try:
        if started_at is None and found.started_ns > 0:
            started_at = datetime.fromtimestamp(found.started_ns / 1e9, UTC)
        if started_at is None:
            raise BadUpload([_needed("start_time")])
        return started_at, beside.ended_at or started_at + timedelta(microseconds=max(found.duration_ns, 0) // 1_000)
    except (OverflowError, ValueError, OSError) as error:
        if isinstance(error, BadUpload):
            raise
        raise BadUpload([FieldFault(field="profile", message="its times are none", code="bad_time")]) from None


def _facts_of(found: pprof_reading.Pprof) -> dict[str, Any]:
    """What a profile of pprof's says, in the words of a header. Values of other kinds are modes of their own."""
    in_time = found.unit == NANOSECONDS and not _is_divided(found)
    mode = MODES.get(found.value_type, found.value_type)
    facts: dict[str, Any] = {"profiling_mode": f"{found.value_type}_{found.unit}" if in_time else mode}
    if found.period_unit == NANOSECONDS and found.period > 0:
        facts["frequency_hz"] = round(1_000_000_000 / found.period)
    return facts


def _is_divided(found: pprof_reading.Pprof) -> bool:
    """Whether its values are times that a known period makes samples of."""
    return found.unit == NANOSECONDS and found.period_unit == NANOSECONDS and found.period > 0


def _needed(name: str) -> FieldFault:
    return FieldFault(field=name, message="is needed", code="missing")


def _portions(content: Content) -> Iterable[bytes]:
    return [content] if isinstance(content, bytes) else content


@contextmanager
def _told_as_faults() -> Iterator[None]:
    """What is wrong with a text while it is read, as faults of the upload."""
    try:
        yield
    except (BadHeader, TooManyStacks) as error:
        raise BadUpload([FieldFault(field="profile", message=str(error), code="bad_profile")]) from None
    except agent_bodies.BadBody as error:
        raise BadUpload([FieldFault(field=error.field, message=str(error), code="json_invalid")]) from None
    except NotText as error:
        raise BadUpload([FieldFault(field="body", message=str(error), code="encoding")]) from None


def _upload(
    reader: Reader, host: HostKey, started_at: datetime, ended_at: datetime, content: Content,
    *, beside: Mapping[str, Any] | None = None, profile_id: str = "",
) -> Upload:  # fmt: skip
    with _told_as_faults():
        collapsed = reader.end()
    if not collapsed.distinct:
        faults = [
            FieldFault(field=f"profile.{each.line}", message=each.why, code="bad_line") for each in collapsed.faults
        ] or [FieldFault(field="profile", message="there is no stack in it", code="empty_profile")]
        raise BadUpload(faults)
    header = {**(beside or {}), **collapsed.header}
    profile_id = profile_id or profile_id_of(host, started_at, _portions(content))
    return Upload(_facts(header, host, started_at, ended_at, profile_id), collapsed)


def _facts(
    header: Mapping[str, Any], host: HostKey, started_at: datetime, ended_at: datetime, profile_id: str
) -> ProfileFacts:
    metadata = header.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    requests = header.get("request_ids")
    frequency = header.get("frequency_hz")
    return ProfileFacts(
        profile_id=profile_id,
        host=host,
        started_at=started_at,
        ended_at=ended_at,
        command_id=text_of(header.get("command_id")),
        request_ids=tuple(filter(None, map(text_of, requests[:MOST_REQUESTS]))) if isinstance(requests, list) else (),
        capture_id=text_of(header.get("capture_id")),
        mode=text_of(header.get("profiling_mode")) or text_of(metadata.get("profiling_mode")) or "cpu",
        frequency_hz=frequency if type(frequency) is int and 0 < frequency <= MOST_HZ else 0,  # a bool is an int, too
        agent_version=text_of(header.get("agent_version")) or text_of(metadata.get("agent_version")),
    )


def _check_times(started_at: datetime, ended_at: datetime, *, now: datetime) -> None:
    faults = []
    if not EARLIEST <= started_at <= now + AHEAD:
        faults.append(FieldFault(field="start_time", message="is not of this time", code="bad_time"))
    if not timedelta(0) <= ended_at - started_at <= LONGEST:
        why = f"must be start_time or later, by {LONGEST.days} days at most"
        faults.append(FieldFault(field="end_time", message=why, code="bad_time"))
    if faults:
        raise BadUpload(faults)


def _fault(error: Any) -> FieldFault:
    field = ".".join(str(part) for part in error["loc"]) or "body"
    return FieldFault(field=field, message=error["msg"], code=error["type"])


def header_line(facts: Mapping[str, Any]) -> str:
    """The first line of a collapsed file."""
    return f"# {json.dumps(facts, separators=(',', ':'))}\n"
