"""An upload as it lies in a file: its plain bytes and its text, some at a time, as often as they are asked for."""

import codecs
import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Final

PORTION: Final = 256 * 1024
"""Bytes that are taken at once, zipped or plain."""
KEPT: Final = 16 * PORTION
MOST_PLAIN_BYTES: Final = 96 * 1024 * 1024
"""Of an upload, unzipped."""


class TooLong(ValueError):
    """There is more than may be. `most` is in bytes."""

    def __init__(self, most: int) -> None:
        super().__init__(f"more than {most:,} bytes")
        self.most = most


class BadZip(ValueError):
    """This is no gzip, or not one whole one."""


class NotText(ValueError):
    """This is no UTF-8. `at` is the byte, from 0."""

    def __init__(self, at: int) -> None:
        super().__init__(f"not UTF-8: byte {at}")
        self.at = at


class Plain:
    """The plain bytes of a file in portions. Iterated again they begin anew.

    Raises, while it is iterated:
        BadZip: it is no gzip, is cut short, or something follows.
        TooLong: it has more than `most` bytes, unzipped; no more than that is ever unzipped.
        OSError: it cannot be read.
    """

    def __init__(self, file: BinaryIO, *, is_zipped: bool, most: int) -> None:
        self._file = file
        self._is_zipped = is_zipped
        self._most = most
        self._kept: list[bytes] | None = None
        """All of it, if it is little: to unzip it again takes longer than to keep it."""

    def __iter__(self) -> Iterator[bytes]:
        """From its first byte to its last."""
        if self._kept is not None:
            yield from self._kept
            return
        self._file.seek(0)
        seen = 0
        first: list[bytes] = []
        for portion in self._unzipped() if self._is_zipped else self._as_it_lies():
            seen += len(portion)
            if seen > self._most:
                raise TooLong(self._most)
            first.append(portion)
            if seen > KEPT:
                first.clear()
            yield portion
        if seen <= KEPT:
            self._kept = first

    def _as_it_lies(self) -> Iterator[bytes]:
        while portion := self._file.read(PORTION):
            yield portion

    def _unzipped(self) -> Iterator[bytes]:
        """A gzip of several members is legal by RFC 1952 and sent by nobody: it is refused rather than read in part."""
        plain = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        for zipped in self._as_it_lies():
            if plain.eof:
                raise BadZip("something follows the end of the gzip")
            waiting = zipped
            while waiting and not plain.eof:
                try:
                    portion = plain.decompress(waiting, PORTION)
                except zlib.error:
                    raise BadZip("not gzip") from None
                if portion:
                    yield portion
                waiting = plain.unconsumed_tail
            if plain.unused_data:
                raise BadZip("something follows the end of the gzip")
        while not plain.eof and (portion := _held_back(plain)):
            yield portion
        if not plain.eof:
            raise BadZip("the gzip is cut short")


def _held_back(plain: "zlib._Decompress") -> bytes:
    """What a portion's bound has left in the decompressor after it had taken all its input."""
    try:
        return plain.decompress(b"", PORTION)
    except zlib.error:
        raise BadZip("not gzip") from None


def texts(portions: Iterable[bytes]) -> Iterator[str]:
    """Portions as text, whatever lies across their ends.

    Raises:
        NotText: they are not UTF-8.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    seen = 0
    for portion in portions:
        held = len(decoder.getstate()[0])
        try:
            text = decoder.decode(portion)
        except UnicodeDecodeError as error:
            raise NotText(seen - held + error.start) from None
        seen += len(portion)
        yield text
    held = len(decoder.getstate()[0])
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise NotText(seen - held + error.start) from None
