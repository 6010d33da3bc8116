"""Profiles that others wrote in pprof's format, read into collapsed stacks. Pure; the schema is as in `formats.pprof`.

A profile comes in portions and is gone through twice, as its parts stand in any order: first for what its samples may
name, then for the samples, each of which is added to its stack and let go. Where stacks are only counted, a function is
a number and a stack the hash of several: their texts are nowhere.

What cannot be read is refused at once. A sample that means nothing here (no count, or less than none, as in the
difference of two profiles) is left out and counted. Bounds hold the work: whoever uploads is not to be trusted.
"""

from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from formats.frames import SEPARATOR
from formats.protobuf_reading import BadMessage, Reading, signed

MOST_SAMPLES: Final = 1_000_000
MOST_STRINGS: Final = 1_000_000
MOST_ENTRIES: Final = 500_000
"""Locations and functions, of each: as many as stacks of a profile. All of them are in memory at once."""
MOST_TYPES: Final = 64
MOST_PARTS: Final = 20_000_000
"""Fields of entries and numbers in lists, of all together: a zip of some kilobytes has a hundred million, which would
keep a process busy for minutes."""
MOST_FRAMES: Final = 100_000_000
"""Of all samples: a few bytes may name a location again and again into which thousands of functions were inlined."""
MOST_TEXT: Final = 256 * 1024 * 1024
"""Characters of all stacks: a few bytes may name a long function again and again."""
LONGEST_FRAME: Final = 1_000
LONGEST_STRING: Final = 4 * LONGEST_FRAME
"""Bytes of a string that are looked at: a few bytes may name a long one again and again."""
DEEPEST: Final = 2_048
UNKNOWN: Final = "[unknown]"
CUT: Final = "[deeper frames were cut]"
PREFERRED: Final = ("samples", "alloc_space", "space", "cpu", "wall")
"""Kinds of values by which a profile is taken where the uploader names none; else its last, as by pprof."""
_BITS_OF_LENGTH: Final = LONGEST_FRAME.bit_length()
_LENGTH: Final = (1 << _BITS_OF_LENGTH) - 1
_WHICH: Final = (1 << 64 - _BITS_OF_LENGTH) - 1
_FRAME_BYTES: Final = 8


class BadPprof(ValueError):
    """This is no profile of pprof's, or is too large to be read."""


@dataclass
class Pprof:
    """What a profile says.

    Attributes:
        stacks: stack, the root first -> count of `value_type`; empty where they were only counted.
        counts: those counts alone, however they were read.
        value_type: which of its values was read.
        unit: of it.
        started_ns: when it began, in ns since the epoch; 0: not said.
        duration_ns: likewise.
        period: one sample each so many `period_unit`; 0: not said.
        period_unit: `nanoseconds` for most.
        bad_samples: how many were left out.
        cut_stacks: how many samples were deeper than `DEEPEST`, and have lost their deep end.
    """

    stacks: Mapping[str, int] = field(default_factory=dict)
    counts: Collection[int] = ()
    value_type: str = ""
    unit: str = ""
    started_ns: int = 0
    duration_ns: int = 0
    period: int = 0
    period_unit: str = ""
    bad_samples: int = 0
    cut_stacks: int = 0


def read(content: Iterable[bytes], *, value_type: str = "", most_stacks: int, keeps: bool = True) -> Pprof:
    """Read an uncompressed profile.

    Args:
        content: the message `Profile`, in portions that can be iterated twice.
        value_type: which of its values to read, as `cpu` or `alloc_space`; empty: see `PREFERRED`.
        most_stacks: more distinct ones are refused.
        keeps: whether the stacks are wanted, and not only how often each of them was seen.

    Raises:
        BadPprof: it is none, has no such values, or is too large.
    """
    reading = Reading(MOST_PARTS)
    try:
        raw = _taken_apart(reading, content)
        kinds = [raw.text(kind) for kind, _ in raw.types]
        column = _column(kinds, value_type)
        found = Pprof(
            value_type=kinds[column], unit=raw.text(raw.types[column][1]), started_ns=signed(raw.numbers.get(9, 0)),
            duration_ns=signed(raw.numbers.get(10, 0)), period=signed(raw.numbers.get(12, 0)),
            period_unit=raw.text(raw.period_type[1]),
        )  # fmt: skip
        stacks = _Stacks(reading, raw, most_stacks, keeps=keeps)
        del raw
        for locations, values in _samples(reading, content):
            count = signed(values[column]) if column < len(values) else 0
            if count <= 0 or not locations:
                found.bad_samples += 1
            else:
                stacks.add(locations, count)
    except BadMessage as error:
        raise BadPprof(str(error)) from None
    found.stacks, found.counts, found.cut_stacks = stacks.texts(), stacks.counts, stacks.cut
    return found


