"""Stacks as a tree that a flame graph is drawn from, cut by weight where it would be too large to draw."""

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self, TypeVar

from formats.frames import SEPARATOR, shared

MOST_NODES: Final = 20_000
ROOT: Final = "all"


@dataclass(frozen=True)
class Tree:
    """A tree and what is not in it.

    Attributes:
        root: `{"name", "value", "children"}`, children the heaviest first; a node's value holds its children's.
        samples: all of them.
        stacks: how many distinct ones.
        cut_nodes: the lightest nodes that were left out, with all below them.
        cut_samples: the samples in those; they still count in the frames above.
    """

    root: dict[str, Any]
    samples: int
    stacks: int
    cut_nodes: int = 0
    cut_samples: int = 0


class Node:
    """A frame below those above it, and its weight."""

    __slots__ = ("children", "value")

    def __init__(self) -> None:
        self.value = 0
        self.children: dict[str, Self] = {}


N = TypeVar("N", bound=Node)


def tree_of(stacks: Mapping[str, int], *, most: int = MOST_NODES) -> Tree:
    """The tree of some stacks; of more than `most` nodes the lightest are left out."""
    root = Node()
    ends, made = planted(root, stacks)
    for stack, node in ends:
        node.value += stacks[stack]
    for node, above in reversed(made):
        above.value += node.value
    drawn, kept, cut = draw(
        root, len(made), most, lambda name, one: {"name": name, "value": one.value, "children": []}
    )  # fmt: skip
    return Tree(drawn, root.value, len(stacks), len(made) - kept, sum(node.value for node in cut))


def lightened(stacks: Mapping[str, int], *, most: int) -> tuple[Mapping[str, int], str]:
    """Stacks whose tree has at most so many nodes, and what is to be said of those that were left out, if any were.

    What was counted in the lightest nodes counts in the frames above them: the sum stays.
    """
    if sum(stack.count(SEPARATOR) + 1 for stack in stacks) <= most:
        return stacks, ""
    tree = tree_of(stacks, most=most)
    if not tree.cut_nodes:
        return stacks, ""
    said = f"the {tree.cut_nodes:,} lightest frames are left out; what was counted there ({tree.cut_samples:,}) counts"
    return stacks_of(tree.root), f"{said} in the frames above"


def stacks_of(root: dict[str, Any], of: str = "value") -> dict[str, int]:
    """The stacks of a tree, by the counts of this name; what of the root is no frame's is left as the root's."""
    found: dict[str, int] = {}
    waiting: list[tuple[dict[str, Any], tuple[str, ...]]] = [(root, ())]
    while waiting:
        node, above = waiting.pop()
        path = above if node is root else (*above, node["name"])
        itself = node[of] - sum(child[of] for child in node["children"])
        if itself:
            found[SEPARATOR.join(path or (ROOT,))] = itself
        waiting += [(child, path) for child in node["children"]]
    return found


def planted(root: N, stacks: Iterable[str]) -> tuple[list[tuple[str, N]], list[tuple[N, N]]]:
    """The nodes of some stacks, made below a root. What a stack shares with the one before it is not walked again.

    Gives:
        Each stack and its innermost node; and each node with the one above it, those above first: who adds up from the
        end has a node's whole weight before it comes to the node.
    """
    kind = type(root)
    ends: list[tuple[str, N]] = []
    made: list[tuple[N, N]] = []
    path, before = [root], list[str]()
    for stack in sorted(stacks):
        frames = stack.split(SEPARATOR)
        known = shared(frames, before)
        del path[known + 1 :]
        node = path[-1]
        for name in frames[known:]:
            child = node.children.get(name)
            if child is None:
                child = node.children[name] = kind()
                made.append((child, node))
            path.append(child)
            node = child
        ends.append((stack, node))
        before = frames
    return ends, made


def _threshold(root: Node, nodes: int, most: int) -> tuple[int, int]:
    """The weight above which every node is kept, and how many of just this weight there is room for."""
    if nodes <= most:
        return 0, 0
    heaviest = heapq.nlargest(most, (node.value for node in _all(root)))
    return heaviest[-1], sum(value == heaviest[-1] for value in heaviest)


def _all(root: Node) -> Iterator[Node]:
    waiting = list(root.children.values())
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(node.children.values())


def draw(
    root: N, nodes: int, most: int, tell: Callable[[str, N], dict[str, Any]]
) -> tuple[dict[str, Any], int, list[N]]:
    """A tree as JSON, without the lightest of more than `most` nodes: it, how many are kept, and where it was cut.

    Without recursion: a stack may be deeper than Python's.

    Args:
        root: of the tree.
        nodes: how many it has, without the root.
        most: how many are kept.
        tell: what is said of a node by its name and itself, with empty `children`.
    """
    least, room = _threshold(root, nodes, most)
    drawn = tell(ROOT, root)
    kept = 0
    cut: list[N] = []
    waiting = deque([(root, drawn)])
    while waiting:
        node, target = waiting.popleft()
        for name, child in sorted(node.children.items(), key=lambda one: (-one[1].value, one[0])):
            if child.value <= least:
                if child.value < least or room == 0:
                    cut.append(child)
                    continue
                room -= 1
            kept += 1
            made = tell(name, child)
            target["children"].append(made)
            waiting.append((child, made))
    return drawn, kept, cut
