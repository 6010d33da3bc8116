"""Profiles that others wrote in pprof's format, read into collapsed stacks. Pure; the schema is as in `formats.pprof`.

What cannot be read is refused at once. A sample that means nothing here (no count, or less than none, as in the
difference of two profiles) is left out and counted. Bounds hold the work: whoever uploads is not to be trusted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from formats.frames import SEPARATOR

MOST_SAMPLES: Final = 1_000_000
MOST_ENTRIES: Final = 1_000_000
"""Locations, functions and strings, of each."""
MOST_TYPES: Final = 64
MOST_PARTS: Final = 20_000_000
"""Fields, numbers in lists and frames of inlined functions, of all together: a zip of some kilobytes has a hundred
million, which would keep a process busy for minutes."""
MOST_TEXT: Final = 256 * 1024 * 1024
"""Characters of all stacks: a few bytes may name a long function again and again."""
LONGEST_FRAME: Final = 1_000
LONGEST_STRING: Final = 4 * LONGEST_FRAME
"""Bytes of a string that are looked at: a few bytes may name a long one again and again."""
DEEPEST: Final = 2_048
CUT: Final = "[deeper frames were cut]"
_VARINT: Final = 0
_FIXED64: Final = 1
_BYTES: Final = 2
_FIXED32: Final = 5
_LONGEST_VARINT: Final = 10
_SIGN: Final = 1 << 63
_MORE: Final = 0x80
"""The bit of a byte that says that more of the number follow."""
_GOING_ON: Final = bytes(range(_MORE, 0x100))
PREFERRED: Final = ("samples", "alloc_space", "space", "cpu", "wall")
"""Kinds of values by which a profile is taken where the uploader names none; else its last, as by pprof."""


class BadPprof(ValueError):
    """This is no profile of pprof's, or is too large to be read."""


@dataclass
class Pprof:
    """What a profile says.

    Attributes:
        stacks: stack, the root first -> count of `value_type`.
        value_type: which of its values was read.
        unit: of it.
        started_ns: when it began, in ns since the epoch; 0: not said.
        duration_ns: likewise.
        period: one sample each so many `period_unit`; 0: not said.
        period_unit: `nanoseconds` for most.
        bad_samples: how many were left out.
        cut_stacks: how many were deeper than `DEEPEST`, and have lost their deep end.
    """

    stacks: dict[str, int] = field(default_factory=dict)
    value_type: str = ""
    unit: str = ""
    started_ns: int = 0
    duration_ns: int = 0
    period: int = 0
    period_unit: str = ""
    bad_samples: int = 0
    cut_stacks: int = 0


