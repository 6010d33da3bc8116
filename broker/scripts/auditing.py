"""The scripts of the audit chain: append to it, look at it, trim it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from broker import keys
from broker.connection import Call
from broker.scripts._load import flat, load_script
from protocol.audit_chain import Point

APPEND_AUDIT: Final = load_script("append_audit")
LOOK_AUDIT: Final = load_script("look_audit")
TRIM_AUDIT: Final = load_script("trim_audit")


@dataclass(frozen=True, slots=True)
class ChainEnd:
    """Where a chain ends: its last record, and the id of that record's entry."""

    point: Point
    entry_id: str


@dataclass(frozen=True, slots=True)
class Chained:
    """Whether the records were appended, and where the chain ends now."""

    is_appended: bool
    end: ChainEnd


def append_audit(partition: int, records: Sequence[Mapping[str, str]], *, after: Point) -> Call:
    """Append linked records, at least one, if the chain still ends at `after`. Repeating it appends nothing twice."""
    last = records[-1]
    return Call(
        APPEND_AUDIT,
        [keys.audit(partition), keys.audit_chain(partition)],
        [after.hash, last["number"], last["hash"], json.dumps([flat(record) for record in records])],
    )


def read_chained(answer: Any) -> Chained:
    """What `append_audit` gives."""
    appended, number, made, entry_id = answer
    return Chained(int(appended) == 1, ChainEnd(Point(int(number), str(made)), str(entry_id)))


@dataclass(frozen=True, slots=True)
class ChainPart:
    """Some entries of a chain, and where it begins and ends: all of one moment."""

    checkpoint: Point
    head: Point
    entries: Sequence[tuple[str, Mapping[str, str]]]


def look_audit(partition: int, *, after: str, most: int) -> Call:
    """Read entries behind an entry id, the oldest first."""
    return Call(LOOK_AUDIT, [keys.audit(partition), keys.audit_chain(partition)], [after, most])


def read_part(answer: Any) -> ChainPart:
    """What `look_audit` gives."""
    number, made, last_number, last_hash, entries = answer
    return ChainPart(
        Point(int(number), made),
        Point(int(last_number), last_hash),
        [(entry_id, dict(zip(fields[::2], fields[1::2], strict=True))) for entry_id, fields in entries],
    )


def trim_audit(partition: int, *, first_kept: str) -> Call:
    """Drop up to a thousand records before an entry, and keep where the chain begins now. The answer counts them."""
    return Call(TRIM_AUDIT, [keys.audit(partition), keys.audit_chain(partition)], [first_kept])
