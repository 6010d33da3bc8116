"""What to do about an answer. Pure: the ledger's history, the current run and the answer in, actions out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.history import History, Kind, Stage
from agent.replies import Defaults, Reply, Unreadable, read_command
from protocol.commands import StartCommand, StartConfig, StopCommand


@dataclass(frozen=True)
class RunView:
    """A run under way, or about to be: whose it is, what it samples (`pids` None: the whole host), and by what.

    `continuous` is its slot: there is at most one run of each kind. One that `waits` for its moment is in nobody's way.
    """

    command_id: str
    pids: frozenset[int] | None
    exclude_pids: frozenset[int] = frozenset()
    continuous: bool = False
    profilers: frozenset[str] = frozenset()
    waits: bool = False

    @classmethod
    def of(cls, command_id: str, config: StartConfig, profilers: frozenset[str] = frozenset()) -> "RunView":
        """What a start asks for."""
        return cls(
            command_id,
            pids=frozenset(config.pids) if config.pids is not None else None,
            exclude_pids=frozenset(config.exclude_pids or ()),
            continuous=config.continuous,
            profilers=profilers,
            waits=config.start_at is not None,
        )


@dataclass(frozen=True)
class Receive:
    """Write the id to the ledger and acknowledge it; first of all actions on a new command."""

    command_id: str
    kind: Kind
    awaits: StartConfig | None = None
    """What the ledger is to hold of a start that awaits its moment."""


@dataclass(frozen=True)
class Acknowledge:
    """Name a command again that the server offers again."""

    command_id: str


@dataclass(frozen=True)
class ReportAgain:
    """Send the completion once more: the server took it and has lost it since."""

    command_id: str


@dataclass(frozen=True)
class StartRun:
    """Sample; with `waits`, once the one-off run that uses the same profilers has ended.

    With a `start_at` not before that: then the runs that it `replaces` are stopped, and those that it `pauses` rest.
    """

    command_id: str
    config: StartConfig
    waits: bool = False
    replaces: tuple[str, ...] = ()
    pauses: tuple[str, ...] = ()


@dataclass(frozen=True)
class PauseRun:
    """Let the continuous run rest until the one-off run that follows has ended; it goes on with what remained."""

    command_id: str


@dataclass(frozen=True)
class StopRun:
    """End the run and keep what it sampled. `superseded_by` is the start that takes its place."""

    command_id: str
    superseded_by: str | None = None


@dataclass(frozen=True)
class NarrowRun:
    """Go on with fewer processes for the time that is left."""

    command_id: str
    pids: frozenset[int] | None
    exclude_pids: frozenset[int]


@dataclass(frozen=True)
class Finish:
    """A stop has been carried out."""

    command_id: str


@dataclass(frozen=True)
class Fail:
    """The command cannot be carried out."""

    command_id: str
    reason: str


@dataclass(frozen=True)
class Ignore:
    """Nothing is to be done."""

    reason: str


Action = Receive | Acknowledge | ReportAgain | StartRun | PauseRun | StopRun | NarrowRun | Finish | Fail | Ignore


def plan(
    reply: Reply,
    *,
    history: History,
    runs: Sequence[RunView],
    hostname: str,
    defaults: Defaults,
    profilers_of: Callable[[StartConfig], frozenset[str]],
) -> tuple[Action, ...]:
    """The actions an answer asks for, in order. A command the ledger holds is never acted on again.

    Generations are recorded, not compared: a server that lost its data counts from one again, and an agent that
    held out for a larger number would obey nobody.
    """
    if reply.command_id is None or reply.command is None:
        return (Ignore("nothing new"),)
    held = history.get(reply.command_id)
    if held is not None:
        again: tuple[Action, ...] = (Acknowledge(held.command_id),)
        return (*again, ReportAgain(held.command_id)) if held.stage is Stage.SETTLED else again
    try:
        command = read_command(reply.command, hostname=hostname, defaults=defaults)
    except Unreadable as error:
        return Receive(reply.command_id, "unreadable"), Fail(reply.command_id, str(error))
    match command:
        case StartCommand():
            config = command.combined_config
            awaits = config if config.start_at is not None else None
            receive = Receive(reply.command_id, "start", awaits)
            return receive, *_start(reply, config, runs, profilers_of(config))
        case StopCommand():
            return (
                Receive(reply.command_id, "stop"),
                *(action for run in runs for action in _stop(command, run)),
                Finish(reply.command_id),
            )


def _start(reply: Reply, config: StartConfig, runs: Sequence[RunView], profilers: frozenset[str]) -> tuple[Action, ...]:
    """Make room for a run, and begin it.

    A server that counts generations folds all that is asked of the host into one command: what it sends takes the
    place of everything before it, and what that interrupts comes back as a command of its own. Other servers send each
    request as it is: a one-off run lets the continuous one rest, or goes beside it where they share no profiler.
    """
    command_id = reply.command_id or ""
    replaced = [run for run in runs if reply.generation is not None or run.continuous == config.continuous]
    in_the_way = [run for run in runs if run not in replaced and not run.waits and run.profilers & profilers]
    if config.start_at is not None:
        # What runs goes on until then; what waits is superseded now.
        waits = config.continuous and bool(in_the_way)
        return *(StopRun(run.command_id, superseded_by=command_id) for run in replaced if run.waits), StartRun(
            command_id,
            config,
            waits=waits,
            replaces=tuple(run.command_id for run in replaced if not run.waits),
            pauses=() if waits else tuple(run.command_id for run in in_the_way),
        )
    stops = (StopRun(run.command_id, superseded_by=command_id) for run in replaced)
    if reply.generation is not None:
        return *stops, StartRun(command_id, config)
    if config.continuous:
        return *stops, StartRun(command_id, config, waits=bool(in_the_way))
    return *stops, *(PauseRun(run.command_id) for run in in_the_way), StartRun(command_id, config)


def _stop(command: StopCommand, run: RunView) -> tuple[Action, ...]:
    if command.combined_config.stop_level == "host":
        return (StopRun(run.command_id),)
    named = frozenset(command.combined_config.pids or ())
    if run.pids is None:
        return (NarrowRun(run.command_id, pids=None, exclude_pids=run.exclude_pids | named),)
    left = run.pids - named
    if left == run.pids:
        return ()
    return (NarrowRun(run.command_id, pids=left, exclude_pids=run.exclude_pids) if left else StopRun(run.command_id),)