class _Packed:
    """Many pieces of bytes in one: each by itself would take thirty bytes more."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._ends = array("Q", [0])

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __iter__(self) -> Iterator[bytes]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, number: int) -> bytes:
        if not 0 <= number < len(self):
            raise IndexError
        return bytes(self._bytes[self._ends[number] : self._ends[number + 1]])

    def append(self, piece: bytes) -> None:
        self._bytes += piece
        self._ends.append(len(self._bytes))


@dataclass
class _Raw:
    """What samples may name, taken apart and not yet understood, and what stands beside it."""

    types: list[tuple[int, int]] = field(default_factory=list)
    mapping: bytes | None = None
    """The first."""
    locations: _Packed = field(default_factory=_Packed)
    functions: _Packed = field(default_factory=_Packed)
    strings: _Packed = field(default_factory=_Packed)
    numbers: dict[int, int] = field(default_factory=dict)
    period_type: tuple[int, int] = (0, 0)

    def text(self, index: int) -> str:
        try:
            return self.strings[index].decode(errors="replace")
        except IndexError:
            raise BadPprof(f"string {index} is not in its table") from None


class _Stacks:
    """Counts stacks. One is known by its frames, of which each is a number of 64 bits: which it is, and its length."""

    def __init__(self, reading: Reading, raw: _Raw, most: int, *, keeps: bool) -> None:
        self.cut = 0
        self._keeps = keeps
        self._most = most
        self._counts: dict[bytes | int, int] = {}
        """By its frames; by their hash where only counts are wanted, which differs in each process."""
        self._known: dict[str, int] = {}
        """Frames by text, where these are wanted."""
        program = _program(reading, raw)
        self._root = self._frame(program) if program else b""
        self._end = self._frame(CUT)
        self._of_location = self._frames(reading, raw)
        self._many = self._length = 0

    @property
    def counts(self) -> Collection[int]:
        """Of each stack."""
        return self._counts.values()

    def texts(self) -> dict[str, int]:
        """Stack -> count, where stacks are wanted."""
        if not self._keeps:
            return {}
        known = [*self._known]
        return {
            SEPARATOR.join([known[frame >> _BITS_OF_LENGTH] for frame in memoryview(stack).cast("Q")]): count
            for stack, count in self._counts.items()
            if isinstance(stack, bytes)
        }

    def add(self, locations: Sequence[int], count: int) -> None:
        """Count a sample.

        Raises:
            BadPprof: it names a location that there is not, or this is too much.
        """
        stack = self._stack(locations)
        key = stack if self._keeps else hash(stack)
        before = self._counts.get(key)
        if before is None:
            before = 0
            self._length += sum([frame & _LENGTH for frame in memoryview(stack).cast("Q")])
            if self._length > MOST_TEXT:
                raise BadPprof(f"its stacks have more than {MOST_TEXT:,} characters")
            if len(self._counts) == self._most:
                raise BadPprof(f"more than {self._most:,} distinct stacks")
        self._counts[key] = before + count

    def _stack(self, locations: Sequence[int]) -> bytes:
        """The frames of locations, the leaf first, as a stack, the root first. Too deep an end is not looked at."""
        try:
            # one more than may be: then it is seen that there are more
            frames = [self._of_location[number] for number in locations[: -DEEPEST - 2 : -1]]
        except KeyError as missing:
            raise BadPprof(f"a sample names location {missing.args[0]}, which there is not") from None
        stack = self._root + b"".join(frames)
        self._many += len(stack) // _FRAME_BYTES
        if self._many > MOST_FRAMES:
            raise BadPprof(f"its samples have more than {MOST_FRAMES:,} frames")
        if len(stack) > DEEPEST * _FRAME_BYTES:
            stack = stack[: DEEPEST * _FRAME_BYTES] + self._end
            self.cut += 1
        return stack

    def _frames(self, reading: Reading, raw: _Raw) -> dict[int, bytes]:
        """Location's id -> its frames, the caller first."""
        known = {number: self._frame(text) for number, text in _functions(reading, raw)}
        unknown = self._frame(UNKNOWN)
        found: dict[int, bytes] = {}
        for number, address, functions in _locations(reading, raw):
            if len(functions) == 1:
                found[number] = known.get(functions[0], unknown)
            elif functions:
                found[number] = b"".join([known.get(each, unknown) for each in functions[: -DEEPEST - 2 : -1]])
            else:
                found[number] = self._frame(f"[0x{address:x}]")
        return found

    def _frame(self, text: str) -> bytes:
        which = self._known.setdefault(text, len(self._known)) if self._keeps else hash(text) & _WHICH
        return array("Q", [which << _BITS_OF_LENGTH | len(text)]).tobytes()


