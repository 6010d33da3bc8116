"""Reading collapsed stacks as they come: the good lines are kept, what is wrong with the others is counted and said."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Final

DEEPEST: Final = 2_048
"""Frames of one stack: the deepest are cut to the ones nearest the root, and said."""
MOST_STACKS: Final = 500_000
LONGEST_HEADER: Final = 4 * 1024 * 1024
MOST_MARKS: Final = 500_000
"""Brackets, colons and commas of the header: as values of Python JSON may take thirty times as much as it has
characters. A host with ten thousand processes says 150,000."""
DEEPEST_HEADER: Final = 64
LONGEST_LINE: Final = 4 * 1024 * 1024
MOST_COUNT: Final = 2**53
"""Of one line; what is beyond is no number of samples."""
MOST_SAMPLES: Final = 2**53
"""Of a profile: up to here JSON's numbers are whole ones everywhere, and those of 1,023 profiles add up to less than
2**63, which is where the numbers of Parquet's columns and of pprof end."""
MOST_LINES: Final = 2_000_000
"""Of an upload: very many bad lines are no profile either, and cost as much to look at."""
SURELY_SMALL: Final = len(str(MOST_COUNT))
"""Digits that are too many to be sure, at a glance, of a count that is in order: nearly all have fewer."""
PORTION: Final = 1_000_000
"""Characters that are taken apart at once."""
ODD: Final = frozenset({"", ";", "#"})
"""How a stack may begin that is looked at more closely."""
_STRING: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"')
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
        stacks: stack -> samples; empty where they were only counted.
        distinct: how many stacks there are.
        samples: how many samples.
        faults: the first of what was wrong.
        bad_lines: how many lines were left out.
        cut_stacks: how many were deeper than `DEEPEST`.
    """

    header: Mapping[str, Any] = field(default_factory=dict)
    stacks: dict[str, int] = field(default_factory=dict)
    distinct: int = 0
    samples: int = 0
    faults: list[LineFault] = field(default_factory=list)
    bad_lines: int = 0
    cut_stacks: int = 0


class BadHeader(ValueError):
    """The first line begins with `#` and no JSON object follows."""


class TooManyStacks(ValueError):
    """More distinct stacks, lines or samples than one profile may have. `line` counts from 1."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"line {line}: {why}")
        self.line = line


def read(text: str) -> Collapsed:
    """Read collapsed stacks, whose first line may be `# {json}`. Blank lines and other comments are passed over.

    Raises:
        BadHeader: the first line cannot be read.
        TooManyStacks: this is no profile any more.
    """
    reader = Reader()
    reader.feed(text)
    return reader.end()


