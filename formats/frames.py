"""A frame's text taken apart, for formats that have a place for each part."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

SEPARATOR: Final = ";"
"""Between the frames of a collapsed stack."""
_FRAME: Final = re.compile(r"(?P<function>.+) \((?P<file>[^()]*?)(?::(?P<line>\d+))?\)")


@dataclass(frozen=True)
class Frame:
    """A function; the file or library that it is in, empty where unknown; the line that it begins at, 0 likewise."""

    function: str
    file: str = ""
    line: int = 0


def split(text: str) -> Frame:
    """`dumps (json/a.py:1)` in its parts; what has no such form is a function, `do_syscall_64_[k]` too."""
    found = _FRAME.fullmatch(text)
    return Frame(found["function"], found["file"], int(found["line"] or 0)) if found else Frame(text)


def shared(frames: Sequence[str], before: Sequence[str]) -> int:
    """How many frames two stacks share, from the root on. Of sorted stacks each shares the most with the one before."""
    many = 0
    for ours, theirs in zip(frames, before, strict=False):
        if ours != theirs:
            break
        many += 1
    return many
