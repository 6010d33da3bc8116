"""Compaction: what a host's open requests mean for it now. Pure: a function of values, with its laws as property tests.

Words: a *request* is what somebody asked for, open until it has an outcome; the *effective command* is the one thing
the host is to do. Starts of one profiling mode fold into one command; another mode waits its turn. A stop narrows the
starts that came before it. Seconds are floats, moments are seconds since the epoch by the server's clock.
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import NAMESPACE_OID, uuid5

from broker.effective import GRACE_SECONDS, Compacted, Effective, Ending, OpenRequest
from protocol.commands import ProfilingMode, StartCommand, StartConfig, StopCommand
from protocol.lifecycle import State
from protocol.requests import Priority

JOIN_TOLERANCE_SECONDS: Final = 1.0
"""A run that ends at most this much before a new wish would is not restarted for it."""
MOST_OPEN: Final = 2_000
"""Starts, and stops, that may be open on one host: all of them are read, folded and told of at every change."""
MOST_ARGS_BYTES: Final = 256 * 1024
"""What the additional_args of a host's open starts may weigh: their union goes into every reply with the command."""
RANK: Final[dict[Priority, int]] = {"low": 0, "normal": 1, "urgent": 2}


def compact(open_requests: Sequence[OpenRequest], previous: Effective | None, now: float) -> Compacted:
    """Fold the open requests of a host into its effective command.

    Args:
        open_requests: all that have no outcome yet; new ones carry `seq` -1 and stand in the order of their arrival.
        previous: the command that is effective, or was last.
        now: seconds since the epoch, the server's clock.

    Returns:
        The requests still open, the outcome of each that closes, and what to install. Compacting the result again at
        the same moment changes nothing.
    """
    known = _numbered(open_requests)
    active = previous if previous is not None and previous.is_open else None
    endings: list[Ending] = []

    known, active, close = _end_by_the_clocks(known, active, now, endings)
    known = _within_bounds(known, endings)
    before = _wanted_pids(known, active)
    known = _apply_stops(known, active, endings)
    was_narrowed = _wanted_pids(known, active) != before
    starts = [request for request in known if request.command_type == "start"]
    stops = [request for request in known if request.command_type == "stop"]

    if starts:
        mode = _mode_to_run(starts, active)
        members = [request for request in starts if request.profiling_mode == mode]
        waiting = [request for request in starts if request.profiling_mode != mode]
        may_stay = not was_narrowed  # stopped and asked for anew is not the same run: the agent must act
        outcome = _fold_starts(members, stops, active, previous, now, endings, may_stay=may_stay)
    elif stops:
        waiting = []
        outcome = _fold_stops(stops, active, previous)
    else:
        waiting = []
        outcome = _Folded(members=())
        if active is not None and close is None:
            # Everybody who asked for it is gone; compaction does not stop a host that nobody asked to stop.
            close = (endings[-1].outcome if endings else State.CANCELLED, "no request is left in it")

    if outcome.install is not None and active is not None:
        close = (State.SUPERSEDED, f"by generation {outcome.install.generation}")
    queued = tuple(request.request_id for request in waiting if request.state is not State.QUEUED)
    still_open = (*outcome.members, *(replace(request, state=State.QUEUED) for request in waiting))
    effective = outcome.install or outcome.keep
    return Compacted(
        open_requests=tuple(sorted(still_open, key=lambda request: request.seq)),
        endings=tuple(endings),
        close=close,
        install=outcome.install,
        keep=outcome.keep,
        joined=outcome.joined,
        queued=queued,
        wake_at=_next_look(still_open, effective),
    )


# --- steps, in the order they are taken -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Folded:
    members: tuple[OpenRequest, ...]
    install: Effective | None = None
    keep: Effective | None = None
    joined: tuple[str, ...] = ()


def _numbered(open_requests: Iterable[OpenRequest]) -> list[OpenRequest]:
    """Old ones in their order, then new ones in theirs."""
    old = sorted((request for request in open_requests if request.seq >= 0), key=lambda request: request.seq)
    first = old[-1].seq + 1 if old else 0
    new = [request for request in open_requests if request.seq < 0]
    return [*old, *(replace(request, seq=first + index) for index, request in enumerate(new))]


