"""Reads what a JVM's Flight Recorder wrote: the stacks of a few kinds of event, of every chunk of a file. Pure.

A chunk begins with a header of 68 bytes and describes itself: an event of type 0 names every class and its fields,
events of type 1 hold the values that others refer to by number. Numbers are of variable length, seven bits a byte, the
lowest first; a ninth byte holds eight. The layout is that of JDK 9 and later (chunk versions 2.0 and 2.1).
"""

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

MAGIC: Final = b"FLR\0"
HEADER: Final = struct.Struct(">4sHHqqqqqqqI")
COMPRESSED: Final = 1
_METADATA, _CONSTANTS = 0, 1
_DEEPEST: Final = 64
_Reader = Callable[["_Cursor"], Any]


class BadRecording(ValueError):
    """The file is no recording that we can read; the text says where it stops being one."""


@dataclass(frozen=True)
class Recorded:
    """One event: the fields of its class, with what they refer to by number in its place."""

    kind: str
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class _Field:
    name: str
    kind: int
    refers: bool
    repeats: bool


@dataclass
class _Class:
    name: str
    fields: list[_Field] = field(default_factory=list)


class _Cursor:
    """A place in the bytes of a chunk."""

    def __init__(self, data: memoryview, at: int) -> None:
        self.data = data
        self.at = at

    def number(self) -> int:
        value = shift = 0
        data, at = self.data, self.at
        while True:
            byte = data[at]
            at += 1
            if shift == 56:  # noqa: PLR2004 -- the ninth byte has no flag
                value |= byte << shift
                break
            value |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004 -- the flag of a byte that is not the last
                break
            shift += 7
        self.at = at
        return value

    def count(self) -> int:
        """A number of elements, each of which takes a byte at least; else a small file could claim any number."""
        number = self.number()
        if number > len(self.data) - self.at:
            raise BadRecording(f"a list of {number} where {len(self.data) - self.at} bytes are left")
        return number

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def skip(self, count: int) -> bytes:
        taken = bytes(self.data[self.at : self.at + count])
        self.at += count
        return taken

    def text(self) -> Any:
        """A string; None for null; a number in the table of strings as `_Ref`."""
        match self.byte():
            case 0:
                return None
            case 1:
                return ""
            case 2:
                return _Ref(self.number())
            case 3:
                return self.skip(self.number()).decode("utf-8", "replace")
            case 4:
                return "".join(chr(self.number() & 0xFFFF) for _ in range(self.number()))
            case 5:
                return self.skip(self.number()).decode("latin-1")
            case other:
                raise BadRecording(f"a string of unknown encoding {other}")


@dataclass(frozen=True)
class _Ref:
    """A string that stands in the constants of `java.lang.String`."""

    number: int


_PRIMITIVES: Final[Mapping[str, _Reader]] = {
    "boolean": _Cursor.byte,
    "byte": _Cursor.byte,
    "char": _Cursor.number,
    "short": _Cursor.number,
    "int": _Cursor.number,
    "long": _Cursor.number,
    "float": lambda cursor: struct.unpack(">f", cursor.skip(4))[0],
    "double": lambda cursor: struct.unpack(">d", cursor.skip(8))[0],
    "java.lang.String": _Cursor.text,
}


