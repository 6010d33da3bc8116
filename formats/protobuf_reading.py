"""Messages of protobuf, taken apart: one that is in memory, or one that comes in portions. Pure.

Whoever sends them is not to be trusted: how much is looked at is bounded, and so is what is held of it.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

LONGEST_MESSAGE: Final = 4 * 1024 * 1024
"""Bytes of a field that is wanted of a message that comes in portions: so much of it is in memory."""
MOST_STREAMED: Final = 4_000_000
"""Fields of such a message: a bomb has far more, each of which takes a microsecond."""
_VARINT: Final = 0
_FIXED64: Final = 1
_BYTES: Final = 2
_FIXED32: Final = 5
_FIRST: Final = 1 << 3
"""The least key of a field."""
_LONGEST_VARINT: Final = 10
_LONGEST_HEAD: Final = 2 * _LONGEST_VARINT
"""Of a field: its key, and its number or length."""
_MORE: Final = 0x80
"""The bit of a byte that says that more of the number follow."""
_GOING_ON: Final = bytes(range(_MORE, 0x100))
_NUMBERS: Final = re.compile(rb"[\x80-\xff]{0,9}+[\x00-\x7f]")
_MOST_KNOWN: Final = 50_000
_ALL_BITS: Final = (1 << 64) - 1
_SIGN: Final = 1 << 63


class BadMessage(ValueError):
    """This is no message, or is too large to be read."""


class Reading:
    """Takes messages apart, no more of those in memory than `most`: fields and numbers in lists, of all together."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._seen = 0
        self._known = _Known()

    def look(self, many: int) -> None:
        """Count what is looked at.

        Raises:
            BadMessage: it is too much.
        """
        self._seen += many
        if self._seen > self._most:
            raise BadMessage(f"more than {self._most:,} fields and numbers")

    def fields(self, message: bytes) -> Iterator[tuple[int, int | bytes]]:
        """Each field's number, and what it holds. Numbers of one byte, as nearly all are, are read right here.

        Raises:
            BadMessage: this is no message, or too much.
        """
        at, end = 0, len(message)
        while at < end:
            self._seen += 1
            if self._seen > self._most:
                self.look(0)
            key, at = (message[at], at + 1) if message[at] < _MORE else _varint(message, at)
            if key < _FIRST:
                raise _no_field()
            kind = key & 7
            if kind == _VARINT:
                number, at = (message[at], at + 1) if at < end and message[at] < _MORE else _varint(message, at)
                yield key >> 3, number
                continue
            length, at = _length(message, at, kind)
            if length > end - at:
                raise _cut_short()
            if kind == _BYTES:
                yield key >> 3, message[at : at + length]
            at += length

    def streamed(self, portions: Iterable[bytes], wanted: Collection[int]) -> Iterator[tuple[int, int | bytes]]:
        """The same of a message that comes in portions: all numbers, and those fields with bytes that are wanted.

        What is not wanted is passed over, and never held.

        Args:
            portions: its bytes.
            wanted: numbers of fields, of which none may have more bytes than `LONGEST_MESSAGE`.

        Raises:
            BadMessage: this is no message, or too much.
        """
        coming = _Coming(portions)
        held, at, end = b"", 0, 0
        try:
            for _ in range(MOST_STREAMED):
                if end - at < _LONGEST_HEAD:
                    held, at, end = coming.held_from(at, _LONGEST_HEAD)
                    if at == end:
                        return
                number, kind, value, at = _head(held, at)
                if kind == _VARINT:
                    yield number, value
                    continue
                is_wanted = kind == _BYTES and number in wanted
                if is_wanted and value > LONGEST_MESSAGE:
                    raise _too_long(number)
                if value > end - at:
                    held, at, end = (coming.held_from if is_wanted else coming.passed_over)(at, value)
                if value > end - at:
                    raise _cut_short()
                if is_wanted:
                    yield number, held[at : at + value]
                at += value
            raise _too_many()
        except BadMessage as error:
            raise BadMessage(f"byte {coming.before + at}: {error}") from None

    def numbers_of(self, message: bytes) -> dict[int, int]:
        """The fields of a message that hold numbers.

        Raises:
            BadMessage: this is no message, or too much.
        """
        return {number: value for number, value in self.fields(message) if isinstance(value, int)}

    def pair(self, message: bytes) -> tuple[int, int]:
        """The first two fields of a message, as numbers.

        Raises:
            BadMessage: this is no message, or too much.
        """
        numbers = self.numbers_of(message)
        return numbers.get(1, 0), numbers.get(2, 0)

    def varints(self, packed: bytes) -> Sequence[int]:
        """Numbers that lie one after the other.

        Raises:
            BadMessage: they are none, or too many.
        """
        many = len(packed.translate(None, _GOING_ON))
        self.look(many)
        if many == len(packed):
            return packed  # a byte each
        pieces = _NUMBERS.findall(packed)
        if len(b"".join(pieces)) < len(packed):
            raise BadMessage("it is cut short, or no number")
        return [*map(self._known.__getitem__, pieces)]