def _column(kinds: Sequence[str], wanted: str) -> int:
    if not kinds:
        raise BadPprof("it says no type of its values")
    if wanted and wanted not in kinds:
        raise BadPprof(f"it has no values of this type, only {', '.join(kinds)[:200]}")
    return next((kinds.index(kind) for kind in (wanted, *PREFERRED) if kind in kinds), len(kinds) - 1)


def _taken_apart(reading: Reading, content: Iterable[bytes]) -> _Raw:
    raw = _Raw()
    tables = {
        4: (raw.locations, MOST_ENTRIES), 5: (raw.functions, MOST_ENTRIES), 6: (raw.strings, MOST_STRINGS),
    }  # fmt: skip
    for number, value in reading.streamed(content, {1, 3, 4, 5, 6, 11}):
        if isinstance(value, int):
            raw.numbers[number] = value
        elif number in tables:
            table, most = tables[number]
            table.append(value[:LONGEST_STRING] if table is raw.strings else value)
            if len(table) > most:
                raise BadPprof(f"more than {most:,} {'strings' if table is raw.strings else 'locations or functions'}")
        elif number == 1 and len(raw.types) < MOST_TYPES:
            raw.types.append(reading.pair(value))
        elif number == 3 and raw.mapping is None:  # noqa: PLR2004 - the schema's number of mapping
            raw.mapping = value
        elif number == 11:  # noqa: PLR2004 - and of period_type
            raw.period_type = reading.pair(value)
    return raw


def _program(reading: Reading, raw: _Raw) -> str:
    """The frame of the program, from the first mapping: its file's name, as pprof shows it. Empty: it is not told."""
    index = reading.numbers_of(raw.mapping or b"").get(5, 0)
    name = raw.text(index).rpartition("/")[2] if index else ""
    return _as_frame(name) if name else ""


def _functions(reading: Reading, raw: _Raw) -> Iterator[tuple[int, str]]:
    """Each function's id, and its frame."""
    length = 0
    for message in raw.functions:
        numbers = reading.numbers_of(message)
        name = raw.text(numbers.get(2, 0)) or raw.text(numbers.get(3, 0)) or UNKNOWN
        file, line = raw.text(numbers.get(4, 0)), numbers.get(5, 0)
        where = f" ({file}:{line})" if file and line else f" ({file})" if file else ""
        frame = _as_frame(name + where)
        length += len(frame)
        if length > MOST_TEXT:
            raise BadPprof(f"its functions have more than {MOST_TEXT:,} characters")
        yield numbers.get(1, 0), frame


def _locations(reading: Reading, raw: _Raw) -> Iterator[tuple[int, int, list[int]]]:
    """Each location's id, its address, and its functions: several where some were inlined, the leaf first."""
    for message in raw.locations:
        number, address, functions = 0, 0, []
        for what, value in reading.fields(message):
            if what == 1 and isinstance(value, int):
                number = value
            elif what == 3 and isinstance(value, int):  # noqa: PLR2004 - the schema's number of address
                address = value
            elif what == 4 and isinstance(value, bytes):  # noqa: PLR2004 - and of line
                functions.append(reading.pair(value)[0])
        yield number, address, functions


def _as_frame(text: str) -> str:
    """A text as one frame of a collapsed stack: what parts frames and lines has no place in it."""
    return " ".join(text[:LONGEST_FRAME].replace(SEPARATOR, ":").split()) or UNKNOWN


def _samples(reading: Reading, content: Iterable[bytes]) -> Iterator[tuple[list[int], list[int]]]:
    """The locations of each sample, the leaf first, and its values."""
    seen = 0
    for number, value in reading.streamed(content, {2}):
        if number == 2 and isinstance(value, bytes):  # noqa: PLR2004 - the schema's number of sample
            seen += 1
            if seen > MOST_SAMPLES:
                raise BadPprof(f"more than {MOST_SAMPLES:,} samples")
            yield _sample(reading, value)


def _sample(reading: Reading, message: bytes) -> tuple[list[int], list[int]]:
    locations: list[int] = []
    values: list[int] = []
    for number, value in reading.fields(message):
        target = locations if number == 1 else values if number == 2 else None  # noqa: PLR2004 - the schema's numbers
        if target is None:
            continue
        if isinstance(value, int):
            target.append(value)
        else:
            target.extend(reading.varints(value))
    return locations, values
