"""The agent's books: the ledger, and what the server is still to be told of it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from structlog.typing import FilteringBoundLogger

from agent import outbox, reports
from agent.acks import Acks
from agent.history import Finished, Held, History, Kind, Received, Record, Settled, Stage, Started
from agent.ledger import Ledger, LedgerFull
from agent.reports import Reporter
from protocol.commands import StartConfig
from protocol.completions import Completion

log: FilteringBoundLogger = structlog.get_logger()


@dataclass(frozen=True)
class _Since:
    monotonic: float
    wall: datetime


class Books:
    """Each step of a command is written here first."""

    def __init__(
        self, ledger: Ledger, reporter: Reporter, *, announce: Callable[[], None], report: Callable[[], None]
    ) -> None:
        """Take over a ledger.

        Args:
            ledger: open, and nobody else's.
            reporter: whose completions these are.
            announce: called when the next heartbeat should go out at once.
            report: called when a completion waits to be sent.
        """
        self._ledger = ledger
        self._reporter = reporter
        self._announce = announce
        self._report = report
        self._since: dict[str, _Since] = {}
        self._again: dict[str, Completion] = {}
        self.acks = Acks()

    @property
    def history(self) -> History:
        """Every command the agent knows."""
        return self._ledger.history

    @property
    def unsent(self) -> list[Completion]:
        """Completions to send, in the order the commands came."""
        return [*outbox.unsent(self.history), *self._again.values()]

    def close_the_past(self, left_by: Callable[[str], reports.Ending | None] = lambda _: None) -> None:
        """At start: what an earlier process began is not run again; say how it ended. What awaits its moment stays.

        Args:
            left_by: how a command's run ended, by the profiles that it had saved; None when it had saved none.
        """
        waiting = {held.command_id for held in self.waiting()}
        for held in self.history.unfinished():
            if held.command_id in waiting:
                log.info("command of an earlier process still awaits its moment", command_id=held.command_id)
                continue
            completion = self._of_the_past(held, left_by)
            log.warning("command of an earlier process closed", command_id=held.command_id, status=completion.status)
            self._write(Finished(command_id=held.command_id, completion=completion))
        self.acks = Acks.after_restart(self.history)

    def waiting(self) -> list[Held]:
        """The commands that await a moment to come, whichever process received them."""
        now = datetime.now(UTC)
        return [held for held in self.history if held.still_awaits(now)]

    def receive(self, command_id: str, kind: Kind, awaits: StartConfig | None = None) -> bool:
        """Write the id down. Without that on disk the command must not be carried out, and is reported failed."""
        now = _Since(time.monotonic(), datetime.now(UTC))
        received = Received(command_id=command_id, kind=kind, at=now.wall, awaits=awaits)
        try:
            self._ledger.record(received)
        except LedgerFull as error:
            log.warning("command refused: without the ledger it could run twice", command_id=command_id, why=str(error))
            self._ledger.note(received)
            self.fail(command_id, f"not carried out: {error.strerror}")
            return False
        self._since[command_id] = now
        self.acks = self.acks.with_received(command_id)
        self._announce()
        return True

    def start(self, command_id: str) -> None:
        """The run has really begun."""
        self._write(Started(command_id=command_id, at=datetime.now(UTC)))
        self._announce()

    def finish_stop(self, command_id: str) -> None:
        """A stop has been carried out."""
        ended = datetime.now(UTC)
        since = self._since.get(command_id) or _Since(time.monotonic(), ended)
        seconds = time.monotonic() - since.monotonic
        self.finish(reports.of_stop(command_id, self._reporter, seconds=seconds, began=since.wall, ended=ended))

    def finish_run(self, command_id: str, ending: reports.Ending) -> None:
        """A run has ended."""
        self.finish(reports.of_run(command_id, ending, self._reporter))

    def fail(self, command_id: str, reason: str) -> None:
        """The command is not carried out."""
        self.finish(reports.of_failure(command_id, reason, self._reporter))

    def finish(self, completion: Completion) -> None:
        """The command has ended; the server will be told."""
        self._since.pop(completion.command_id, None)
        self._write(Finished(command_id=completion.command_id, completion=completion))
        self.acks = self.acks.with_received(completion.command_id).with_executed(completion.command_id)
        log.info(
            "command ended",
            command_id=completion.command_id,
            status=completion.status,
            samples=completion.samples,
            seconds=round(completion.execution_time or 0, 3),
            reason=completion.error_message,
        )
        self._report()
        self._announce()

    def acknowledge_again(self, command_id: str) -> None:
        """The server offers a command that is known: name it again."""
        self.acks = self.acks.with_received(command_id)
        held = self.history.get(command_id)
        if held is not None and held.stage >= Stage.FINISHED:
            self.acks = self.acks.with_executed(command_id)

    def report_again(self, command_id: str) -> None:
        """The server has lost a completion that it took: send it once more."""
        held = self.history.get(command_id)
        if held is not None and held.completion is not None:
            self._again[command_id] = held.completion
            self._report()

    def told(self, acks: Acks) -> None:
        """The server has answered a heartbeat that named these."""
        self.acks = self.acks.without(acks)

    def settle(self, command_id: str, *, dropped: str | None = None) -> None:
        """The server took the completion, or refused it for good."""
        if self._again.pop(command_id, None) is None:
            self._write(Settled(command_id=command_id, dropped=dropped))

    def _of_the_past(self, held: Held, left_by: Callable[[str], reports.Ending | None]) -> Completion:
        if held.kind == "stop":
            # Profilers die with their agent: what was to be stopped is.
            now = datetime.now(UTC)
            return reports.of_stop(held.command_id, self._reporter, seconds=0, began=now, ended=now)
        ending = left_by(held.command_id)
        if ending is not None:
            return reports.of_run(held.command_id, ending, self._reporter)
        begun = held.stage is Stage.STARTED
        reason = reports.RESTARTED_WHILE_RUNNING if begun else reports.RESTARTED_BEFORE
        return reports.of_failure(held.command_id, reason, self._reporter)

    def _write(self, record: Record) -> None:
        """Write a record that protects nothing: when the disk is full, it counts until the agent restarts."""
        try:
            self._ledger.record(record)
        except LedgerFull as error:
            log.warning("a record is kept in memory only", command_id=record.command_id, reason=str(error))
            self._ledger.note(record)