class _Chunk:
    """One chunk, self-contained."""

    def __init__(self, data: memoryview) -> None:
        (magic, major, _, self.size, constants, metadata, *_, features) = HEADER.unpack_from(data)
        if magic != MAGIC or major != 2:  # noqa: PLR2004 -- the layout's version, of JDK 9 and later
            raise BadRecording(f"it begins with {bytes(data[:6])!r}")
        if not HEADER.size <= self.size <= len(data):
            raise BadRecording(f"a chunk of {self.size} bytes where {len(data)} are left")
        if not features & COMPRESSED:
            raise BadRecording("its numbers are of fixed length")
        self._data = data[: self.size]
        self._classes: dict[int, _Class] = {}
        self._constants: dict[int, dict[int, Any]] = {}
        self._resolved: dict[tuple[int, int], Any] = {}
        self._string_class = -1
        self._read_metadata(metadata)
        self._read_constants(constants)

    def events(self, kinds: Mapping[str, Any] | tuple[str, ...]) -> Iterator[Recorded]:
        """The events of these kinds, in the order of the file."""
        wanted = {number: one for number, one in self._classes.items() if one.name in kinds}
        at = HEADER.size
        while at < self.size:
            cursor = _Cursor(self._data, at)
            size = cursor.number()
            if size <= 0:
                raise BadRecording(f"an event of {size} bytes at {at}")
            if (event := wanted.get(cursor.number())) is not None:
                yield Recorded(event.name, self._resolve_all(self._fields(cursor, event), event))
            at += size

    def _read_metadata(self, at: int) -> None:
        cursor = _Cursor(self._data, at)
        cursor.number()
        if cursor.number() != _METADATA:
            raise BadRecording("its description is not where the header says")
        for _ in range(3):  # start, duration, id
            cursor.number()
        strings = [cursor.text() for _ in range(cursor.number())]

        def element(depth: int) -> None:
            if depth > _DEEPEST:
                raise BadRecording("its description is nested too deep")
            name = strings[cursor.number()]
            attributes = {strings[cursor.number()]: strings[cursor.number()] for _ in range(cursor.number())}
            if name == "class":
                self._classes[int(attributes["id"])] = latest.append_class(attributes["name"])
            elif name == "field":
                latest.append_field(attributes)
            for _ in range(cursor.number()):
                element(depth + 1)

        latest = _Latest()
        element(0)
        self._string_class = next((n for n, one in self._classes.items() if one.name == "java.lang.String"), -1)

    def _read_constants(self, at: int) -> None:
        """Every pool, from the last one back; each says how far before it the one before begins."""
        seen = set()
        while at not in seen:
            seen.add(at)
            cursor = _Cursor(self._data, at)
            cursor.number()
            if cursor.number() != _CONSTANTS:
                raise BadRecording("its constants are not where the header says")
            cursor.number()
            cursor.number()
            back = cursor.number()
            cursor.byte()
            for _ in range(cursor.number()):
                number = cursor.number()
                pool = self._constants.setdefault(number, {})
                read = self._reader(number)
                for _ in range(cursor.number()):
                    key = cursor.number()
                    pool.setdefault(key, read(cursor))
            if back == 0:
                return
            at += back - (1 << 64) if back >= 1 << 63 else back

    def _fields(self, cursor: _Cursor, kind: _Class) -> dict[str, Any]:
        values = {}
        for one in kind.fields:
            read = _Cursor.number if one.refers else self._reader(one.kind)
            values[one.name] = [read(cursor) for _ in range(cursor.count())] if one.repeats else read(cursor)
        return values

    def _reader(self, number: int) -> _Reader:
        kind = self._classes[number]
        return _PRIMITIVES.get(kind.name) or (lambda cursor: self._fields(cursor, kind))

    def _resolve_all(self, values: Mapping[str, Any], kind: _Class) -> dict[str, Any]:
        return {one.name: self._resolve(values[one.name], one) for one in kind.fields}

    def _resolve(self, value: Any, one: _Field) -> Any:
        if isinstance(value, list):
            return [self._resolve(each, one) for each in value]
        if isinstance(value, _Ref):
            return self._constants.get(self._string_class, {}).get(value.number)
        if one.refers:
            key = (one.kind, value)
            if key not in self._resolved:
                self._resolved[key] = None  # what refers to itself ends here
                stored = self._constants.get(one.kind, {}).get(value)
                kind = self._classes[one.kind]
                self._resolved[key] = self._resolve_all(stored, kind) if isinstance(stored, dict) else stored
            return self._resolved[key]
        return self._resolve_all(value, self._classes[one.kind]) if isinstance(value, dict) else value


class _Latest:
    """The class whose fields are being read."""

    def __init__(self) -> None:
        self._class = _Class("")

    def append_class(self, name: str) -> _Class:
        self._class = _Class(name)
        return self._class

    def append_field(self, attributes: Mapping[str, str]) -> None:
        self._class.fields.append(
            _Field(
                attributes["name"],
                int(attributes["class"]),
                refers=attributes.get("constantPool") == "true",
                repeats=attributes.get("dimension", "0") != "0",
            )
        )


def events(data: bytes | memoryview, kinds: Mapping[str, Any] | tuple[str, ...]) -> Iterator[Recorded]:
    """Every event of these kinds, chunk by chunk.

    Raises:
        BadRecording: the file is cut off, or no recording.
    """
    rest = memoryview(data)
    try:
        while rest:
            chunk = _Chunk(rest)
            yield from chunk.events(kinds)
            rest = rest[chunk.size :]
    except (IndexError, KeyError, TypeError, ValueError, struct.error, RecursionError) as problem:
        if isinstance(problem, BadRecording):
            raise
        raise BadRecording(f"it cannot be followed: {problem!r}") from problem
