"""Functions instead of stacks: which are the heaviest, who calls one, and what it calls."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from profiles.flamegraph import Tree, tree_of

Order = Literal["self", "total"]
SEPARATOR: Final = ";"


@dataclass(frozen=True)
class Function:
    """A function over all stacks.

    Attributes:
        name: its frame's text.
        self_samples: in which it ran itself: it was the innermost frame.
        total_samples: in which it was anywhere in the stack; once each, however often it called itself.
    """

    name: str
    self_samples: int
    total_samples: int


@dataclass(frozen=True)
class Functions:
    """The heaviest functions, and what is not among them.

    Attributes:
        items: the heaviest first.
        samples: all of them.
        functions: how many there are.
        cut_functions: how many were left out.
        cut_self_samples: the samples in which those ran themselves.
    """

    items: list[Function]
    samples: int
    functions: int
    cut_functions: int
    cut_self_samples: int


@dataclass(frozen=True)
class Sandwich:
    """One function, its callers and what it calls, over all stacks that have it.

    Attributes:
        function: as in the list; with 0 samples, no stack has it.
        callers: a tree whose root is the function, and whose children are who called it: the stacks upside down.
        callees: a tree whose root is the function, and whose children are what it called.
    """

    function: Function
    callers: Tree
    callees: Tree


def heaviest(stacks: Mapping[str, int], *, order: Order, most: int) -> Functions:
    """The heaviest functions by their own samples or by all that they are in; equals by name."""
    own: dict[str, int] = {}
    whole: dict[str, int] = {}
    for stack, count in stacks.items():
        frames = stack.split(SEPARATOR)
        own[frames[-1]] = own.get(frames[-1], 0) + count
        for name in set(frames):
            whole[name] = whole.get(name, 0) + count
    found = [Function(name, own.get(name, 0), total) for name, total in whole.items()]
    found.sort(key=lambda one: one.name)
    if order == "self":
        found.sort(key=lambda one: (one.self_samples, one.total_samples), reverse=True)
    else:
        found.sort(key=lambda one: (one.total_samples, one.self_samples), reverse=True)
    items, cut = found[:most], found[most:]
    return Functions(
        items, sum(stacks.values()), len(found), len(cut), sum(each.self_samples for each in cut)
    )  # fmt: skip


def around(stacks: Mapping[str, int], name: str, *, most: int) -> Sandwich:
    """A function's callers and callees; where it calls itself, those of its outermost call, once for each stack.

    Args:
        stacks: stack -> samples.
        name: the function, as its frame says it.
        most: nodes of each tree; the lightest beyond are left out.
    """
    own = total = 0
    above: dict[str, int] = {}
    below: dict[str, int] = {}
    for stack, count in stacks.items():
        if name not in stack:
            continue
        frames = stack.split(SEPARATOR)
        if name not in frames:
            continue
        at = frames.index(name)
        total += count
        own += count * (frames[-1] == name)
        _add(above, frames[at::-1], count)
        _add(below, frames[at:], count)
    return Sandwich(Function(name, own, total), _tree(above, name, most), _tree(below, name, most))


def _add(stacks: dict[str, int], frames: list[str], count: int) -> None:
    stack = SEPARATOR.join(frames)
    stacks[stack] = stacks.get(stack, 0) + count


def _tree(stacks: Mapping[str, int], name: str, most: int) -> Tree:
    """Each of these stacks begins with the function, which becomes the root."""
    tree = tree_of(stacks, most=most + 1)
    (root,) = tree.root["children"] or [{"name": name, "value": 0, "children": []}]
    return Tree(root, tree.samples, tree.stacks, tree.cut_nodes, tree.cut_samples)
