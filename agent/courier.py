"""Sends completions until the server has taken each of them, or refused it for good."""

import asyncio
from datetime import timedelta
from typing import Protocol

import structlog
from structlog.typing import FilteringBoundLogger

from agent import outbox
from agent.backoff import retrying
from agent.books import Books
from agent.transport import Refused, TransportError
from protocol.completions import Completion

log: FilteringBoundLogger = structlog.get_logger()

_SERVER_ERROR = 500
_UNAVAILABLE = 503


class Takes(Protocol):
    """The part of the transport that completes."""

    async def complete(self, completion: Completion) -> None:
        """Say how a command ended."""


class Courier:
    """Between the books and the server."""

    def __init__(self, takes: Takes, books: Books, *, cap: timedelta, stopping: asyncio.Event) -> None:
        self._takes = takes
        self._books = books
        self._cap = cap
        self._stopping = stopping
        self._waiting = asyncio.Event()
        self._sooner = asyncio.Event()

    def wake(self) -> None:
        """A completion waits."""
        self._waiting.set()

    def retry_now(self) -> None:
        """The server is back: try again before the pause is over."""
        self._sooner.set()

    async def run(self) -> None:
        """Send what waits, whenever something does, until the agent shuts down."""
        self._waiting.set()
        while not self._stopping.is_set():
            attempts = retrying(
                cap=self._cap, stopping=self._stopping, on_failure=self._note_failure, sooner=self._sooner
            )
            self._waiting.clear()
            try:
                await attempts(self.deliver)
            except TransportError:
                return  # shutting down; `deliver` is called once more then
            await self._next()

    async def deliver(self) -> None:
        """Send everything that waits, once. One completion that the server chokes on does not hold up the others.

        Raises:
            TransportError: something is left over; the first reason.
        """
        self._sooner.clear()
        trouble: TransportError | None = None
        for completion in self._books.unsent:
            try:
                await self._takes.complete(completion)
            except Refused as error:
                if outbox.is_final(error.status):
                    log.warning("completion dropped", command_id=completion.command_id, reason=str(error))
                    self._books.settle(completion.command_id, dropped=str(error))
                    continue
                trouble = trouble or error
                if error.status < _SERVER_ERROR or error.status == _UNAVAILABLE:
                    break
            except TransportError as error:
                trouble = trouble or error
                break
            else:
                log.info("completion taken", command_id=completion.command_id)
                self._books.settle(completion.command_id)
        if trouble is not None:
            raise trouble

    async def _next(self) -> None:
        waiting = asyncio.ensure_future(self._waiting.wait())
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            stopping.cancel()

    def _note_failure(self, error: TransportError, attempt: int, rest: timedelta) -> None:
        tell = log.warning if attempt == 1 else log.debug
        tell(
            "completion not taken yet", reason=str(error), attempt=attempt, pause_seconds=round(rest.total_seconds(), 1)
        )
