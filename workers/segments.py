"""The archive's files: one segment is a gzip of JSON lines, a header first. Pure: bytes in, values out, and back.

A segment names the SHA-256 of its predecessor's file and of its own records, so the segments of a stream are a chain:
whoever changes, drops or reorders one breaks it there. The gzip envelope is written by hand, with nothing left open in
it, so that not one bit of a file may change unnoticed.
"""

import hashlib
import itertools
import json
import re
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

from broker.entry_ids import position_of

ENVELOPE: Final = bytes.fromhex("1f8b08000000000002ff")
"""gzip, deflate, no name, no time, best compression, no system."""
TRAILER_BYTES: Final = 8
NAME: Final = re.compile(
    r"(?:^|/)(?P<family>[a-z_]+)/(?P<day>\d{4}-\d\d-\d\d)/(?P<stream>\d{4})-(?P<number>\d{8})-(?P<first>\d+-\d+)\.jsonl\.gz$"
)


class BrokenSegment(Exception):
    """A segment is not as it was written, or does not follow the one before."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a segment says of itself. `first` and `last` are entry ids."""

    v: int
    family: str
    stream: int
    number: int
    previous: str
    first: str
    last: str
    records: int
    sha256: str

    @property
    def path(self) -> str:
        """Where the segment is in the archive: by family, UTC day of its entries, stream and place in the chain."""
        return f"{self.family}/{day_of(self.first)}/{self.stream:04}-{self.number:08}-{self.first}.jsonl.gz"


@dataclass(frozen=True, slots=True)
class Record:
    """One archived entry."""

    entry_id: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Segment:
    """A file of the archive, read and found whole in itself. `sha256` is that of the file."""

    header: Header
    records: Sequence[Record]
    sha256: str


def day_of(entry_id: str) -> str:
    """The UTC day of an entry."""
    return datetime.fromtimestamp(position_of(entry_id)[0] / 1000, UTC).date().isoformat()


def number_of(path: str) -> int:
    """A segment's place in its chain, by its name; 0 for what is none."""
    name = NAME.search(path)
    return int(name["number"]) if name else 0


def encode(records: Sequence[Record], *, family: str, stream: int, number: int, previous: str) -> tuple[Header, bytes]:
    """Records of one stream and one UTC day as a file."""
    lines = [json.dumps({"id": record.entry_id, "fields": dict(record.fields)}) for record in records]
    body = "".join(f"{line}\n" for line in lines).encode()
    header = Header(
        v=1, family=family, stream=stream, number=number, previous=previous, first=records[0].entry_id,
        last=records[-1].entry_id, records=len(records), sha256=sha256(body),
    )  # fmt: skip
    plain = json.dumps(asdict(header)).encode() + b"\n" + body
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    trailer = struct.pack("<II", zlib.crc32(plain), len(plain) & 0xFFFFFFFF)
    return header, ENVELOPE + deflate.compress(plain) + deflate.flush() + trailer


def decode(path: str, data: bytes) -> Segment:
    """Read a file, and hold it against its name and its own header.

    Raises:
        BrokenSegment: it is not as it was written.
    """
    header_line, _, body = _unpack(data).partition(b"\n")
    try:
        header = Header(**json.loads(header_line))
        lines: list[dict[str, Any]] = [json.loads(line) for line in body.splitlines()]
        records = [Record(line["id"], line["fields"]) for line in lines]
        positions = [position_of(record.entry_id) for record in records]
    except (ValueError, TypeError, KeyError) as error:
        raise BrokenSegment(f"cannot be read: {type(error).__name__}") from None
    if header.sha256 != sha256(body):
        raise BrokenSegment("its records are not those it was written with")
    if not records or (header.records, header.first, header.last) != (
        len(records), records[0].entry_id, records[-1].entry_id,
    ):  # fmt: skip
        raise BrokenSegment("its header does not tell its records")
    if any(later <= earlier for earlier, later in itertools.pairwise(positions)):
        raise BrokenSegment("its records are out of order")
    if not path.endswith(header.path):
        raise BrokenSegment(f"it belongs at {header.path}")
    if day_of(header.first) != day_of(header.last):
        raise BrokenSegment("it spans two days")
    return Segment(header, records, sha256(data))


def _unpack(data: bytes) -> bytes:
    """The text inside the envelope, every bit of which is accounted for."""
    packed, trailer = data[len(ENVELOPE) : -TRAILER_BYTES], data[-TRAILER_BYTES:]
    if not data.startswith(ENVELOPE) or len(trailer) < TRAILER_BYTES or not packed:
        raise BrokenSegment("it is not a file of this archive")
    plain = _inflate(packed)
    if plain is None or trailer != struct.pack("<II", zlib.crc32(plain), len(plain) & 0xFFFFFFFF):
        raise BrokenSegment("it is damaged")
    # The compressed text ends within its last byte, and the bits behind the end are zero: one that is not, and can be
    # cleared without a change of the text, was set later.
    end = packed[-1]
    if end and _inflate(packed[:-1] + bytes([end & ~(1 << (end.bit_length() - 1))])) == plain:
        raise BrokenSegment("it is damaged behind its end")
    return plain


def _inflate(packed: bytes) -> bytes | None:
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        plain = inflate.decompress(packed)
    except zlib.error:
        return None
    return plain if inflate.eof and not inflate.unused_data else None


def sha256(data: bytes) -> str:
    """SHA-256, in hex."""
    return hashlib.sha256(data).hexdigest()


def check_follows(before: Segment | None, segment: Segment) -> None:
    """Hold a segment against the one before it in the chain.

    Raises:
        BrokenSegment: it does not follow.
    """
    header = segment.header
    number = before.header.number + 1 if before else 1
    if header.number > number:
        raise BrokenSegment(f"segment {number} of stream {header.stream} is missing before it")
    if header.number < number:
        raise BrokenSegment(f"there is another segment {header.number} of stream {header.stream}")
    if header.previous != (before.sha256 if before else ""):
        raise BrokenSegment("its predecessor is not the file that it was written after")
    if before and position_of(header.first) <= position_of(before.header.last):
        raise BrokenSegment("it holds entries that its predecessor holds")


def in_chains(paths: Iterable[str]) -> Iterator[tuple[tuple[str, int], list[str]]]:
    """The segments among these paths, by family and stream, each chain in order."""
    chains: dict[tuple[str, int], list[tuple[int, str]]] = {}
    for path in paths:
        if (name := NAME.search(path)) is not None:
            chains.setdefault((name["family"], int(name["stream"])), []).append((int(name["number"]), path))
    for chain, members in sorted(chains.items()):
        yield chain, [path for _, path in sorted(members)]