@dataclass
class _Raw:
    """The message `Profile`, taken apart and not yet understood."""

    types: list[tuple[int, int]] = field(default_factory=list)
    samples: list[bytes] = field(default_factory=list)
    mappings: list[bytes] = field(default_factory=list)
    locations: list[bytes] = field(default_factory=list)
    functions: list[bytes] = field(default_factory=list)
    strings: list[bytes] = field(default_factory=list)
    numbers: dict[int, int] = field(default_factory=dict)
    period_type: tuple[int, int] = (0, 0)
    parts: int = 0
    """Of `MOST_PARTS`, how many were looked at."""

    def text(self, index: int) -> str:
        if not 0 <= index < len(self.strings):
            raise BadPprof(f"string {index} is not in its table")
        return self.strings[index][:LONGEST_STRING].decode(errors="replace")

    def look(self, many: int) -> None:
        """Count what is looked at.

        Raises:
            BadPprof: it is too much.
        """
        self.parts += many
        if self.parts > MOST_PARTS:
            raise BadPprof(f"more than {MOST_PARTS:,} fields and numbers")

    def fields(self, message: bytes) -> Iterator[tuple[int, int | bytes]]:
        """Each field's number, and what it holds. Numbers of one byte, as nearly all are, are read right here.

        Raises:
            BadPprof: this is no message, or too much.
        """
        at, end = 0, len(message)
        while at < end:
            self.parts += 1
            if self.parts > MOST_PARTS:
                self.look(0)
            key, at = (message[at], at + 1) if message[at] < _MORE else _varint(message, at)
            kind = key & 7
            if kind == _VARINT:
                number, at = (message[at], at + 1) if at < end and message[at] < _MORE else _varint(message, at)
                yield key >> 3, number
                continue
            if kind == _BYTES:
                length, at = (message[at], at + 1) if at < end and message[at] < _MORE else _varint(message, at)
            elif kind in {_FIXED64, _FIXED32}:
                length = 8 if kind == _FIXED64 else 4
            else:
                raise BadPprof(f"byte {at}: no such kind of field")
            if length > end - at:
                raise BadPprof(f"byte {at}: it is cut short")
            if kind == _BYTES:
                yield key >> 3, message[at : at + length]
            at += length

    def numbers_of(self, message: bytes) -> dict[int, int]:
        """The fields of a message that hold numbers."""
        return {number: value for number, value in self.fields(message) if isinstance(value, int)}

    def pair(self, message: bytes) -> tuple[int, int]:
        """The first two fields of a message, as numbers."""
        numbers = self.numbers_of(message)
        return numbers.get(1, 0), numbers.get(2, 0)

    def varints(self, packed: bytes) -> Sequence[int]:
        """Numbers that lie one after the other."""
        many = len(packed.translate(None, _GOING_ON))
        self.look(many)
        if many == len(packed):
            return packed  # a byte each
        found, at = [], 0
        while at < len(packed):
            number, at = _varint(packed, at)
            found.append(number)
        return found


def read(content: bytes, *, value_type: str = "", most_stacks: int) -> Pprof:
    """Read an uncompressed profile.

    Args:
        content: the message `Profile`.
        value_type: which of its values to read, as `cpu` or `alloc_space`; empty: see `PREFERRED`.
        most_stacks: more distinct ones are refused.

    Raises:
        BadPprof: it is none, has no such values, or is too large.
    """
    raw = _taken_apart(content)
    kinds = [raw.text(kind) for kind, _ in raw.types]
    column = _column(kinds, value_type)
    found = Pprof(
        value_type=kinds[column], unit=raw.text(raw.types[column][1]), started_ns=_signed(raw.numbers.get(9, 0)),
        duration_ns=_signed(raw.numbers.get(10, 0)), period=_signed(raw.numbers.get(12, 0)),
        period_unit=raw.text(raw.period_type[1]),
    )  # fmt: skip
    stack_at = _Stacks(raw)
    for sample in raw.samples:
        locations, values = _sample(raw, sample)
        count = _signed(values[column]) if column < len(values) else 0
        if count <= 0 or not locations:
            found.bad_samples += 1
            continue
        stack = stack_at[tuple(locations)]
        found.stacks[stack] = found.stacks.get(stack, 0) + count
        if len(found.stacks) > most_stacks:
            raise BadPprof(f"more than {most_stacks:,} distinct stacks")
    found.cut_stacks = stack_at.cut
    return found


class _Stacks(dict[tuple[int, ...], str]):
    """The locations of a sample, the leaf first -> its stack, the root first."""

    def __init__(self, raw: _Raw) -> None:
        super().__init__()
        self.cut = 0
        self._frames = _frames(raw)
        self._root = _program(raw)
        self._length = sum(map(len, self._frames.values()))

    def __missing__(self, locations: tuple[int, ...]) -> str:
        try:
            named = [self._frames[number] for number in locations[: -DEEPEST - 1 : -1]]
        except KeyError as missing:
            raise BadPprof(f"a sample names location {missing.args[0]}, which there is not") from None
        self._length += sum(map(len, named))
        if self._length > MOST_TEXT:
            raise BadPprof(f"its stacks have more than {MOST_TEXT:,} characters")
        stack = SEPARATOR.join([*self._root, *named])
        if len(locations) > DEEPEST or stack.count(SEPARATOR) >= DEEPEST:
            stack = SEPARATOR.join((*stack.split(SEPARATOR, DEEPEST)[:DEEPEST], CUT))
            self.cut += 1
        self[locations] = stack
        return stack


