"""Two selections side by side: how a frame's share has changed, whatever the number of samples in each."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from formats.scaling import scale
from profiles.flamegraph import MOST_NODES, ROOT, Node, threshold

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
        """Count what a stack has, in one of its frames."""
        self.now += now
        self.base += base
        self.value += weight


def compared(now: Mapping[str, int], base: Mapping[str, int], *, most: int = MOST_NODES) -> Comparison:
    """How a selection differs from its base; of more than `most` nodes the lightest are left out."""
    samples, base_samples = sum(now.values()), sum(base.values())
    root, nodes = _Both(), 0
    stacks = dict.fromkeys((*now, *base))
    for stack in stacks:
        ours, theirs = now.get(stack, 0), base.get(stack, 0)
        weight = ours * (base_samples or 1) + theirs * (samples or 1)
        node = root
        node.count(ours, theirs, weight)
        for name in stack.split(";"):
            child = node.children.get(name)
            if child is None:
                child = node.children[name] = _Both()
                nodes += 1
            child.count(ours, theirs, weight)
            node = child
    return _drawn(root, nodes, len(stacks), most)


def _drawn(root: _Both, nodes: int, stacks: int, most: int) -> Comparison:
    """Without recursion: a stack may be deeper than Python's."""
    least, room = threshold(root, nodes, most)
    drawn = _told(ROOT, root, root)
    kept = cut = cut_base = 0
    waiting = deque([(root, drawn)])
    while waiting:
        node, target = waiting.popleft()
        for name, child in sorted(node.children.items(), key=lambda one: (-one[1].value, one[0])):
            if child.value <= least:
                if child.value < least or room == 0:
                    cut, cut_base = cut + child.now, cut_base + child.base
                    continue
                room -= 1
            kept += 1
            made = _told(name, child, root)
            target["children"].append(made)
            waiting.append((child, made))
    return Comparison(drawn, root.now, root.base, stacks, nodes - kept, cut, cut_base)


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
