"""A profile in pprof's format, uncompressed: the messages of `proto/profile.proto` in google/pprof's repository.

The numbers of the fields are the schema's. Why there is no library between: docs/decisions/0009-pprof-by-hand.md.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from formats.frames import SEPARATOR, split

_VARINT: Final = 0
_BYTES: Final = 2
_SEVEN_BITS: Final = 0x7F
_MORE: Final = 0x80
_NANOSECONDS: Final = 1_000_000_000
_LARGEST: Final = (1 << 63) - 1


@dataclass(frozen=True)
class Value:
    """One number of a sample: what it counts and in what, and how many of it one count of ours is."""

    type: str
    unit: str
    factor: int = 1


def cpu(frequency_hz: int) -> tuple[Value, ...]:
    """Samples, and the CPU time that each stands for."""
    return Value("samples", "count"), Value("cpu", "nanoseconds", _NANOSECONDS // frequency_hz)


ALLOCATED: Final = (Value("alloc_space", "bytes"),)


def encode(
    stacks: Mapping[str, int],
    values: Sequence[Value],
    *,
    started_at: datetime,
    duration: timedelta,
    comments: Iterable[str] = (),
) -> bytes:
    """The message `Profile`. The last of `values` is the period's type too, and one of our counts is a period."""
    strings = _Strings()
    frames = _Frames(strings)
    out = bytearray()
    for value in values:
        out += _message(1, _value_type(value, strings))
    factors = [value.factor for value in values]
    for stack, count in sorted(stacks.items()):
        locations = b"".join([frames[name] for name in reversed(stack.split(SEPARATOR))])
        numbers = b"".join(_varint(min(count * factor, _LARGEST)) for factor in factors)
        out += _message(2, _message(1, locations) + _message(2, numbers))
    out += frames.written
    noted = b"".join(_varint(strings.index(comment)) for comment in comments)
    tail = _message(11, _value_type(values[-1], strings)) + _number(12, values[-1].factor) + _message(13, noted)
    for text in strings.known:
        out += _message(6, text.encode(errors="backslashreplace"))
    return bytes(out + _number(9, _nanoseconds(started_at)) + _number(10, _span(duration)) + tail)


class _Strings:
    """The table of strings; the first is empty."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {"": 0}

    def index(self, text: str) -> int:
        return self.known.setdefault(text, len(self.known))


class _Frames(dict[str, bytes]):
    """Frame → the id of its location as it stands in a sample; a function and a location are written for each."""

    def __init__(self, strings: _Strings) -> None:
        super().__init__()
        self._strings = strings
        self.written = bytearray()

    def __missing__(self, name: str) -> bytes:
        """A frame that was not seen before."""
        number = len(self) + 1
        frame = split(name)
        called = self._strings.index(frame.function)
        function = _number(1, number) + _number(2, called) + _number(3, called)
        function += _number(4, self._strings.index(frame.file)) + _number(5, frame.line)
        self.written += _message(5, function)
        line = _number(1, number) + _number(2, frame.line)
        self.written += _message(4, _number(1, number) + _message(4, line))
        self[name] = _varint(number)
        return self[name]


def _value_type(value: Value, strings: _Strings) -> bytes:
    return _number(1, strings.index(value.type)) + _number(2, strings.index(value.unit))


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * _NANOSECONDS + moment.microsecond * 1_000


def _span(duration: timedelta) -> int:
    return duration // timedelta(microseconds=1) * 1_000


def _number(field: int, number: int) -> bytes:
    """A field that holds a number; 0 is what a missing one means."""
    return _varint(field << 3 | _VARINT) + _varint(number) if number else b""


def _message(field: int, body: bytes) -> bytes:
    """A field that holds bytes: a string, a message, or numbers that are packed."""
    return _varint(field << 3 | _BYTES) + _varint(len(body)) + body


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the highest bit says that more follow."""
    if number <= _SEVEN_BITS:
        return bytes((number,))
    encoded = bytearray()
    while number > _SEVEN_BITS:
        encoded.append(number & _SEVEN_BITS | _MORE)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
