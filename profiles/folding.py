"""Folding light stacks of old hours: each keeps the frames that are heavy, and its samples all still count."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from profiles.compacting import Compactor
from profiles.packs import PackFacts
from profiles.stack_ids import stack_id_of
from profiles.tables import SAMPLES_SCHEMA, STACKS_SCHEMA, Tables

FOLDED: Final = "[lighter frames were folded]"
_OF_ROW: Final = ("profile_id", "process", "container", "pod", "runtime")
"""What a sample is told apart by, beside its stack."""


class _Node:
    __slots__ = ("children", "weight")

    def __init__(self) -> None:
        self.weight = 0
        self.children: dict[str, _Node] = {}


def folded(counts: Mapping[str, int], *, below: float) -> dict[str, str]:
    """Stack -> what it is folded to: cut before the first frame that has less than this share of all samples."""
    root = _Node()
    for stack, count in counts.items():
        node = root
        node.weight += count
        for name in stack.split(";"):
            node = node.children.setdefault(name, _Node())
            node.weight += count
    least = root.weight * below
    return {stack: _cut(root, stack, least) for stack in counts}


def _cut(node: _Node, stack: str, least: float) -> str:
    kept: list[str] = []
    for name in stack.split(";"):
        node = node.children[name]
        if node.weight < least:
            return ";".join([*kept, FOLDED])
        kept.append(name)
    return stack


def fold(compactor: Compactor, place: str, *, below: float) -> int:
    """Fold the packs of an hour that are not yet, by the samples of each. Gives how many.

    Raises:
        OSError: the store cannot be read or written.
    """

    def told(facts: PackFacts) -> PackFacts:
        return replace(facts, folded_at=below)

    return compactor.revise(
        place, lambda samples, stacks: fold_tables(samples, stacks, below=below), told,
        wanted=lambda facts: not facts.folded_at,
    )  # fmt: skip


def fold_tables(samples: pa.Table, stacks: pa.Table, *, below: float) -> Tables:
    """A pack's tables, folded mode by mode: a byte weighs another thing than a sample."""
    texts: dict[int, str] = dict(zip(stacks["stack_id"].to_pylist(), stacks["stack"].to_pylist(), strict=True))
    used: dict[int, str] = {}
    done = [SAMPLES_SCHEMA.empty_table()]
    for mode in pc.unique(samples["mode"].cast(pa.string())).to_pylist():
        rows = samples.filter(pc.equal(samples["mode"].cast(pa.string()), mode))
        sums = rows.group_by("stack_id").aggregate([("count", "sum")])
        counts: dict[str, int] = {}
        for number, count in zip(sums["stack_id"].to_pylist(), sums["count_sum"].to_pylist(), strict=True):
            if number in texts:
                counts[texts[number]] = counts.get(texts[number], 0) + count
        new = folded(counts, below=below)
        numbers = {number: stack_id_of(new[text]) for number, text in texts.items() if text in new}
        used |= {numbers[number]: new[text] for number, text in texts.items() if text in new}
        done.append(_renumbered(rows, numbers))
    kept = pa.table({"stack_id": [*used], "stack": [*used.values()]}, schema=STACKS_SCHEMA)
    return pa.concat_tables(done), kept


def _renumbered(rows: pa.Table, numbers: Mapping[int, int]) -> pa.Table:
    """Samples with other stacks, those that have become the same added up. A stack without text keeps its number."""
    at = pc.index_in(rows["stack_id"], pa.array([*numbers], pa.uint64()))
    new = pc.coalesce(pc.take(pa.array([*numbers.values()], pa.uint64()), at), rows["stack_id"])
    plain = {name: rows[name].cast(pa.string()) for name in _OF_ROW}
    keyed = pa.table({**plain, "stack_id": new, "count": rows["count"], "row": pa.array(range(rows.num_rows))})
    summed = keyed.group_by([*_OF_ROW, "stack_id"]).aggregate([("count", "sum"), ("row", "min")])
    first = rows.take(summed["row_min"])  # what else a row says is its profile's, and the same in each of them
    columns = {name: first[name] for name in SAMPLES_SCHEMA.names}
    return pa.table({**columns, "stack_id": summed["stack_id"], "count": summed["count_sum"]}, schema=SAMPLES_SCHEMA)
