"""`python -m workers.verify_archive [URL]`: hold every segment of an archive against the others and the broker's word.

Exit code 0: whole. 1: broken, and the first broken segment is named. 2: it cannot be looked at, or there is none.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from broker.archiving import AUDIT, ArchivedStreams, Head, Source
from broker.connection import Broker
from broker.errors import BrokerUnavailable, UnsafeSocketFolder
from broker.settings import BrokerSettings
from protocol import audit_chain
from protocol.audit_chain import BrokenChain, Link, Point
from workers.archive import Archive
from workers.segments import BrokenSegment, Segment, check_follows, decode, in_chains
from workers.settings import WorkerSettings


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found. `heads_checked`: whether the broker was asked, so that a loss at the end would have been seen."""

    ok: bool
    segments: int
    records: int
    heads_checked: bool
    broken: str | None = None
    reason: str | None = None
    audit_ends: Mapping[int, tuple[int, str]] = field(default_factory=dict)
    """Of each chain of audit records, by partition: number and hash of the last one in the archive."""


def verify(archive: Archive, told: Mapping[Source, Head] | None) -> Verdict:
    """Read every chain from its first segment to its last; `told` is the broker's word on the ends."""
    segments = records = 0
    paths = archive.paths()
    chains = dict(in_chains(paths))
    ends: dict[int, tuple[int, str]] = {}
    for family, stream in sorted({*chains, *((source.family, source.number) for source in told or ())}):
        before: Segment | None = None
        at: Point | None = None
        path = f"{family}/*/{stream:04}-*"
        try:
            for path in chains.get((family, stream), []):
                segment = decode(path, archive.read(path))
                check_follows(before, segment)
                if family == AUDIT:
                    at = _follow(at, segment)
                    ends[stream] = (at.number, at.hash)
                segments, records, before = segments + 1, records + segment.header.records, segment
            _check_end(before, (told or {}).get(Source(family, stream)))
        except (BrokenSegment, BrokenChain) as error:
            return Verdict(ok=False, segments=segments, records=records, heads_checked=told is not None,
                           broken=path, reason=str(error))  # fmt: skip
    return Verdict(ok=True, segments=segments, records=records, heads_checked=told is not None,
                   audit_ends=ends)  # fmt: skip


def _follow(at: Point | None, segment: Segment) -> Point:
    """Follow the audit records of a segment, beside the segments: each is a link of a chain of its own."""
    links = [Link.of(record.fields) for record in segment.records]
    first = links[0]
    if at is None:  # where this archive begins: it may be younger than the chain
        at = Point(int(first.number) - 1 if first.number.isdecimal() else 0, first.prev)
    return audit_chain.verify(links, start=at)


def _check_end(last: Segment | None, head: Head | None) -> None:
    """The broker's word may be one segment behind, never ahead."""
    number = last.header.number if last else 0
    if head is not None and head.number > number:
        raise BrokenSegment(f"segment {number + 1} is missing behind it; the broker has heard of {head.number}")
    if head is not None and last is not None and head.number == number and head.sha256 != last.sha256:
        raise BrokenSegment("it is not the file that the broker has heard of")


async def told_by_broker(archive: Archive) -> dict[Source, Head] | None:
    """The ends of the chains as the broker knows them; None where it cannot be asked, or knows nothing of it."""
    try:
        async with Broker.opened(BrokerSettings()) as broker:
            await broker.ping()
            return await ArchivedStreams(broker).heads(archive.name) or None
    except (BrokerUnavailable, UnsafeSocketFolder):
        return None


def main() -> None:
    """Look, and say what was found."""
    parser = argparse.ArgumentParser(prog="python -m workers.verify_archive", description=__doc__)
    parser.add_argument("url", nargs="?", help="the archive; by default PCS_ARCHIVE_URL, or that of PCS_STATE_DIR")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    options = parser.parse_args()
    try:
        archive = Archive(options.url or WorkerSettings().archive_at)
        # Asked first: what is archived meanwhile is ahead of the broker's word, which is no fault.
        verdict = verify(archive, asyncio.run(told_by_broker(archive)))
    except (OSError, ValueError, ImportError) as error:
        print(f"the archive cannot be read: {type(error).__name__}", file=sys.stderr)  # noqa: T201 - a command's answer
        raise SystemExit(2) from None
    if verdict.segments == 0 and verdict.ok and not verdict.heads_checked:
        # Neither the address nor the broker knows of any: the address may be mistyped, and is not repeated here.
        print("there is no archive: nothing has been archived there", file=sys.stderr)  # noqa: T201 - likewise
        raise SystemExit(2)
    print(json.dumps(asdict(verdict)) if options.json else sentence(verdict))  # noqa: T201 - a command's answer
    raise SystemExit(0 if verdict.ok else 1)


def sentence(verdict: Verdict) -> str:
    """The verdict for a person."""
    seen = f"{verdict.segments} segment(s), {verdict.records} record(s)"
    if not verdict.ok:
        return f"BROKEN at {verdict.broken}: {verdict.reason} (whole until there: {seen})"
    ends = "" if verdict.heads_checked else "; the broker cannot tell of its end: a loss there would not be seen"
    return f"whole: {seen}{ends}"


if __name__ == "__main__":
    main()