def _column(kinds: Sequence[str], wanted: str) -> int:
    if not kinds:
        raise BadPprof("it says no type of its values")
    if wanted and wanted not in kinds:
        raise BadPprof(f"it has no values of this type, only {', '.join(kinds)[:200]}")
    return next((kinds.index(kind) for kind in (wanted, *PREFERRED) if kind in kinds), len(kinds) - 1)


def _taken_apart(content: bytes) -> _Raw:
    raw = _Raw()
    tables = {
        2: (raw.samples, MOST_SAMPLES), 3: (raw.mappings, MOST_ENTRIES), 4: (raw.locations, MOST_ENTRIES),
        5: (raw.functions, MOST_ENTRIES), 6: (raw.strings, MOST_ENTRIES),
    }  # fmt: skip
    for number, value in raw.fields(content):
        if isinstance(value, int):
            raw.numbers[number] = value
        elif number in tables:
            table, most = tables[number]
            table.append(value)
            if len(table) > most:
                raise BadPprof(f"more than {most:,} entries of field {number}")
        elif number == 1 and len(raw.types) < MOST_TYPES:
            raw.types.append(raw.pair(value))
        elif number == 11:  # noqa: PLR2004 - the schema's number of period_type
            raw.period_type = raw.pair(value)
    return raw


def _program(raw: _Raw) -> list[str]:
    """The frame of the program, from the first mapping: its file's name, as pprof shows it."""
    index = raw.numbers_of(raw.mappings[0]).get(5, 0) if raw.mappings else 0
    name = raw.text(index).rpartition("/")[2] if index else ""
    return [_as_frame(name)] if name else []


def _frames(raw: _Raw) -> dict[int, str]:
    """Location's id -> its frames, joined: several where functions were inlined, the caller first."""
    functions: dict[int, str] = {}
    for message in raw.functions:
        numbers = raw.numbers_of(message)
        name = raw.text(numbers.get(2, 0)) or raw.text(numbers.get(3, 0)) or "[unknown]"
        file, line = raw.text(numbers.get(4, 0)), numbers.get(5, 0)
        where = f" ({file}:{line})" if file and line else f" ({file})" if file else ""
        functions[numbers.get(1, 0)] = _as_frame(name + where)
    locations: dict[int, str] = {}
    length = 0
    for message in raw.locations:
        number, address, names = 0, 0, []
        for what, value in raw.fields(message):
            if what == 1 and isinstance(value, int):
                number = value
            elif what == 3 and isinstance(value, int):  # noqa: PLR2004 - the schema's number of address
                address = value
            elif what == 4 and isinstance(value, bytes):  # noqa: PLR2004 - and of line
                names.append(functions.get(raw.pair(value)[0], "[unknown]"))
        locations[number] = frames = SEPARATOR.join(names[: -DEEPEST - 1 : -1]) if names else f"[0x{address:x}]"
        length += len(frames)
        if length > MOST_TEXT:
            raise BadPprof(f"its frames have more than {MOST_TEXT:,} characters")
    return locations


def _as_frame(text: str) -> str:
    """A text as one frame of a collapsed stack: what parts frames and lines has no place in it."""
    return " ".join(text[:LONGEST_FRAME].replace(SEPARATOR, ":").split()) or "[unknown]"


def _sample(raw: _Raw, message: bytes) -> tuple[list[int], list[int]]:
    locations: list[int] = []
    values: list[int] = []
    for number, value in raw.fields(message):
        target = {1: locations, 2: values}.get(number)
        if target is None:
            continue
        if isinstance(value, int):
            target.append(value)
        else:
            target.extend(raw.varints(value))
    return locations, values


def _varint(message: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    for place in range(at, min(len(message), at + _LONGEST_VARINT)):
        byte = message[place]
        number |= (byte & ~_MORE) << shift
        if byte < _MORE:
            return number & 0xFFFF_FFFF_FFFF_FFFF, place + 1
        shift += 7
    raise BadPprof(f"byte {at}: it is cut short, or no number")


def _signed(number: int) -> int:
    return number - (_SIGN << 1) if number >= _SIGN else number
