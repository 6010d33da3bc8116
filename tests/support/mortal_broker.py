"""A process that dies in the middle of its work, as far as the broker can tell."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

from broker.connection import Broker, Call, Client
from broker.settings import BrokerSettings


class Killed(BaseException):
    """The process is gone."""


class MortalBroker(Broker):
    """A connection whose process dies after so many calls: just before the next one is made, or just after it."""

    def __init__(self, settings: BrokerSettings, *, dies_after: bool) -> None:
        super().__init__(settings)
        self.calls_to_live = 0
        self._dies_after = dies_after

    @contextlib.asynccontextmanager
    async def _a_call(self) -> AsyncIterator[None]:
        self.calls_to_live -= 1
        if self.calls_to_live < 0 and not self._dies_after:
            raise Killed
        yield
        if self.calls_to_live < 0:
            raise Killed

    async def run(self, call: Call) -> Any:
        async with self._a_call():
            return await super().run(call)

    async def run_on_line(self, call: Call) -> Any:
        return await self.run(call)  # one call, whichever way it goes

    async def run_all(self, calls: Sequence[Call], *, replicated: bool = False) -> list[Any]:
        async with self._a_call():
            return await super().run_all(calls, replicated=replicated)

    @contextlib.asynccontextmanager
    async def guarded(self) -> AsyncIterator[Client]:
        async with self._a_call(), super().guarded() as client:
            yield client
