"""What tests of compaction say about its values."""

from dataclasses import replace
from typing import Any

from broker.effective import Compacted, Effective
from protocol.commands import StartCommand, StartConfig
from protocol.lifecycle import State
from tests.support.builders import NOW


def installed(compacted: Compacted) -> Effective:
    """The command that is to be installed; there must be one."""
    assert compacted.install is not None, "nothing was installed"
    assert compacted.keep is None
    return compacted.install


def kept(compacted: Compacted) -> Effective:
    """The command that stays as it is; there must be one, and the agent need not act."""
    assert compacted.install is None, "a new generation was installed"
    assert compacted.keep is not None
    return compacted.keep


def running(effective: Effective, *, since: float = NOW, **changes: Any) -> Effective:
    """The command once its run has begun."""
    return replace(effective, state=State.RUNNING, started_at=since, **changes)


def in_state(effective: Effective, state: State) -> Effective:
    """The command as it stands after some heartbeats."""
    return replace(effective, state=state)


def config_of(effective: Effective) -> StartConfig:
    """How to profile; the command must be a start."""
    assert isinstance(effective.command, StartCommand)
    return effective.command.combined_config


def outcomes_of(compacted: Compacted) -> dict[str, State]:
    """Request id -> outcome, for what ended here; each ends once."""
    ended = [(request_id, ending.outcome) for ending in compacted.endings for request_id in ending.request_ids]
    assert len(ended) == len(dict(ended)), "a request ended twice"
    return dict(ended)


def open_ids(compacted: Compacted) -> list[str]:
    """The requests still open, oldest first."""
    return [request.request_id for request in compacted.open_requests]
