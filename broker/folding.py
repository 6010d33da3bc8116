"""Folding: one command out of the open starts of one mode, or out of the open stops. Pure, as all of compaction."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final
from uuid import NAMESPACE_OID, uuid5

from broker.effective import Effective, Ending, OpenRequest
from protocol.commands import StartCommand, StartConfig, StopCommand
from protocol.lifecycle import State

JOIN_TOLERANCE_SECONDS: Final = 1.0
"""A run that ends at most this much before a new wish would is not restarted for it, nor for one that was cancelled."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How the host stands when its requests are folded: what was effective last, what still is, and the time."""

    previous: Effective | None
    active: Effective | None
    now: float

    @property
    def next_generation(self) -> int:
        """The generation of a command that is installed now."""
        return (self.previous.generation if self.previous is not None else 0) + 1

    @property
    def runs(self) -> bool:
        """Whether the agent has said that it is at work on the active command."""
        return self.active is not None and self.active.state is State.RUNNING


@dataclass(frozen=True, slots=True)
class Folded:
    """What folding gives: a command to install, or the active one to keep, with the requests in it."""

    members: tuple[OpenRequest, ...] = ()
    install: Effective | None = None
    keep: Effective | None = None
    joined: tuple[str, ...] = ()
    endings: tuple[Ending, ...] = ()


def fold_starts(
    members: Sequence[OpenRequest],
    stops: Sequence[OpenRequest],
    standing: Standing,
    *,
    start_at: float | None = None,
    was_narrowed: bool = False,
    was_cancelled: bool = False,
) -> Folded:
    """One command out of the starts of one mode: joined when the agent need not act, else the next generation.

    Args:
        members: the open starts of the mode whose turn it is.
        stops: the open stops, which a narrower command carries out.
        standing: how the host stands.
        start_at: the moment to come at which they begin; what runs goes on until then.
        was_narrowed: a stop took processes from what is active: stopped and asked for anew is not the same run.
        was_cancelled: somebody left what is active: it may not go on for longer than the others want.
    """
    active = standing.active
    left = {request.request_id: seconds_left(request, standing, as_of=start_at) for request in members}
    config = _config_of(members, left)
    if start_at is not None:
        config = config.model_copy(update={"start_at": datetime.fromtimestamp(start_at, UTC)})
    may_stay = not was_narrowed and _is_covered(config, left, standing)
    if active is not None and may_stay and (not was_cancelled or _is_needed(left, active, standing.now)):
        return _join(members, stops, left, active, standing)
    generation = standing.next_generation
    command_id, leader = _name_of((*members, *stops), generation)
    install = Effective(
        command_id=command_id,
        generation=generation,
        command=StartCommand(combined_config=config),
        state=State.PENDING,
        request_ids=tuple(request.request_id for request in members),
        stop_ids=tuple(stop.request_id for stop in stops),
    )
    carried = [_carried(request, standing, start_at) for request in members]
    return Folded(_with_leader((*carried, *stops), leader), install=install)


def fold_stops(stops: Sequence[OpenRequest], standing: Standing) -> Folded:
    """Nothing is left to profile: the host stops."""
    active = standing.active
    if active is not None and isinstance(active.command, StopCommand):
        ids = tuple(stop.request_id for stop in stops)
        joined = tuple(request_id for request_id in ids if request_id not in active.request_ids)
        return Folded(tuple(stops), keep=replace(active, request_ids=ids, stop_ids=()), joined=joined)
    command_id, leader = _name_of(stops, standing.next_generation)
    return Folded(_with_leader(stops, leader), install=_stop(command_id, standing, [each.request_id for each in stops]))


def stop_for_nobody(active: Effective, standing: Standing) -> Folded:
    """A stop that no request asked for: those who wanted the run have left it, and the agent may be at work on it."""
    command_id = str(uuid5(NAMESPACE_OID, f"{active.command_id}/{standing.next_generation}"))
    return Folded(install=_stop(command_id, standing, []))


def _stop(command_id: str, standing: Standing, request_ids: Sequence[str]) -> Effective:
    return Effective(
        command_id=command_id,
        generation=standing.next_generation,
        command=StopCommand(),
        state=State.PENDING,
        request_ids=tuple(request_ids),
    )


def seconds_left(request: OpenRequest, standing: Standing, *, as_of: float | None = None) -> float:
    """What this request still wants of its own seconds now, or will want at a moment to come if what runs goes on."""
    active, now = standing.active, standing.now if as_of is None else as_of
    if request.continuous:
        return math.inf
    wanted = request.remaining if request.remaining is not None else float(request.duration)
    if active is None or request.request_id not in active.request_ids:
        return wanted
    if request.runs_since is not None:
        wanted -= max(0.0, min(now, active.starts_at or now) - request.runs_since)
    if active.started_at is not None:
        wanted = max(0.0, wanted - (standing.now - max(active.started_at, request.joined_at or 0.0)))
        wanted -= now - standing.now
    return max(0.0, wanted)


def _carried(request: OpenRequest, standing: Standing, start_at: float | None) -> OpenRequest:
    """A request as it is kept with a new command. Up to the moment of that, it runs on in the one before."""
    carried = replace(
        request,
        state=State.PENDING,
        expires_at=_to_be_started_by(request, standing, start_at),
        joined_at=None,
        has_run=False,
    )
    if start_at is not None and not standing.runs and runs_on(request, standing):
        return carried  # its seconds are counted from where they were
    goes_on = start_at is not None and runs_on(request, standing)
    left = _finite(seconds_left(request, standing))
    return replace(carried, remaining=left, runs_since=standing.now if goes_on else None)


