"""How far a connection is read while calls that came before wait for their answers: uvicorn's own reading has no bound.

It stops to read at the second call that came without waiting, and goes on as soon as any call of the connection is
answered or asks for its body: so each answer would let a whole buffer of further calls in, thousands of them, and a
client that sends on without pause fills the memory with them.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import Final

from uvicorn.protocols.http.flow_control import FlowControl

MOST_WAITING: Final = 16
"""Calls of a connection that wait for their turn until no more of it is parsed."""
AT_ONCE: Final = 8 * 1024
"""What is parsed until somebody looks how many wait: some 450 of the shortest calls, half a MiB as objects."""


class InTurn(FlowControl):
    """Reads on only where the connection says that it has room."""

    def __init__(self, transport: asyncio.Transport, has_room: Callable[[], bool]) -> None:
        super().__init__(transport)
        self._has_room = has_room

    def resume_reading(self) -> None:
        """Read on, or leave it to the connection to do so later."""
        if self._has_room():
            super().resume_reading()


def in_pieces(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Data in pieces that are parsed at once, each with where it begins; most data is one."""
    if len(data) <= AT_ONCE:
        yield data, 0
    else:
        for at in range(0, len(data), AT_ONCE):
            yield data[at : at + AT_ONCE], at
