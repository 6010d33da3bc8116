"""Where a reader of many streams stands, as one short text: it goes along with every event, so it is packed. Pure.

The newest position is told in full, the others by how far they are behind it, each number in as many bytes as it needs.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Final

from broker.entry_ids import Position

VERSION: Final = 1
_SEVEN_BITS: Final = 0x7F
_MORE: Final = 0x80
_MOST: Final = 2**64
LONGEST: Final = 16_384


class BadCursor(ValueError):
    """It is no cursor, or one of other streams."""


def encode(positions: Sequence[Position]) -> str:
    """Positions in the order of their streams, as a text that may stand in a header or an address."""
    newest = max((ms for ms, _ in positions), default=0)
    packed = bytearray()
    for number in (VERSION, len(positions), newest):
        _pack(packed, number)
    for ms, number in positions:
        _pack(packed, newest - ms)
        _pack(packed, number)
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def decode(text: str, *, streams: int) -> list[Position]:
    """Positions as they were written.

    Raises:
        BadCursor: they were not written for so many streams, or not by `encode`.
    """
    try:
        packed = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise BadCursor("is no cursor") from None
    numbers = _unpacked(packed)
    if len(text) > LONGEST or numbers[:1] != [VERSION] or len(numbers) != 3 + 2 * streams or numbers[1] != streams:
        raise BadCursor("is no cursor of these streams")
    newest, rest = numbers[2], numbers[3:]
    if newest >= _MOST or any(number > newest for number in rest[::2]) or any(number >= _MOST for number in rest[1::2]):
        raise BadCursor("is no cursor")
    return [(newest - behind, number) for behind, number in zip(rest[::2], rest[1::2], strict=True)]


def _pack(packed: bytearray, number: int) -> None:
    while number > _SEVEN_BITS:
        packed.append(number & _SEVEN_BITS | _MORE)
        number >>= 7
    packed.append(number)


def _unpacked(packed: bytes) -> list[int]:
    numbers, number, shift = [], 0, 0
    for byte in packed:
        number |= (byte & _SEVEN_BITS) << shift
        shift += 7
        if shift > 70 and byte & _MORE:  # noqa: PLR2004 - ten bytes hold any entry id
            raise BadCursor("is no cursor")
        if not byte & _MORE:
            numbers.append(number)
            number, shift = 0, 0
    if shift:
        raise BadCursor("is cut short")
    return numbers
