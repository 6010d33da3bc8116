"""Two selections side by side: how a frame's share has changed, whatever the number of samples in each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from formats.frames import SEPARATOR
from formats.scaling import scale
from profiles.flamegraph import MOST_NODES, Node, draw, planted, stacks_of

DIGITS: Final = 6
"""Of a change that is told: a millionth of all samples."""


@dataclass(frozen=True)
class Comparison:
    """Two trees in one, and what is not in it.

    Attributes:
        root: `{"name", "value", "base", "change", "children"}`: samples here, samples in the base, by how much the
            share has grown (-1 to 1), and what is called, the heaviest first: by both shares together.
        samples: all of the selection.
        base_samples: all of the base.
        stacks: how many distinct ones, in one or both.
        cut_nodes: the lightest nodes that were left out, with all below them.
        cut_samples: the selection's samples in those; they still count in the frames above.
        cut_base_samples: the base's, likewise.
    """

    root: dict[str, Any]
    samples: int
    base_samples: int
    stacks: int
    cut_nodes: int = 0
    cut_samples: int = 0
    cut_base_samples: int = 0


class _Both(Node):
    """A node of both trees. Its weight is the sum of its shares, times both totals: whole numbers compare exactly."""

    __slots__ = ("base", "now")

    def __init__(self) -> None:
        super().__init__()
        self.now = self.base = 0

    def count(self, now: int, base: int, weight: int) -> None:
        """Count what a stack, or a node below, has."""
        self.now += now
        self.base += base
        self.value += weight


def compared(now: Mapping[str, int], base: Mapping[str, int], *, most: int = MOST_NODES) -> Comparison:
    """How a selection differs from its base; of more than `most` nodes the lightest are left out."""
    samples, base_samples = sum(now.values()), sum(base.values())
    root = _Both()
    ends, made = planted(root, {**now, **base})
    for stack, node in ends:
        ours, theirs = now.get(stack, 0), base.get(stack, 0)
        node.count(ours, theirs, ours * (base_samples or 1) + theirs * (samples or 1))
    for node, above in reversed(made):
        above.count(node.now, node.base, node.value)
    drawn, kept, cut = draw(root, len(made), most, lambda name, one: _told(name, one, root))
    cut_samples, cut_base = sum(node.now for node in cut), sum(node.base for node in cut)
    return Comparison(drawn, root.now, root.base, len(ends), len(made) - kept, cut_samples, cut_base)


def lightened_both(
    now: Mapping[str, int], base: Mapping[str, int], *, most: int
) -> tuple[Mapping[str, int], Mapping[str, int], str]:
    """Both, cut where the tree of both has more than so many nodes, and what is to be said of that, as `lightened`."""
    if sum(stack.count(SEPARATOR) + 1 for stack in {**now, **base}) <= most:
        return now, base, ""
    found = compared(now, base, most=most)
    if not found.cut_nodes:
        return now, base, ""
    counted = f"{found.cut_samples:,}, and {found.cut_base_samples:,} of the base"
    said = f"the {found.cut_nodes:,} lightest frames are left out; what was counted there ({counted}) counts"
    return stacks_of(found.root), stacks_of(found.root, "base"), f"{said} in the frames above"


def _told(name: str, node: _Both, root: _Both) -> dict[str, Any]:
    change = share(node.now, root.now) - share(node.base, root.base)
    return {"name": name, "value": node.now, "base": node.base, "change": round(change, DIGITS), "children": []}


def share(part: int, whole: int) -> float:
    """A part of a whole, 0 to 1; of nothing it is 0."""
    return part / whole if whole else 0.0


def columns(now: Mapping[str, int], base: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """Stack -> (base, now), sorted by stack.

    The base is scaled to as many samples as the selection has, by the largest remainder. Where one of them has none
    there is nothing to scale to, and both are as they were counted.
    """
    samples = sum(now.values())
    scaled = scale(base, samples) if samples else base
    return {stack: (scaled.get(stack, 0), now.get(stack, 0)) for stack in sorted({*now, *base})}
