"""A conductor with a real ledger, and nothing that samples."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from agent.books import Books
from agent.conductor import Conductor
from agent.ledger import Ledger
from agent.replies import Defaults, Reply
from agent.reports import Reporter
from protocol.completions import Completion
from tests.support.agents import soon
from tests.support.fake_capture import FakeCapture, FakeSave, tools

REPORTER = Reporter(hostname="web-01", service_name="web")


class Case:
    """A conductor with a real ledger and fakes for everything that samples."""

    def __init__(self, path: Path, *script: Any) -> None:
        self.ledger = Ledger(path)
        self.capture = FakeCapture(script=list(script))
        self.save = FakeSave()
        self.announced = 0
        self.books = Books(self.ledger, REPORTER, announce=self._announce, report=lambda: None)
        self.conductor = Conductor(
            self.books, tools=tools(self.capture, self.save), reporter=REPORTER, defaults=Defaults()
        )

    def _announce(self) -> None:
        self.announced += 1

    def obey(self, command_id: str, command: dict[str, Any], *, generation: int | None = 1) -> bool:
        return self.conductor.obey(Reply(command_id=command_id, command=command, generation=generation))

    async def sampling(self, times: int = 1) -> None:
        await soon(lambda: len(self.capture.requests) >= times and self.capture.sampling.is_set())

    async def ended(self, command_id: str) -> Completion:
        await soon(lambda: self.found(command_id))
        completion = self.found(command_id)
        assert completion is not None
        return completion

    def found(self, command_id: str) -> Completion | None:
        return next((completion for completion in self.books.unsent if completion.command_id == command_id), None)


@asynccontextmanager
async def conducting(path: Path, *script: Any) -> AsyncIterator[Case]:
    case = Case(path / "ledger", *script)
    work = asyncio.create_task(case.conductor.work())
    try:
        yield case
        await asyncio.wait_for(case.conductor.drain(), 20)
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        case.ledger.close()