def is_in(request: OpenRequest, standing: Standing) -> bool:
    """Whether a request is part of the command that is effective."""
    return standing.active is not None and request.request_id in standing.active.request_ids


def runs_on(request: OpenRequest, standing: Standing) -> bool:
    """Whether a request is served now: by the effective command, or by the one before while that one waits."""
    return is_in(request, standing) and (standing.runs or request.runs_since is not None)


def _join(
    members: Sequence[OpenRequest],
    stops: Sequence[OpenRequest],
    left: dict[str, float],
    active: Effective,
    standing: Standing,
) -> Folded:
    """The effective command already does what is wanted: newcomers are served by it, the agent need not act."""
    newcomers = [request.request_id for request in members if request.request_id not in active.request_ids]
    kept = [
        replace(
            request,
            state=State.PENDING,
            remaining=_finite(left[request.request_id]),
            joined_at=standing.now if standing.runs else None,
            has_run=False,
        )
        if request.request_id in newcomers
        else request
        for request in members
    ]
    # A stop that changes nothing about what runs has nothing to wait for.
    carried = [stop for stop in stops if stop.request_id in active.stop_ids]
    endings = tuple(
        Ending((stop.request_id,), stop.command_id, State.COMPLETED, "nothing that it names was being profiled")
        for stop in stops
        if stop not in carried
    )
    keep = replace(
        active,
        request_ids=tuple(request.request_id for request in members),
        stop_ids=tuple(stop.request_id for stop in carried),
    )
    return Folded((*kept, *carried), keep=keep, joined=tuple(newcomers), endings=endings)


def _name_of(requests: Sequence[OpenRequest], generation: int) -> tuple[str, str | None]:
    """The command id of the newest request, and which request that is; an id that was used already is not used again.

    When all were (the newer ones of a fold have ended since), a new one is derived: the agent must act once more.
    """
    fresh = [request for request in requests if not request.led]
    if fresh:
        newest = max(fresh, key=lambda request: request.seq)
        return newest.command_id, newest.request_id
    newest = max(requests, key=lambda request: request.seq)
    return str(uuid5(NAMESPACE_OID, f"{newest.command_id}/{generation}")), None


def _with_leader(requests: Sequence[OpenRequest], leader: str | None) -> tuple[OpenRequest, ...]:
    return tuple(replace(request, led=request.led or request.request_id == leader) for request in requests)


def _to_be_started_by(request: OpenRequest, standing: Standing, start_at: float | None) -> float:
    """The first clock of a request in a new command: it starts anew for one that was running already."""
    if not (request.has_run or runs_on(request, standing)):
        return request.expires_at
    return max(request.expires_at, (standing.now if start_at is None else start_at) + request.start_within)


def _finite(seconds: float) -> float | None:
    return seconds if math.isfinite(seconds) else None


def _config_of(members: Sequence[OpenRequest], left: dict[str, float]) -> StartConfig:
    """The fold: the larger frequency and duration, all pids, a whole-host request absorbs pids, a later key wins.

    A key that is null is an absent key, here as in every body: it would not come back from the store either.
    """
    whole_host = [request for request in members if request.pids is None]
    named = frozenset[int]().union(*(request.pids or () for request in members))
    excluded = (
        frozenset.intersection(*(request.exclude_pids for request in whole_host)) - named
        if whole_host
        else frozenset[int]()
    )
    continuous = any(request.continuous for request in members)
    if continuous:
        duration = max(request.duration for request in members if request.continuous)
    else:
        duration = max(1, math.ceil(max(left.values())))
    extra: dict[str, Any] = {}
    for request in members:
        extra = _merged(extra, request.additional_args)
    return StartConfig(
        **{key: value for key, value in extra.items() if value is not None},
        duration=duration,
        frequency=max(request.frequency for request in members),
        profiling_mode=members[0].profiling_mode,
        continuous=continuous,
        pids=None if whole_host else sorted(named),
        exclude_pids=sorted(excluded) or None,
    )


def _merged(older: dict[str, Any], newer: dict[str, Any]) -> dict[str, Any]:
    """Both, key by key, all the way down; where they differ the newer one wins."""
    both = dict(older)
    for key, value in newer.items():
        mine = both.get(key)
        both[key] = _merged(mine, value) if isinstance(mine, dict) and isinstance(value, dict) else value
    return both


def _is_covered(config: StartConfig, left: dict[str, float], standing: Standing) -> bool:
    """Whether what is effective already does all that is wanted, for long enough.

    Of a run, only newcomers are measured: who is in it was covered on coming, and a run past its end that has not been
    reported yet is not begun again for them.
    """
    active = standing.active
    if active is None or not isinstance(active.command, StartCommand):
        return False
    current = active.command.combined_config
    if config.start_at is None and active.awaits(standing.now):
        return False
    begins = current.start_at if config.start_at is None else config.start_at
    if config.model_copy(update={"duration": current.duration, "start_at": begins}) != current:
        return False
    if config.continuous or not standing.runs:
        return config.duration == current.duration
    wanted = [seconds for request_id, seconds in left.items() if request_id not in active.request_ids]
    return not wanted or max(wanted) <= active.remaining(standing.now) + JOIN_TOLERANCE_SECONDS


def _is_needed(left: dict[str, float], active: Effective, now: float) -> bool:
    """Whether somebody still wants what is effective for as long as it would go on."""
    return max(left.values()) + JOIN_TOLERANCE_SECONDS >= active.remaining(now)
