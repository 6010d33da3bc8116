"""What compaction works on: the open requests of a host, its effective command, and what becomes of them. Pure values.

Seconds are floats, moments are seconds since the epoch by the server's clock.
"""

import math
from dataclasses import dataclass, field
from typing import Any, Final

from protocol.commands import ProfilingMode, StartCommand, StopCommand
from protocol.lifecycle import OPEN, State
from protocol.requests import CommandType, Priority

GRACE_SECONDS: Final = 30.0
"""How much longer than asked a run may take until the second clock ends it: starting, saving, reporting."""


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """One request on one host that has no outcome yet.

    `pids` None means the whole host, less `exclude_pids`. `remaining` is what is left of its own seconds, as of the
    moment it was folded into the command it is in; `joined_at` is set when it joined a run that was on already.
    """

    request_id: str
    command_id: str
    command_type: CommandType
    accepted_at: float
    expires_at: float
    seq: int = -1
    profiling_mode: ProfilingMode = "cpu"
    duration: int = 60
    frequency: int = 11
    continuous: bool = False
    pids: frozenset[int] | None = None
    exclude_pids: frozenset[int] = frozenset()
    additional_args: dict[str, Any] = field(default_factory=dict)
    priority: Priority = "normal"
    remaining: float | None = None
    joined_at: float | None = None
    led: bool = False
    """Whether its command id has named a command of this host already: an agent never runs the same id twice."""
    start_within: float = 900.0
    """Its `expires_in`: once it has run and was put off, the first clock gives it as long anew."""
    not_before: float | None = None
    """The moment at which it may start, where all its hosts are to start together."""
    moved_at: float = 0.0
    """When its processes were looked up last, of a request that follows workloads: a later look replaces them."""
    has_run: bool = False
    """It ran until something urgent took the host, or its processes left: it resumes with what remains, and does not
    expire till then."""
    traceparent: str = ""
    """The trace that it was submitted in, by W3C Trace Context; none where nobody traces."""
    runs_since: float | None = None
    """It runs on in the command before, until the moment at which its own begins: its seconds are counted from here."""
    state: State = State.SUBMITTED
    """`submitted`, `queued` (another mode runs first) or `pending` (part of the effective command, or was)."""


@dataclass(frozen=True, slots=True)
class Effective:
    """The one command of a host, as stored."""

    command_id: str
    generation: int
    command: StartCommand | StopCommand
    state: State
    request_ids: tuple[str, ...]
    stop_ids: tuple[str, ...] = ()
    """Stops that this command carries out by being narrower than the one before: they complete when it runs."""
    started_at: float | None = None
    closed_by_clock: bool = False
    """An older agent reported only the start: the clock ends it, as completed."""
    displaces: bool = False
    """It was installed over a run that the agent may be at work on until it takes this one."""
    back_at_work: bool = False
    """It is `lost`, and the agent has been heard of since: it is at work, by its own word, and nobody wants that."""

    @property
    def starts_at(self) -> float | None:
        """The moment at which the agent is to begin, where it was told ahead of it."""
        moment = self.command.combined_config.start_at if isinstance(self.command, StartCommand) else None
        return moment.timestamp() if moment is not None else None

    def awaits(self, now: float) -> bool:
        """Whether its moment has not come, and it does not run yet."""
        return self.started_at is None and self.starts_at is not None and self.starts_at > now

    @property
    def is_open(self) -> bool:
        """Whether it has no outcome yet."""
        return self.state in OPEN

    def remaining(self, now: float) -> float:
        """Seconds until the run is over, if it runs; the whole duration if it does not run yet."""
        assert isinstance(self.command, StartCommand)
        config = self.command.combined_config
        if config.continuous:
            return math.inf
        return config.duration - (now - self.started_at if self.started_at is not None else 0.0)

    @property
    def run_limit(self) -> float | None:
        """The moment at which the second clock ends the run; None when nothing limits it."""
        if not isinstance(self.command, StartCommand) or self.started_at is None:
            return None
        config = self.command.combined_config
        if config.continuous:
            return None
        return self.started_at + config.duration + (0.0 if self.closed_by_clock else GRACE_SECONDS)


@dataclass(frozen=True, slots=True)
class Ending:
    """The outcome of requests that close here. The command they were in, if any, is named for the record."""

    request_ids: tuple[str, ...]
    command_id: str
    outcome: State
    reason: str


@dataclass(frozen=True, slots=True)
class Compacted:
    """What compaction decided: a command to install, or the effective one to keep, or neither."""

    open_requests: tuple[OpenRequest, ...]
    endings: tuple[Ending, ...] = ()
    close: tuple[State, str] | None = None
    """The outcome of the command that was effective, when it ends here, and why."""
    install: Effective | None = None
    keep: Effective | None = None
    """The effective command as it stays, with the requests that it serves from now on; the agent need not act."""
    joined: tuple[str, ...] = ()
    """Requests that came into the command that is kept."""
    queued: tuple[tuple[str, str], ...] = ()
    """Requests that wait from now on, and for what."""
    wake_at: float | None = None
