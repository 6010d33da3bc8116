"""What to do about an answer. Pure: the ledger's history, the current run and the answer in, actions out."""

from dataclasses import dataclass

from agent.history import History, Kind, Stage
from agent.replies import Defaults, Reply, Unreadable, read_command
from protocol.commands import StartCommand, StartConfig, StopCommand


@dataclass(frozen=True)
class RunView:
    """The run under way, or about to be: whose it is and what it samples (`pids` None: the whole host)."""

    command_id: str
    pids: frozenset[int] | None
    exclude_pids: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Receive:
    """Write the id to the ledger and acknowledge it; first of all actions on a new command."""

    command_id: str
    kind: Kind


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
    """Sample."""

    command_id: str
    config: StartConfig


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


Action = Receive | Acknowledge | ReportAgain | StartRun | StopRun | NarrowRun | Finish | Fail | Ignore


def plan(
    reply: Reply, *, history: History, run: RunView | None, hostname: str, defaults: Defaults
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
            return (
                Receive(reply.command_id, "start"),
                *((StopRun(run.command_id, superseded_by=reply.command_id),) if run else ()),
                StartRun(reply.command_id, command.combined_config),
            )
        case StopCommand():
            return (
                Receive(reply.command_id, "stop"),
                *_stop(command, run),
                Finish(reply.command_id),
            )


def _stop(command: StopCommand, run: RunView | None) -> tuple[Action, ...]:
    if run is None:
        return ()
    if command.combined_config.stop_level == "host":
        return (StopRun(run.command_id),)
    named = frozenset(command.combined_config.pids or ())
    if run.pids is None:
        return (NarrowRun(run.command_id, pids=None, exclude_pids=run.exclude_pids | named),)
    left = run.pids - named
    if left == run.pids:
        return ()
    return (NarrowRun(run.command_id, pids=left, exclude_pids=run.exclude_pids) if left else StopRun(run.command_id),)
