"""Answers that are made once and go out again and again."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from fastapi import Response

from api.beats import reply_of
from broker.scripts import Idle

MOST_ANSWERS: Final = 1_024
"""Made answers that are kept: one for each generation that a command can have."""


class Made(NamedTuple):
    """An answer as it goes out. `lines`: its headers as they stand on the wire."""

    status: int
    headers: Sequence[tuple[bytes, bytes]]
    lines: bytes
    body: bytes


def made_of(response: Response) -> Made:
    """An answer, ready to go out again and again."""
    headers = response.raw_headers
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    return Made(response.status_code, headers, lines, bytes(response.body))


class IdleAnswers:
    """What agents are told for whom there is nothing new."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, bool, int], Made] = {}

    def of(self, outcome: Idle, interval: int) -> Made:
        """The answer to a heartbeat. `interval`: the pace (s) that it asks for."""
        key = (outcome.generation, outcome.inventory_wanted, interval)
        made = self._made.get(key)
        if made is None:
            made = made_of(reply_of(outcome, interval=interval))
            if len(self._made) < MOST_ANSWERS:
                self._made[key] = made
        return made
