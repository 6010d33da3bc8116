"""A profile as two Parquet files: its samples, by the number of their stack, and its stacks, as text.

A stack's number is a digest of its text, so that the same stack has the same number in every profile: what is asked is
added up by number, and the texts are looked up for what comes out.
"""

import hashlib
import io
from collections.abc import Mapping
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from profiles.dialects import labelled
from profiles.facts import Labels
from profiles.upload import Upload

_NAME: Final = pa.dictionary(pa.int32(), pa.string())
SAMPLES_SCHEMA: Final = pa.schema([
    ("profile_id", _NAME), ("host", _NAME), ("started_at", pa.timestamp("ms", "UTC")),
    ("ended_at", pa.timestamp("ms", "UTC")), ("command_id", _NAME), ("request_ids", pa.list_(pa.string())),
    ("capture_id", _NAME), ("mode", _NAME), ("frequency_hz", pa.int32()), ("process", _NAME), ("container", _NAME),
    ("pod", _NAME), ("runtime", _NAME), ("stack_id", pa.uint64()), ("count", pa.int64()),
])  # fmt: skip
STACKS_SCHEMA: Final = pa.schema([("stack_id", pa.uint64()), ("stack", pa.string())])
MOST_TOTAL: Final = 2**62
"""Of one process's stack in one profile: sums of many stay whole numbers of the engines."""


def stack_id_of(stack: str) -> int:
    """A stack's number: 64 bits of a digest. Among ten million stacks two share one with a chance of 3 in a million."""
    return int.from_bytes(hashlib.blake2b(stack.encode(errors="surrogatepass"), digest_size=8).digest(), "little")


def samples_and_stacks(upload: Upload) -> tuple[bytes, bytes]:
    """Both files of a profile."""
    counts: dict[tuple[Labels, int], int] = {}
    stacks: dict[int, str] = {}
    for labels, stack, count in labelled(upload.collapsed.header, upload.collapsed.stacks):
        number = stack_id_of(stack)
        stacks[number] = stack
        counts[labels, number] = min(counts.get((labels, number), 0) + count, MOST_TOTAL)
    return _samples(upload, counts), _parquet(
        pa.table({"stack_id": list(stacks), "stack": list(stacks.values())}, schema=STACKS_SCHEMA)
    )


def _samples(upload: Upload, counts: Mapping[tuple[Labels, int], int]) -> bytes:
    facts, many = upload.facts, len(counts)
    of_all = {
        "profile_id": facts.profile_id, "host": facts.host.host, "started_at": facts.started_at,
        "ended_at": facts.ended_at, "command_id": facts.command_id, "request_ids": list(facts.request_ids),
        "capture_id": facts.capture_id, "mode": facts.mode, "frequency_hz": facts.frequency_hz,
    }  # fmt: skip
    of_each = {
        "process": [labels.process for labels, _ in counts], "container": [labels.container for labels, _ in counts],
        "pod": [labels.pod for labels, _ in counts], "runtime": [labels.runtime for labels, _ in counts],
        "stack_id": [number for _, number in counts], "count": list(counts.values()),
    }  # fmt: skip
    columns = {name: [value] * many for name, value in of_all.items()} | of_each
    return _parquet(pa.table(columns, schema=SAMPLES_SCHEMA))


def _parquet(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    return out.getvalue()