class _Known(dict[bytes, int]):
    """Numbers by their bytes: the same few come again and again, and to read one takes ten times as long."""

    def __missing__(self, piece: bytes) -> int:
        number = _varint(piece, 0)[0]
        if len(self) < _MOST_KNOWN:
            self[piece] = number
        return number


class _Coming:
    """Bytes that come in portions; of what was read nothing is held.

    `before` is how many came before those that are held.
    """

    def __init__(self, portions: Iterable[bytes]) -> None:
        self._portions = iter(portions)
        self._held = b""
        self.before = 0

    def held_from(self, at: int, many: int) -> tuple[bytes, int, int]:
        """Hold so many bytes from a place on, or all that there are: what is held, where in it that is, and its end."""
        parts, seen = [self._held[at:]], len(self._held) - at
        while seen < many and (portion := next(self._portions, None)) is not None:
            parts.append(portion)
            seen += len(portion)
        self.before += at
        self._held = b"".join(parts)
        return self._held, 0, seen

    def passed_over(self, at: int, many: int) -> tuple[bytes, int, int]:
        """Hold what comes with the last of so many bytes; where in it the first of them would be, which may be below 0.

        All that there is if there are fewer.
        """
        end = len(self._held)
        while many > end - at and (portion := next(self._portions, None)) is not None:
            self.before += end
            self._held, at, end = portion, at - end, len(portion)
        return self._held, at, end


def signed(number: int) -> int:
    """A number of a field as an `int64`."""
    return number - (_SIGN << 1) if number >= _SIGN else number


def _cut_short() -> BadMessage:
    return BadMessage("it is cut short")


def _too_many() -> BadMessage:
    return BadMessage(f"more than {MOST_STREAMED:,} fields")


def _no_field() -> BadMessage:
    return BadMessage("no field has the number 0")


def _too_long(number: int) -> BadMessage:
    return BadMessage(f"one of field {number} has more than {LONGEST_MESSAGE:,} bytes")


def _head(message: bytes, at: int) -> tuple[int, int, int, int]:
    """A field's number and kind; its number, or how many bytes it has; and where these begin, or the next field."""
    key, at = (message[at], at + 1) if message[at] < _MORE else _varint(message, at)
    if key < _FIRST:
        raise _no_field()
    kind = key & 7
    value, at = _varint(message, at) if kind == _VARINT else _length(message, at, kind)
    return key >> 3, kind, value, at


def _length(message: bytes, at: int, kind: int) -> tuple[int, int]:
    """How many bytes a field has that is no number, and where they begin."""
    if kind == _BYTES:
        return (message[at], at + 1) if at < len(message) and message[at] < _MORE else _varint(message, at)
    if kind not in {_FIXED64, _FIXED32}:
        raise BadMessage("no such kind of field")
    return 8 if kind == _FIXED64 else 4, at


def _varint(message: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    for place in range(at, min(len(message), at + _LONGEST_VARINT)):
        byte = message[place]
        number |= (byte & ~_MORE) << shift
        if byte < _MORE:
            return number & _ALL_BITS, place + 1
        shift += 7
    raise BadMessage("it is cut short, or no number")
