"""Profiles as two tables: their samples, by the number of their stack, and their stacks, as text.

What is asked is added up by number, and the texts are looked up for what comes out.
"""

from array import array
from collections.abc import Iterable, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from profiles.facts import Labels
from profiles.gathering import Gathered, Gathering
from profiles.stack_ids import DIGEST_BYTES

_NAME: Final = pa.dictionary(pa.int32(), pa.string())
SAMPLES_SCHEMA: Final = pa.schema([
    ("profile_id", _NAME), ("host", _NAME), ("started_at", pa.timestamp("ms", "UTC")),
    ("ended_at", pa.timestamp("ms", "UTC")), ("command_id", _NAME), ("request_ids", pa.list_(pa.string())),
    ("capture_id", _NAME), ("mode", _NAME), ("frequency_hz", pa.int32()), ("process", _NAME), ("container", _NAME),
    ("pod", _NAME), ("runtime", _NAME), ("stack_id", pa.uint64()), ("count", pa.int64()),
])  # fmt: skip
STACKS_SCHEMA: Final = pa.schema([("stack_id", pa.uint64()), ("stack", pa.string())])
pa.array(
    [""]
)  # at its first list pyarrow looks for pandas, which takes long where it is: once, for a process that forks
_OF_LABELS: Final = frozenset(Labels._fields)
Tables = tuple[pa.Table, pa.Table]
"""Samples and stacks."""


class Drawer:
    """Makes tables of the profiles of a gathering: all that they share is made once."""

    def __init__(self, gathering: Gathering) -> None:
        self._stack_ids = _numbers(gathering.digests)
        self._texts = pa.array(gathering.texts, pa.string())
        labels: Sequence[Sequence[str]] = [*zip(*gathering.labels, strict=True)] or [()] * len(Labels._fields)
        self._labels = {name: _column(values, _NAME) for name, values in zip(Labels._fields, labels, strict=True)}

    def tables(self, profiles: Iterable[Gathered]) -> Tables:
        """Both tables of some of its profiles, sorted by when they began."""
        chosen = sorted(profiles, key=lambda one: (one.facts.started_at, one.facts.profile_id))
        of_profile, of_label, of_text, counts = array("i"), array("i"), array("i"), array("q")
        for number, one in enumerate(chosen):
            of_profile += array("i", [number]) * len(one.counts)
            of_label += one.labels
            of_text += one.stacks
            counts += one.counts
        rows, labels, texts = (_plain(each, pa.int32()) for each in (of_profile, of_label, of_text))
        facts = _facts(chosen)
        columns = [
            self._stack_ids.take(texts) if column.name == "stack_id"
            else _plain(counts, pa.int64()) if column.name == "count"
            else self._labels[column.name].take(labels) if column.name in _OF_LABELS
            else facts[column.name].take(rows)
            for column in SAMPLES_SCHEMA
        ]  # fmt: skip
        used = pc.unique(texts)
        stacks = [self._stack_ids.take(used), self._texts.take(used)]
        return pa.table(columns, schema=SAMPLES_SCHEMA), pa.table(stacks, schema=STACKS_SCHEMA)


def tables_of(gathering: Gathering) -> Tables:
    """Both tables of all its profiles."""
    return Drawer(gathering).tables(gathering.profiles.values())


def _facts(profiles: Sequence[Gathered]) -> dict[str, pa.Array]:
    """What is the same in all samples of a profile, a row for each profile."""
    rows = [
        {
            "profile_id": facts.profile_id, "host": facts.host.host, "started_at": facts.started_at,
            "ended_at": facts.ended_at, "command_id": facts.command_id, "request_ids": list(facts.request_ids),
            "capture_id": facts.capture_id, "mode": facts.mode, "frequency_hz": facts.frequency_hz,
        }
        for facts in (one.facts for one in profiles)
    ]  # fmt: skip
    kinds = {column.name: column.type for column in SAMPLES_SCHEMA}
    names = kinds.keys() - _OF_LABELS - {"stack_id", "count"}
    return {name: _column([row[name] for row in rows], kinds[name]) for name in names}


def _numbers(digests: bytes) -> pa.Array:
    """Digests as the numbers that `stack_id_of` gives."""
    return pa.Array.from_buffers(pa.uint64(), len(digests) // DIGEST_BYTES, [None, pa.py_buffer(digests)])


def _plain(values: "array[int]", kind: pa.DataType) -> pa.Array:
    """Numbers as they lie in memory, without a copy."""
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)])


def _column(values: Iterable[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(kind):
        return pa.array(values, kind.value_type).dictionary_encode()
    return pa.array(values, kind)
