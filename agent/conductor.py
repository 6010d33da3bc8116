"""Carries out what the planner says, one thing after another.

`obey` is called with every answer and does at once what must come first: the ledger, then the ack. What takes time goes
through a queue to `work`, so that heartbeats go on while a run winds up.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

import structlog
from structlog.typing import FilteringBoundLogger

from agent.books import Books
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

log: FilteringBoundLogger = structlog.get_logger()

_SHUT_DOWN: Final = "the agent was shut down while it ran"
_SHUT_DOWN_BEFORE: Final = "the agent was shut down before it began"
_SHUT_DOWN_TOO_SOON: Final = "no sample had been taken yet"


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
        """Whether a run is on."""
        return bool(self._runs)

    def end_runs(self, why: str) -> None:
        """End what runs, for the host's sake; it is reported failed with the reason."""
        for run, _ in self._runs.values():
            run.end(why)

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
            case (Receive(command_id, kind), *rest):
                log.info("command received", command_id=command_id, kind=kind, generation=reply.generation)
                if self._books.receive(command_id, kind):
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
        """Stop the runs, keep their samples, and end `work` once everything queued has its end in the books."""
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
            case StartRun(command_id) if self._draining:
                self._books.fail(command_id, _SHUT_DOWN_BEFORE)
            case StartRun(command_id, config):
                if (reason := await self._gate.refusal(config)) is not None:
                    self._forget(command_id)
                    self._books.fail(command_id, reason)
                else:
                    self._start(action)
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

    def _start(self, action: StartRun) -> None:
        self._gate.begin(action.command_id, action.config)
        run = Run(
            action.command_id,
            action.config,
            title=f"{self._reporter.service_name} on {self._reporter.hostname}",
            tools=self._tools,
            on_start=lambda: self._begin(action.command_id),
        )
        if action.waits and any(not view.continuous for view in self._intended.values()):
            log.info("run waits for the one-off run", command_id=action.command_id)
            run.pause()
        task = asyncio.create_task(self._see_through(run), name=f"run {action.command_id}")
        self._runs[action.command_id] = (run, task)

    async def _see_through(self, run: Run) -> None:
        command_id = run.view.command_id
        ending = await run.execute()
        if self._draining and ending.error is None and ending.samples == 0:
            ending = replace(ending, error=_SHUT_DOWN_TOO_SOON)
        del self._runs[command_id]
        if command_id in self._begun:
            self._begun.remove(command_id)
        self._forget(command_id)
        self._books.finish_run(command_id, ending)
        self._gate.finish(command_id)

    def _forget(self, command_id: str) -> None:
        """The command runs no more, or never will: what waited for it goes on, unless another one takes its place."""
        self._intended.pop(command_id, None)
        if all(view.continuous for view in self._intended.values()):
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