class Reader:
    """Reads collapsed stacks as they come, and holds no more of their text than it must."""

    def __init__(self, *, keeps: bool = True) -> None:
        """`keeps`: whether the stacks are wanted, and not only how many there are."""
        self._keeps = keeps
        self._found = Collapsed()
        self._seen: set[int] = set()
        """Hashes of stacks that are not kept; they differ in each process: nobody makes two alike."""
        self._waiting: list[str] = []
        self._length = self._number = 0
        self._passes_over = False
        """Whether this is the middle of a line that is too long."""

    def feed(self, text: str) -> None:
        """Take some more text: lines end where they end.

        Raises:
            BadHeader: the first line cannot be read.
            TooManyStacks: this is no profile any more.
        """
        if self._passes_over:
            _, ended, text = text.partition("\n")
            self._passes_over = not ended
        self._waiting.append(text)
        self._length += len(text)
        if self._length < PORTION:
            return
        whole, ended, rest = "".join(self._waiting).rpartition("\n")
        self._waiting, self._length = [rest], len(rest)
        if ended:
            self._take(whole)
        if len(rest) > LONGEST_LINE:
            if self._number == 0 and rest.startswith("#"):
                raise BadHeader(f"line 1 has more than {LONGEST_HEADER:,} characters")
            self._number += 1
            self._note(self._number, f"more than {LONGEST_LINE:,} characters")
            self._waiting, self._length, self._passes_over = [], 0, True

    def end(self) -> Collapsed:
        """What was read.

        Raises:
            BadHeader: the first line cannot be read.
            TooManyStacks: this is no profile, or its samples are too many.
        """
        rest = "".join(self._waiting)
        if rest:
            self._take(rest.removesuffix("\n"))
        self._found.distinct = self._many
        if self._keeps:
            self._found.samples = sum(self._found.stacks.values())
        if self._found.samples > MOST_SAMPLES:
            raise TooManyStacks(self._number, f"the counts up to here add up to more than {MOST_SAMPLES}")
        return self._found

    @property
    def _many(self) -> int:
        return len(self._found.stacks) if self._keeps else len(self._seen)

    def _take(self, whole: str) -> None:
        """Read whole lines, some at a time: all of them at once would be a second copy of a large text."""
        begin = 0
        if self._number == 0 and whole.startswith("#"):
            end = whole.find("\n")
            end = len(whole) if end < 0 else end
            self._found.header = _header(whole[:end].rstrip("\r"))
            self._number, begin = 1, end + 1
        while begin <= len(whole):
            end = whole.find("\n", begin + PORTION)
            end = len(whole) if end < 0 else end
            lines = whole[begin:end].split("\n")
            if self._number + len(lines) > MOST_LINES or not self._are_plain(lines):
                self._read_closely(lines)
            self._number += len(lines)
            begin = end + 1

    def _note(self, number: int, why: str) -> None:
        self._found.bad_lines += 1
        if len(self._found.faults) < MOST_FAULTS:
            self._found.faults.append(LineFault(number, why))

    def _are_plain(self, lines: Sequence[str]) -> bool:
        """Whether lines are all just as they should be, as nearly all are; then they are read, far faster than by one.

        If not, nothing has been taken of them.
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
        return self._are_kept(texts, values) if self._keeps else self._are_counted(texts, values)

    def _are_counted(self, texts: Sequence[str], values: Sequence[int]) -> bool:
        """Count stacks. False: there may be too many; then none was counted."""
        fresh = {*map(hash, texts)}
        if len(self._seen) + len(fresh) > MOST_STACKS:
            return False
        self._seen |= fresh
        self._found.samples += sum(values)
        return True

    def _are_kept(self, texts: Sequence[str], values: Sequence[int]) -> bool:
        """The same, and keep them."""
        stacks = self._found.stacks
        found = dict(zip(texts, values, strict=True))
        if len(stacks) + len(found) > MOST_STACKS:
            return False
        if len(found) == len(values) and stacks.keys().isdisjoint(found):
            stacks.update(found)
            return True
        for text, value in zip(texts, values, strict=True):
            stacks[text] = stacks.get(text, 0) + value
        return True

    def _read_closely(self, lines: Sequence[str]) -> None:
        """Read lines one by one: the good ones are kept, and what is wrong with the others is noted.

        Raises:
            TooManyStacks: this is no profile any more.
        """
        for number, ended in enumerate(lines, self._number + 1):
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
                self._note(number, why)
                continue
            if len(stack) > DEEPEST and stack.count(";") >= DEEPEST:
                stack = ";".join((*stack.split(";", DEEPEST)[:DEEPEST], CUT))
                self._found.cut_stacks += 1
            self._add(stack, value or int(count))
            if self._many > MOST_STACKS:
                raise TooManyStacks(number, f"more than {MOST_STACKS:,} distinct stacks")

    def _add(self, stack: str, value: int) -> None:
        if self._keeps:
            self._found.stacks[stack] = self._found.stacks.get(stack, 0) + value
        else:
            self._seen.add(hash(stack))
            self._found.samples += value


def _fault(stack: str, space: str, count: str) -> str:
    if not space or not stack.strip(";"):
        return "frames, a blank and a count are needed"
    if not (count.isascii() and count.isdigit()):
        return "the count must be a whole number greater than 0"
    if len(count) > len(str(MOST_COUNT)) or int(count) > MOST_COUNT:
        return f"the count may be {MOST_COUNT} at most"
    return "" if int(count) else "the count must be greater than 0"


def _header(line: str) -> Mapping[str, Any]:
    """The first line, once it is sure that it takes little to read it.

    Raises:
        BadHeader: it cannot be read, or says too much.
    """
    if len(line) > LONGEST_HEADER:
        raise BadHeader(f"line 1 has more than {LONGEST_HEADER:,} characters")
    bare = _STRING.sub("", line)
    if sum(map(bare.count, "[]{}:,")) > MOST_MARKS:
        raise BadHeader(f"line 1 has more than {MOST_MARKS:,} brackets, colons and commas")
    deepest = max(accumulate((mark in "[{") - (mark in "]}") for mark in bare), default=0)
    if deepest > DEEPEST_HEADER:
        raise BadHeader(f"line 1 is nested deeper than {DEEPEST_HEADER} levels")
    try:
        header = json.loads(line.lstrip("#"))
    except (ValueError, RecursionError) as error:
        raise BadHeader(f"line 1 is no JSON object: {error}"[:200]) from None
    if not isinstance(header, dict):
        raise BadHeader("line 1 is no JSON object")
    return header