def _end_by_the_clocks(
    known: list[OpenRequest], active: Effective | None, now: float, endings: list[Ending]
) -> tuple[list[OpenRequest], Effective | None, tuple[State, str] | None]:
    """First clock: not started by then. Second clock: ran longer than asked, and grace."""
    running: set[str] = set()
    close: tuple[State, str] | None = None
    if active is not None and active.state is State.RUNNING:
        running = {*active.request_ids, *active.stop_ids}
        limit = active.run_limit
        if limit is not None and now >= limit:
            if active.closed_by_clock:
                close = (State.COMPLETED, "closed by the clock: the agent reported only the start")
            else:
                close = (State.TIMED_OUT, f"no completion {GRACE_SECONDS:.0f} s after the run should have ended")
            over = tuple(request.request_id for request in known if request.request_id in running)
            if over:
                endings.append(Ending(over, active.command_id, *close))
            known = [request for request in known if request.request_id not in running]
            active = None
    late = [request for request in known if request.request_id not in running and now >= request.expires_at]
    endings.extend(
        Ending((request.request_id,), _command_of(request, active), State.EXPIRED, "not started within expires_in")
        for request in late
    )
    gone = {request.request_id for request in late}
    return [request for request in known if request.request_id not in gone], active, close


def _within_bounds(known: list[OpenRequest], endings: list[Ending]) -> list[OpenRequest]:
    """End newcomers for which one host has no room, so that nobody can hold up every host by asking much of one."""
    counts = {"start": 0, "stop": 0}
    weight = 0
    kept: list[OpenRequest] = []
    for request in known:
        args = len(json.dumps(request.additional_args)) if request.additional_args else 0
        is_new = request.state is State.SUBMITTED
        if is_new and counts[request.command_type] >= MOST_OPEN:
            reason = f"the host has {MOST_OPEN} open {request.command_type} requests"
        elif is_new and args and weight + args > MOST_ARGS_BYTES:
            reason = f"the additional_args of the host's open requests have {weight} of {MOST_ARGS_BYTES} bytes already"
        else:
            counts[request.command_type] += 1
            weight += args
            kept.append(request)
            continue
        endings.append(Ending((request.request_id,), request.command_id, State.CANCELLED, reason))
    return kept


def _command_of(request: OpenRequest, active: Effective | None) -> str:
    if active is not None and request.request_id in (*active.request_ids, *active.stop_ids):
        return active.command_id
    return request.command_id


def _apply_stops(known: list[OpenRequest], active: Effective | None, endings: list[Ending]) -> list[OpenRequest]:
    """Let each new stop narrow or close the starts before it."""
    open_now: list[OpenRequest] = []
    for request in known:
        if request.command_type == "start" or request.state is not State.SUBMITTED:
            open_now.append(request)
            continue
        narrowed = [_narrow(start, request) if start.command_type == "start" else start for start in open_now]
        closed = tuple(start.request_id for start in narrowed if start.pids is not None and not start.pids)
        if closed:
            by = active.command_id if active is not None else request.command_id
            endings.append(Ending(closed, by, State.STOPPED, f"by request {request.request_id}"))
        open_now = [start for start in narrowed if start.request_id not in closed]
        open_now.append(replace(request, state=State.PENDING))
    return open_now


def _wanted_pids(known: Iterable[OpenRequest], active: Effective | None) -> dict[str, tuple[Any, ...]]:
    """Which processes the requests in the effective command want: differs once a stop has taken something from it."""
    ids = active.request_ids if active is not None else ()
    return {request.request_id: (request.pids, request.exclude_pids) for request in known if request.request_id in ids}


def _narrow(start: OpenRequest, stop: OpenRequest) -> OpenRequest:
    """A start without what the stop names; nothing left shows as an empty set of pids."""
    if stop.pids is None:
        return replace(start, pids=frozenset())
    if start.pids is None:
        return replace(start, exclude_pids=start.exclude_pids | stop.pids)
    return replace(start, pids=start.pids - stop.pids)


def _mode_to_run(starts: Sequence[OpenRequest], active: Effective | None) -> ProfilingMode:
    """The mode that runs goes on while anybody wants it; then the most urgent, then the oldest request has its turn."""
    if active is not None and isinstance(active.command, StartCommand):
        mode = active.command.combined_config.profiling_mode
        if any(start.profiling_mode == mode for start in starts):
            return mode
    return min(starts, key=lambda start: (-RANK[start.priority], start.seq)).profiling_mode


