"""Which part of a profile has a function on its stack. Pure."""

from collections.abc import Iterable, Mapping


def read_collapsed(text: str) -> dict[str, int]:
    """Collapsed stacks as written by the agent: `root;caller;callee 42` a line. Comment lines start with `#`.

    Raises:
        ValueError: a line has no count.
    """
    stacks: dict[str, int] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            stack, _, count = line.rpartition(" ")
            stacks[stack] = stacks.get(stack, 0) + int(count)
    return stacks


def shares(stacks: Mapping[str, int], functions: Iterable[str]) -> dict[str, float]:
    """The share of samples that have each function anywhere on their stack, largest first; between 0 and 1.

    A frame is `function (file.py:line)`, so a function is known by what stands before the last ` (`.
    """
    total = sum(stacks.values())
    seen = dict.fromkeys(functions, 0)
    for stack, count in stacks.items():
        for name in {frame.rpartition(" (")[0] or frame for frame in stack.split(";")} & seen.keys():
            seen[name] += count
    ranked = sorted(seen.items(), key=lambda item: -item[1])
    return {name: round(count / total, 4) if total else 0.0 for name, count in ranked}
