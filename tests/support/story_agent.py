"""An agent as the machine of the whole server plays it: it keeps the protocol, whatever befalls its words."""

from dataclasses import dataclass, field
from enum import StrEnum

from broker.scripts import Delivered, Recorded
from protocol.commands import CommandReader, StartCommand, StopCommand
from tests.support.played_host import PlayedHost


class Stage(StrEnum):
    """How far it has come with a command, as its ledger says."""

    HELD = "held"
    BEGUN = "begun"
    FINISHED = "finished"


@dataclass
class StoryAgent:
    """One agent. An old one says `completed` when a run begins, and nothing when it ends."""

    host: PlayedHost
    is_old: bool = False
    is_dead: bool = False
    """Never heard of again."""
    ledger: dict[str, Stage] = field(default_factory=dict)
    at_work: str = ""
    """The start that its profiler is at work on."""
    held: str = ""
    """The start that it has written down and not begun."""
    last: str = ""
    said_at_work: str = ""
    """The start that it has told the server to be at work on, since the server gave up on it last."""
    received: set[str] = field(default_factory=set)
    executed: set[str] = field(default_factory=set)
    unsent: dict[str, str] = field(default_factory=dict)
    """Completions that the server has not answered yet: command id -> status."""
    sent: dict[str, str] = field(default_factory=dict)
    said: dict[str, list[Recorded]] = field(default_factory=dict)
    """What the server made of each completion, over all lives of the agent."""

    async def beat(self, *, names: bool, last: bool, is_reply_lost: bool) -> Delivered | None:
        """One heartbeat, with or without the ids it has to tell of. Gives what was handed out, heard or not."""
        received = sorted(self.received) if names else []
        executed = sorted(self.executed) if names else []
        answer = await self.host.beat(
            last=self.last if last else "",
            begun=last and bool(self.last) and self.last == self.at_work,
            received=received,
            executed=executed,
        )
        if last and self.last == self.at_work:
            self.said_at_work = self.at_work
        if not is_reply_lost:
            self.received -= set(received)
            self.executed -= set(executed)
            if isinstance(answer, Delivered):
                self._take(answer)
        return answer if isinstance(answer, Delivered) else None

    def _take(self, delivered: Delivered) -> None:
        """What is in the ledger is never carried out again, only acked again."""
        command_id = delivered.command_id
        self.received.add(command_id)
        if command_id in self.ledger:
            if self.ledger[command_id] is Stage.FINISHED:
                self.executed.add(command_id)
            return
        self.ledger[command_id] = Stage.HELD
        self.last = command_id
        self.end_work("completed")
        self.held = ""
        if isinstance(CommandReader.validate_json(delivered.command), StopCommand):
            self._finish(command_id, "completed")
        else:
            self.held = command_id

    def begin(self) -> None:
        """The profiler is at work."""
        self.at_work, self.held = self.held, ""
        self.ledger[self.at_work] = Stage.BEGUN

    def end_work(self, status: str) -> None:
        """The profiler has ended."""
        if self.at_work:
            self._finish(self.at_work, status, is_told=not self.is_old)
            self.at_work = ""

    def _finish(self, command_id: str, status: str, *, is_told: bool = True) -> None:
        self.ledger[command_id] = Stage.FINISHED
        self.executed.add(command_id)
        if is_told:
            self.unsent[command_id] = status

    async def report(self, command_id: str, *, is_reply_lost: bool = False) -> Recorded:
        """Report how a command ended, or report it once more."""
        status = self.unsent.get(command_id) or self.sent[command_id]
        recorded = await self.host.complete(command_id, status=status, execution_time=1.5)
        self.said.setdefault(command_id, []).append(recorded)
        self.sent[command_id] = status
        if not is_reply_lost:
            self.unsent.pop(command_id, None)
        return recorded

    async def say_started(self) -> Recorded:
        """An old agent's word at the beginning of a run."""
        return await self.host.complete(self.at_work, status="completed", execution_time=0)

    def restart(self, *, with_ledger: bool) -> None:
        """A new process. With the ledger it knows what it had begun, and reports that as failed."""
        if with_ledger:
            self.end_work("failed")
            self.received = set(self.ledger)
            self.executed = {each for each, stage in self.ledger.items() if stage is Stage.FINISHED}
            return
        self.ledger.clear()
        self.unsent.clear()
        self.sent.clear()
        self.received.clear()
        self.executed.clear()
        self.at_work = self.held = self.last = ""


def profiled_by(delivered: Delivered, universe: tuple[int, ...]) -> set[int]:
    """The processes that a command has an agent profile."""
    command = CommandReader.validate_json(delivered.command)
    if not isinstance(command, StartCommand):
        return set()
    config = command.combined_config
    return {
        pid
        for pid in universe
        if (pid in config.pids if config.pids is not None else pid not in (config.exclude_pids or ()))
    }
