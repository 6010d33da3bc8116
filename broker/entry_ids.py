"""Ids of stream entries, as one can compare them. Pure."""

from typing import Final

Position = tuple[int, int]
"""An entry id as one can compare it: milliseconds, and the number within them."""
START: Final[Position] = (0, 0)


def position_of(entry_id: str) -> Position:
    """Read an entry id; `0` is the beginning of a stream, as XREAD and XGROUP have it.

    Raises:
        ValueError: it is none.
    """
    ms, _, number = entry_id.partition("-")
    return int(ms), int(number or 0)


def entry_id_of(position: Position) -> str:
    """Write an entry id."""
    return f"{position[0]}-{position[1]}"
