"""A profile as two Parquet files: its samples, by the number of their stack, and its stacks, as text.

A stack's number is a digest of its text, so that the same stack has the same number in every profile: what is asked is
added up by number, and the texts are looked up for what comes out.
"""

import hashlib
import io
from collections.abc import Iterable, Mapping
from typing import Any, Final

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
DIGEST_BYTES: Final = 8
_ALL_DIFFERENT: Final = frozenset({"stack_id", "count", "stack"})
MOST_TOTAL: Final = 2**62
"""Of one process's stack in one profile: sums of many stay whole numbers of the engines."""


def stack_id_of(stack: str) -> int:
    """A stack's number: 64 bits of a digest. Among ten million stacks two share one with a chance of 3 in a million."""
    return int.from_bytes(_digest_of(stack), "little")


def _digest_of(stack: str) -> bytes:
    return hashlib.blake2b(stack.encode(errors="surrogatepass"), digest_size=DIGEST_BYTES).digest()


def samples_and_stacks(upload: Upload) -> tuple[bytes, bytes]:
    """Both files of a profile."""
    counts: dict[tuple[Labels, bytes], int] = {}
    stacks: dict[bytes, str] = {}
    for labels, stack, count in labelled(upload.collapsed.header, upload.collapsed.stacks):
        digest = _digest_of(stack)
        stacks[digest] = stack
        key = labels, digest
        counts[key] = counts.get(key, 0) + count
    texts = [_numbers(stacks), pa.array(stacks.values(), pa.string())]
    return _parquet(_samples(upload, counts)), _parquet(pa.table(texts, schema=STACKS_SCHEMA))


def _samples(upload: Upload, counts: Mapping[tuple[Labels, bytes], int]) -> pa.Table:
    facts, many = upload.facts, len(counts)
    of_all = {
        "profile_id": facts.profile_id, "host": facts.host.host, "started_at": facts.started_at,
        "ended_at": facts.ended_at, "command_id": facts.command_id, "request_ids": list(facts.request_ids),
        "capture_id": facts.capture_id, "mode": facts.mode, "frequency_hz": facts.frequency_hz,
    }  # fmt: skip
    of_each: dict[str, Iterable[Any]] = {
        **dict(zip(Labels._fields, zip(*(labels for labels, _ in counts), strict=True), strict=True)),
        "count": [min(count, MOST_TOTAL) for count in counts.values()],
    }  # fmt: skip
    columns = [
        _numbers(digest for _, digest in counts) if column.name == "stack_id"
        else _repeated(of_all[column.name], column.type, many) if column.name in of_all
        else _column(of_each[column.name], column.type)
        for column in SAMPLES_SCHEMA
    ]  # fmt: skip
    return pa.table(columns, schema=SAMPLES_SCHEMA)


def _numbers(digests: Iterable[bytes]) -> pa.Array:
    """Digests as the numbers that `stack_id_of` gives."""
    joined = b"".join(digests)
    return pa.Array.from_buffers(pa.uint64(), len(joined) // DIGEST_BYTES, [None, pa.py_buffer(joined)])


def _repeated(value: Any, kind: pa.DataType, many: int) -> pa.Array:
    """The same value so many times, without making each."""
    if pa.types.is_dictionary(kind):
        places = pa.repeat(pa.scalar(0, kind.index_type), many)
        return pa.DictionaryArray.from_arrays(places, pa.array([value], kind.value_type))
    return pa.repeat(pa.scalar(value, kind), many)


def _column(values: Iterable[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(kind):
        return pa.array(values, kind.value_type).dictionary_encode()
    return pa.array(values, kind)


def _parquet(table: pa.Table) -> bytes:
    """Names stand in a dictionary, and what is another value in each row does not: looking for one would take time."""
    out = io.BytesIO()
    names = [column.name for column in table.schema if column.name not in _ALL_DIFFERENT]
    pq.write_table(table, out, compression="zstd", use_dictionary=names)
    return out.getvalue()
