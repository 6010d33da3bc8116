"""How many may listen to live events at once, of one token and of one process: a stream costs memory while it lasts."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Final

from api.limits import count_refused
from api.metrics import LISTENERS
from api.problems import Refusal
from protocol.problems import FieldFault

LANE: Final = "listeners"
"""As refusals are counted by, beside the lanes of calls."""


class Listeners:
    """Those who listen at one process, by server-sent events or by websocket."""

    def __init__(self, *, most: int, most_of_a_token: int) -> None:
        self._most = most
        self._most_of_a_token = most_of_a_token
        self._by_token: Counter[str] = Counter()
        self._count = 0
        self._nobody = asyncio.Event()
        self._nobody.set()

    @property
    def count(self) -> int:
        """How many listen."""
        return self._count

    @contextlib.contextmanager
    def one_more(self, token_id: str) -> Iterator[None]:
        """Count one in, until the end of the block. Nothing is asked of the broker.

        Raises:
            Refusal: it is one too many.
        """
        self._check(token_id)
        self._by_token[token_id] += 1
        self._count += 1
        self._nobody.clear()
        LISTENERS.inc()
        try:
            yield
        finally:
            LISTENERS.dec()
            self._count -= 1
            self._by_token[token_id] -= 1
            if not self._by_token[token_id]:
                del self._by_token[token_id]
            if not self._count:
                self._nobody.set()

    def _check(self, token_id: str) -> None:
        if self._by_token[token_id] >= self._most_of_a_token:
            code, said = "too_many_listeners", f"At most {self._most_of_a_token} listen with one token at a time."
        elif self._count >= self._most:
            code, said = "no_room", f"At most {self._most} listen at this process at a time."
        else:
            return
        count_refused(LANE)
        raise Refusal(code, said, errors=[FieldFault(field="Authorization", message=said, code=code)])

    async def left(self, *, within: float) -> bool:
        """Wait until nobody listens any more, for some seconds at most; gives whether it is so."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._nobody.wait()
        return self._count == 0
