"""Reading collapsed stacks as they come: the good lines are kept, what is wrong with the others is counted and said."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

DEEPEST: Final = 2_048
"""Frames of one stack: the deepest are cut to the ones nearest the root, and said."""
MOST_STACKS: Final = 500_000
LONGEST_HEADER: Final = 8 * 1024 * 1024
"""Characters: as values of Python JSON may take thirty times as much."""
MOST_COUNT: Final = 2**53
"""Of one line; what is beyond is no number of samples."""
MOST_LINES: Final = 2_000_000
"""Of an upload: very many bad lines are no profile either, and cost as much to look at."""
SURELY_SMALL: Final = len(str(MOST_COUNT))
"""Digits that are too many to be sure, at a glance, of a count that is in order: nearly all have fewer."""
PORTION: Final = 1_000_000
"""Characters that are taken apart at once."""
ODD: Final = frozenset({"", ";", "#"})
"""How a stack may begin that is looked at more closely."""
MOST_FAULTS: Final = 20
"""Faults that are told line by line; the others are counted."""
CUT: Final = "[deeper frames were cut]"


@dataclass(frozen=True)
class LineFault:
    """What is wrong with a line. `line` counts from 1."""

    line: int
    why: str


@dataclass
class Collapsed:
    """What an upload says.

    Attributes:
        header: the JSON object of the first line; empty where there is none.
        stacks: stack -> samples.
        faults: the first of what was wrong.
        bad_lines: how many lines were left out.
        cut_stacks: how many were deeper than `DEEPEST`.
    """

    header: Mapping[str, Any] = field(default_factory=dict)
    stacks: dict[str, int] = field(default_factory=dict)
    faults: list[LineFault] = field(default_factory=list)
    bad_lines: int = 0
    cut_stacks: int = 0


class BadHeader(ValueError):
    """The first line begins with `#` and no JSON object follows."""


class TooManyStacks(ValueError):
    """More distinct stacks, or lines, than one profile may have. `line` counts from 1."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"line {line}: {why}")
        self.line = line


def read(text: str) -> Collapsed:
    """Read collapsed stacks, whose first line may be `# {json}`. Blank lines and other comments are passed over.

    Raises:
        BadHeader: the first line cannot be read.
        TooManyStacks: this is no profile any more.
    """
    found = Collapsed()
    number = begin = 0
    if text.startswith("#"):
        end = text.find("\n")
        end = len(text) if end < 0 else end
        if end > LONGEST_HEADER:
            raise BadHeader(f"line 1 has more than {LONGEST_HEADER:,} characters")
        found.header = _header(text[:end].rstrip("\r"))
        number, begin = 1, end + 1
    for lines in _portions(text, begin):
        if number + len(lines) > MOST_LINES or not _are_plain(lines, found.stacks):
            _read_closely(lines, number, found)
        number += len(lines)
    return found


def _portions(text: str, begin: int) -> Iterator[list[str]]:
    """Some lines at a time: all of them at once would be a second copy of a large text."""
    while begin < len(text):
        end = text.find("\n", begin + PORTION)
        end = len(text) if end < 0 else end
        lines = text[begin:end].split("\n")
        yield lines if lines[-1] or len(lines) == 1 else lines[:-1]
        begin = end + 1


def _are_plain(lines: Sequence[str], stacks: dict[str, int]) -> bool:
    """Whether lines are all just as they should be, as nearly all are; then they are read, much faster than one by one.

    If not, nothing has been added to `stacks`.
    """
    texts, _, counts = zip(*[line.rpartition(" ") for line in lines], strict=True)
    digits = "".join(counts)
    if not (all(counts) and digits.isdigit() and digits.isascii()) or max(map(len, counts)) >= SURELY_SMALL:
        return False
    values = [*map(int, counts)]
    if 0 in values or not ODD.isdisjoint({text[:1] for text in texts}):
        return False
    if any(len(text) > DEEPEST and text.count(";") >= DEEPEST for text in texts):
        return False
    found = dict(zip(texts, values, strict=True))
    if len(stacks) + len(found) > MOST_STACKS:
        return False
    if len(found) == len(values) and stacks.keys().isdisjoint(found):
        stacks.update(found)
        return True
    for text, value in zip(texts, values, strict=True):
        stacks[text] = stacks.get(text, 0) + value
    return True


def _read_closely(lines: Sequence[str], before: int, found: Collapsed) -> None:
    """Read lines one by one: the good ones are kept, and what is wrong with the others is noted.

    Raises:
        TooManyStacks: this is no profile any more.
    """
    stacks = found.stacks
    for number, ended in enumerate(lines, before + 1):
        line = ended.rstrip("\r")
        if not line.strip():
            continue
        if number > MOST_LINES:
            raise TooManyStacks(number, f"more than {MOST_LINES:,} lines")
        if line.startswith("#"):
            continue
        stack, space, count = line.rpartition(" ")
        value = int(count) if len(count) < SURELY_SMALL and count.isascii() and count.isdigit() else 0
        why = "" if value and stack and stack[0] != ";" else _fault(stack, space, count)
        if why:
            found.bad_lines += 1
            if len(found.faults) < MOST_FAULTS:
                found.faults.append(LineFault(number, why))
            continue
        if len(stack) > DEEPEST and stack.count(";") >= DEEPEST:
            stack = ";".join((*stack.split(";", DEEPEST)[:DEEPEST], CUT))
            found.cut_stacks += 1
        stacks[stack] = stacks.get(stack, 0) + (value or int(count))
        if len(stacks) > MOST_STACKS:
            raise TooManyStacks(number, f"more than {MOST_STACKS:,} distinct stacks")


def _fault(stack: str, space: str, count: str) -> str:
    if not space or not stack.strip(";"):
        return "frames, a blank and a count are needed"
    if not (count.isascii() and count.isdigit()):
        return "the count must be a whole number greater than 0"
    if len(count) > len(str(MOST_COUNT)) or int(count) > MOST_COUNT:
        return f"the count may be {MOST_COUNT} at most"
    return "" if int(count) else "the count must be greater than 0"


def _header(line: str) -> Mapping[str, Any]:
    try:
        header = json.loads(line.lstrip("#"))
    except (ValueError, RecursionError) as error:
        raise BadHeader(f"line 1 is no JSON object: {error}"[:200]) from None
    if not isinstance(header, dict):
        raise BadHeader("line 1 is no JSON object")
    return header
