"""Carries out what the planner says, one thing after another.

`obey` is called with every answer and does at once what must come first: the ledger, then the ack. What takes time goes
through a queue to `work`, so that heartbeats go on while a run winds up.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, Protocol

import structlog
from structlog.typing import FilteringBoundLogger

from agent.beginning import PREPARE, Beginning, until
from agent.books import Books
from agent.history import Held
from agent.planner import (
    Acknowledge,
    Action,
    Fail,
    Finish,
    Ignore,
    NarrowRun,
    PauseRun,
    Receive,
    ReportAgain,
    RunView,
    StartRun,
    StopRun,
    plan,
)
from agent.replies import Defaults, Reply
from agent.reports import Reporter
from agent.runner import Run, Tools
from protocol.commands import StartConfig
from protocol.requests import MAX_AHEAD

log: FilteringBoundLogger = structlog.get_logger()

_SHUT_DOWN: Final = "the agent was shut down while it ran"
_SHUT_DOWN_BEFORE: Final = "the agent was shut down before it began"
_SHUT_DOWN_TOO_SOON: Final = "no sample had been taken yet"
_STOPPED_BEFORE: Final = "it was stopped before its start_at"
_TOO_FAR: Final = f"its start_at lies more than {MAX_AHEAD.days} days ahead by the clock of this host"


class Gate(Protocol):
    """`agent.guards.Guards`, or what takes its place in a test."""

    async def refusal(self, config: StartConfig) -> str | None:
        """Why a command may not start now; None when it may."""

    def begin(self, command_id: str, config: StartConfig) -> None:
        """A command is about to run."""

    def finish(self, command_id: str) -> None:
        """It has ended, whatever became of it."""


class OpenGate:
    """Lets everything through."""

    async def refusal(self, config: StartConfig) -> str | None:  # noqa: ARG002 - the gate's
        """Nothing is refused."""
        return None

    def begin(self, command_id: str, config: StartConfig) -> None:
        """Nobody counts."""

    def finish(self, command_id: str) -> None:
        """Nobody counts."""


class Conductor:
    """What the agent does about its commands: one continuous run and one one-off run at a time, at most."""

    def __init__(
        self,
        books: Books,
        *,
        tools: Tools,
        reporter: Reporter,
        defaults: Defaults,
        gate: Gate | None = None,
        profilers_of: Callable[[StartConfig], frozenset[str]] = lambda config: frozenset({config.profiling_mode}),
    ) -> None:
        """Prepare; nothing runs yet.

        Args:
            books: where each step is written first.
            tools: to sample and save with.
            reporter: who reports.
            defaults: what a start that does not say gets.
            gate: may refuse a command.
            profilers_of: what a start would sample with; runs that share nothing go side by side.
        """
        self._gate = gate or OpenGate()
        self._books = books
        self._tools = tools
        self._reporter = reporter
        self._defaults = defaults
        self._profilers_of = profilers_of
        self._queue: asyncio.Queue[Action | None] = asyncio.Queue()
        self._worked_off = asyncio.Event()
        self._intended: dict[str, RunView] = {}
        self._runs: dict[str, tuple[Run, asyncio.Task[None]]] = {}
        self._begun: list[str] = []
        self._waiting: set[str] = set()
        self._draining = False

    @property
    def begun(self) -> str | None:
        """The newest command whose run has really begun and has not ended."""
        return self._begun[-1] if self._begun else None

    def has_begun(self, command_id: str) -> bool:
        """Whether the command's run has really begun and has not ended."""
        return command_id in self._begun

    @property
    def is_busy(self) -> bool:
        """Whether a run is on, rather than awaiting its moment."""
        return bool(self._runs.keys() - self._waiting)

    def end_runs(self, why: str) -> None:
        """End what runs, for the host's sake; it is reported failed with the reason."""
        for command_id in self._runs.keys() - self._waiting:
            self._runs[command_id][0].end(why)

    def take_up(self, waiting: Iterable[Held]) -> None:
        """At start: let commands that an earlier process received await their moment."""
        for held in waiting:
            if held.awaits is not None:
                action = StartRun(held.command_id, held.awaits)
                self._intend(action)
                self._queue.put_nowait(action)

    def obey(self, reply: Reply) -> bool:
        """Take an answer; say whether it brought a command that was not known before."""
        actions = plan(
            reply,
            history=self._books.history,
            runs=[*self._intended.values()],
            hostname=self._reporter.hostname,
            defaults=self._defaults,
            profilers_of=self._profilers_of,
        )
        match actions:
            case (Receive(command_id, kind, awaits), *rest):
                log.info("command received", command_id=command_id, kind=kind, generation=reply.generation)
                if self._books.receive(command_id, kind, awaits):
                    for action in rest:
                        self._intend(action)
                        self._queue.put_nowait(action)
                return True
            case _:
                for action in actions:
                    self._answer_again(action)
                return False

    async def work(self) -> None:
        """Carry out queued actions until `drain`. No command's trouble ends this."""
        try:
            while (action := await self._queue.get()) is not None:
                try:
                    await self._carry_out(action)
                except Exception as error:  # the loop outlives any command; the operator is told
                    log.exception("command broke off", action=type(action).__name__)
                    if isinstance(action, StartRun | Finish | Fail):
                        self._books.fail(action.command_id, f"it broke off: {type(error).__name__}: {error}")
        finally:
            self._worked_off.set()

    async def drain(self) -> None:
        """Stop the runs, keep their samples, and end `work` once everything queued has its end in the books.

        What awaits its moment has none: the next process takes it up.
        """
        self._draining = True
        for run, _ in self._runs.values():
            run.stop(told=_SHUT_DOWN)
        self._queue.put_nowait(None)
        await self._worked_off.wait()
        for _, task in [*self._runs.values()]:
            await task

    def _intend(self, action: Action) -> None:
        """What runs once everything queued is done: the next answer is planned against that."""
        match action:
            case StartRun(command_id, config):
                self._intended[command_id] = RunView.of(command_id, config, self._profilers_of(config))
            case NarrowRun(command_id, pids, exclude_pids) if command_id in self._intended:
                view = self._intended[command_id]
                self._intended[command_id] = replace(view, pids=pids, exclude_pids=exclude_pids)
            case StopRun(command_id):
                self._intended.pop(command_id, None)

    def _answer_again(self, action: Action) -> None:
        match action:
            case Acknowledge(command_id):
                log.info("command offered again, not run again", command_id=command_id)
                self._books.acknowledge_again(command_id)
            case ReportAgain(command_id):
                self._books.report_again(command_id)
            case Ignore(reason):
                log.debug("nothing to do", reason=reason)

    async def _carry_out(self, action: Action) -> None:
        match action:
            case StartRun():
                await self._take(action)
            case PauseRun(command_id):
                await self._pause(command_id)
            case StopRun(command_id, superseded_by):
                await self._stop(command_id, told=f"superseded by {superseded_by}" if superseded_by else None)
            case NarrowRun(command_id, pids, exclude_pids):
                if command_id in self._runs:
                    self._runs[command_id][0].narrow(pids=pids, exclude_pids=exclude_pids)
            case Finish(command_id):
                self._books.finish_stop(command_id)
            case Fail(command_id, reason):
                self._books.fail(command_id, reason)

    async def _take(self, action: StartRun) -> None:
        command_id, config = action.command_id, action.config
        if self._draining:
            if not self._is_left(command_id, config):
                self._books.fail(command_id, _SHUT_DOWN_BEFORE)
        elif config.start_at is not None and config.start_at - datetime.now(UTC) <= MAX_AHEAD:
            self._wait(action, Beginning(config.start_at))
        elif (reason := _TOO_FAR if config.start_at else await self._gate.refusal(config)) is not None:
            self._forget(command_id)
            self._books.fail(command_id, reason)
        else:
            self._start(action)

    def _start(self, action: StartRun) -> None:
        self._gate.begin(action.command_id, action.config)
        run = self._run_of(action)
        if action.waits and self._has_one_off():
            log.info("run waits for the one-off run", command_id=action.command_id)
            run.pause()
        task = asyncio.create_task(self._see_through(run), name=f"run {action.command_id}")
        self._runs[action.command_id] = (run, task)

    def _run_of(self, action: StartRun, beginning: Beginning | None = None) -> Run:
        return Run(
            action.command_id,
            action.config,
            title=f"{self._reporter.service_name} on {self._reporter.hostname}",
            tools=self._tools,
            on_start=lambda: self._begin(action.command_id),
            beginning=beginning,
        )

    def _wait(self, action: StartRun, beginning: Beginning) -> None:
        """Let a start await its moment; what runs goes on until then."""
        command_id = action.command_id
        log.info("run awaits its moment", command_id=command_id, start_at=beginning.moment.isoformat())
        run = self._run_of(action, beginning)
        self._waiting.add(command_id)
        task = asyncio.create_task(self._at_its_moment(action, run, beginning), name=f"run {command_id}")
        self._runs[command_id] = (run, task)

    async def _at_its_moment(self, action: StartRun, run: Run, beginning: Beginning) -> None:
        command_id, over = action.command_id, None
        try:
            if not await until(beginning.moment - PREPARE, run.over):
                self._waiting.discard(command_id)
                if (reason := await self._gate.refusal(action.config)) is not None:
                    self._close(command_id)
                    self._books.fail(command_id, reason)
                    return
                self._gate.begin(command_id, action.config)
                over = asyncio.create_task(self._hand_over(action, run, beginning), name=f"hand over to {command_id}")
            await self._see_through(run, action.config)
        except Exception as error:  # as in `work`: the operator is told, the others go on
            log.exception("command broke off", action="StartRun")
            self._close(command_id)
            self._books.fail(command_id, f"it broke off: {type(error).__name__}: {error}")
        finally:
            run.over.set()  # one that has ended before its moment takes nobody's place
            if over is not None:
                await over

    async def _hand_over(self, action: StartRun, run: Run, beginning: Beginning) -> None:
        """At the moment, let what ran until then make room."""
        if await until(beginning.moment, run.over):
            return
        view = self._intended.get(action.command_id)
        if view is not None:
            self._intended[action.command_id] = replace(view, waits=False)
        if action.waits and self._has_one_off():
            run.pause()
        try:
            for command_id in action.replaces:
                await self._stop(command_id, told=f"superseded by {action.command_id}")
            for command_id in action.pauses:
                await self._pause(command_id)
        finally:
            beginning.released.set()

    def _has_one_off(self) -> bool:
        """Whether a one-off run is on, or about to be."""
        return any(not view.continuous and not view.waits for view in self._intended.values())

    def _is_left(self, command_id: str, config: StartConfig) -> bool:
        """Whether a command is left to the next process: its moment has not come."""
        ahead = config.start_at is not None and config.start_at > datetime.now(UTC)
        return self._draining and ahead and command_id not in self._begun

    def _close(self, command_id: str) -> None:
        self._waiting.discard(command_id)
        self._runs.pop(command_id, None)
        if command_id in self._begun:
            self._begun.remove(command_id)
        self._forget(command_id)

    async def _see_through(self, run: Run, awaited: StartConfig | None = None) -> None:
        command_id = run.view.command_id
        ending = await run.execute()
        if awaited is not None and self._is_left(command_id, awaited):
            self._close(command_id)
            self._gate.finish(command_id)
            return
        if awaited is not None and run.over.is_set() and command_id not in self._begun and ending.interrupted is None:
            ending = replace(ending, interrupted=_STOPPED_BEFORE)
        if self._draining and ending.error is None and ending.samples == 0:
            ending = replace(ending, error=_SHUT_DOWN_TOO_SOON)
        self._close(command_id)
        self._books.finish_run(command_id, ending)
        self._gate.finish(command_id)

    def _forget(self, command_id: str) -> None:
        """The command runs no more, or never will: what waited for it goes on, unless another one takes its place."""
        self._intended.pop(command_id, None)
        if not self._has_one_off():
            for run, _ in self._runs.values():
                run.resume()

    async def _pause(self, command_id: str) -> None:
        if command_id not in self._runs:
            return  # it has ended by itself meanwhile
        run, _ = self._runs[command_id]
        log.info("run rests", command_id=command_id)
        run.pause()
        await run.rests()

    async def _stop(self, command_id: str, *, told: str | None) -> None:
        if command_id not in self._runs:
            return  # it has ended by itself meanwhile
        run, task = self._runs[command_id]
        run.stop(told=told)
        await task

    def _begin(self, command_id: str) -> None:
        log.info("run begun", command_id=command_id)
        self._begun.append(command_id)
        self._books.start(command_id)