def _fold_starts(
    members: Sequence[OpenRequest],
    stops: Sequence[OpenRequest],
    active: Effective | None,
    previous: Effective | None,
    now: float,
    endings: list[Ending],
    *,
    may_stay: bool,
) -> _Folded:
    """One command out of the starts of one mode: joined when the agent need not act, else the next generation."""
    left = {request.request_id: _seconds_left(request, active, now) for request in members}
    config = _config_of(members, left)
    if may_stay and active is not None and _is_covered(config, left, active, now):
        return _join(members, stops, left, active, now, endings)
    generation = (previous.generation if previous is not None else 0) + 1
    command_id, leader = _name_of((*members, *stops), generation)
    install = Effective(
        command_id=command_id,
        generation=generation,
        command=StartCommand(combined_config=config),
        state=State.PENDING,
        request_ids=tuple(request.request_id for request in members),
        stop_ids=tuple(stop.request_id for stop in stops),
    )
    carried = [
        replace(
            request,
            state=State.PENDING,
            expires_at=_to_be_started_by(request, active, now),
            remaining=_finite(left[request.request_id]),
            joined_at=None,
        )
        for request in members
    ]
    return _Folded(_with_leader((*carried, *stops), leader), install=install)


def _join(
    members: Sequence[OpenRequest],
    stops: Sequence[OpenRequest],
    left: dict[str, float],
    active: Effective,
    now: float,
    endings: list[Ending],
) -> _Folded:
    """The effective command already does what is wanted: newcomers are served by it, the agent need not act."""
    running = active.state is State.RUNNING
    newcomers = [request.request_id for request in members if request.request_id not in active.request_ids]
    kept = [
        replace(
            request,
            state=State.PENDING,
            remaining=_finite(left[request.request_id]),
            joined_at=now if running else None,
        )
        if request.request_id in newcomers
        else request
        for request in members
    ]
    # A stop that changes nothing about what runs has nothing to wait for.
    carried = [stop for stop in stops if stop.request_id in active.stop_ids]
    endings.extend(
        Ending((stop.request_id,), stop.command_id, State.COMPLETED, "nothing that it names was being profiled")
        for stop in stops
        if stop not in carried
    )
    keep = replace(
        active,
        request_ids=tuple(request.request_id for request in members),
        stop_ids=tuple(stop.request_id for stop in carried),
    )
    return _Folded((*kept, *carried), keep=keep, joined=tuple(newcomers))


def _fold_stops(stops: Sequence[OpenRequest], active: Effective | None, previous: Effective | None) -> _Folded:
    """Nothing is left to profile: the host stops."""
    if active is not None and isinstance(active.command, StopCommand):
        ids = tuple(stop.request_id for stop in stops)
        joined = tuple(request_id for request_id in ids if request_id not in active.request_ids)
        return _Folded(tuple(stops), keep=replace(active, request_ids=ids, stop_ids=()), joined=joined)
    generation = (previous.generation if previous is not None else 0) + 1
    command_id, leader = _name_of(stops, generation)
    install = Effective(
        command_id=command_id,
        generation=generation,
        command=StopCommand(),
        state=State.PENDING,
        request_ids=tuple(stop.request_id for stop in stops),
    )
    return _Folded(_with_leader(stops, leader), install=install)


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


def _seconds_left(request: OpenRequest, active: Effective | None, now: float) -> float:
    """What this request still wants, of its own seconds."""
    if request.continuous:
        return math.inf
    wanted = request.remaining if request.remaining is not None else float(request.duration)
    if active is None or active.started_at is None or request.request_id not in active.request_ids:
        return wanted
    return max(0.0, wanted - (now - max(active.started_at, request.joined_at or 0.0)))


def _to_be_started_by(request: OpenRequest, active: Effective | None, now: float) -> float:
    """The first clock of a request in a new command: it starts anew for one that was running already."""
    if active is None or active.state is not State.RUNNING or request.request_id not in active.request_ids:
        return request.expires_at
    return max(request.expires_at, now + (request.expires_at - request.accepted_at))


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


def _is_covered(config: StartConfig, left: dict[str, float], active: Effective, now: float) -> bool:
    """Whether what is effective already does all that is wanted, for long enough.

    Of a run, only newcomers are measured: who is in it was covered on coming, and a run past its end that has not been
    reported yet is not begun again for them.
    """
    if not isinstance(active.command, StartCommand):
        return False
    current = active.command.combined_config
    if config.model_copy(update={"duration": current.duration}) != current:
        return False
    if config.continuous or active.state is not State.RUNNING:
        return config.duration == current.duration
    wanted = [seconds for request_id, seconds in left.items() if request_id not in active.request_ids]
    return not wanted or max(wanted) <= active.remaining(now) + JOIN_TOLERANCE_SECONDS


def _next_look(still_open: Sequence[OpenRequest], effective: Effective | None) -> float | None:
    """The next moment at which a clock may end something."""
    running = set(effective.request_ids) if effective is not None and effective.state is State.RUNNING else set()
    moments = [request.expires_at for request in still_open if request.request_id not in running]
    if effective is not None and effective.run_limit is not None:
        moments.append(effective.run_limit)
    return min(moments, default=None)
