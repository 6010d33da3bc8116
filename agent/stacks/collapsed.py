"""Collapsed stacks: one line per distinct stack, its frames root first joined by `;`, a space, and its count."""

from collections.abc import Iterable, Mapping
from typing import Final

from formats.frames import SEPARATOR

_UNPRINTABLE: Final = dict.fromkeys((*range(32), 0x7F, 0x85, 0x2028, 0x2029), " ")


class BadLine(ValueError):
    """A line that is no collapsed stack. `line_number` counts from 1."""

    def __init__(self, line_number: int, line: str) -> None:
        super().__init__(f"line {line_number} is no collapsed stack (frames, a space, a count): {line[:120]!r}")
        self.line_number = line_number
        self.line = line


def frame(text: str) -> str:
    """A frame's text without what would break the format: separators and line ends."""
    return text.translate(_UNPRINTABLE).replace(SEPARATOR, ":").strip() or "[unknown]"


def parse(lines: Iterable[str]) -> dict[str, int]:
    """Read collapsed stacks; the same stack on several lines adds up. Blank lines and `#` comments are passed over.

    Raises:
        BadLine: a line has no count, or one that is no positive integer.
    """
    stacks: dict[str, int] = {}
    for number, raw in enumerate(lines, start=1):
        line = raw.rstrip("\r\n")
        if not line.strip() or line.startswith("#"):
            continue
        stack, space, count = line.rpartition(" ")
        if not space or not stack or not (count.isascii() and count.isdigit()) or int(count) == 0:
            raise BadLine(number, line)
        stacks[stack] = stacks.get(stack, 0) + int(count)
    return stacks


def render(stacks: Mapping[str, int]) -> str:
    """Write collapsed stacks, sorted, a line each."""
    return "".join(f"{stack} {count}\n" for stack, count in sorted(stacks.items()))


def render_apart(containers: Mapping[str, Mapping[str, int]]) -> str:
    """Write the stacks of each container, its name, which may be empty, in a column of its own before each stack."""
    return "".join(
        f"{frame(name) if name else ''}{SEPARATOR}{line}\n"
        for name, stacks in sorted(containers.items())
        for line in render(stacks).splitlines()
    )


def merge(profiles: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The sum of several profiles."""
    merged: dict[str, int] = {}
    for profile in profiles:
        for stack, count in profile.items():
            merged[stack] = merged.get(stack, 0) + count
    return merged


def under(root: str, stacks: Mapping[str, int]) -> dict[str, int]:
    """The same stacks with one more frame at the root."""
    head = frame(root)
    return {f"{head}{SEPARATOR}{stack}" if stack else head: count for stack, count in stacks.items()}
