"""Compaction: what a host's open requests mean for it now. Pure: a function of values, with its laws as property tests.

Words: a *request* is what somebody asked for, open until it has an outcome; the *effective command* is the one thing
the host is to do. Starts of one profiling mode fold into one command; another mode waits its turn, unless it is urgent.
A stop narrows the starts that came before it; a cancelled request leaves, and the others are folded anew. Seconds are
floats, moments are seconds since the epoch by the server's clock.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from broker.ahead import Ahead, look_ahead, next_chance
from broker.effective import GRACE_SECONDS, Compacted, Effective, Ending, OpenRequest
from broker.folding import Folded, Standing, fold_starts, fold_stops, runs_on, seconds_left, stop_for_nobody
from protocol.commands import ProfilingMode, StartCommand, StopCommand
from protocol.lifecycle import State
from protocol.requests import Priority

MOST_OPEN: Final = 2_000
"""Starts, and stops, that may be open on one host: all of them are read, folded and told of at every change."""
MOST_ARGS_BYTES: Final = 256 * 1024
"""What the additional_args of a host's open starts may weigh: their union goes into every reply with the command."""
RANK: Final[dict[Priority, int]] = {"low": 0, "normal": 1, "urgent": 2}
MAYBE_AT_WORK: Final = frozenset({State.DELIVERED, State.RECEIVED, State.RUNNING})
"""An agent may be acting on a command that stands so, or be about to: it must be told when nobody wants it any more."""


def compact(
    open_requests: Sequence[OpenRequest],
    previous: Effective | None,
    now: float,
    cancelled: Mapping[str, str] | None = None,
    *,
    lead: float = 0.0,
) -> Compacted:
    """Fold the open requests of a host into its effective command.

    Args:
        open_requests: all that have no outcome yet; new ones carry `seq` -1 and stand in the order of their arrival.
        previous: the command that is effective, or was last.
        now: seconds since the epoch, the server's clock.
        cancelled: request id -> why, for the requests that are withdrawn; others than open ones are of no account.
        lead: how long before its moment the host's agent is told of a start, in seconds; 0 where it cannot wait.

    Returns:
        The requests still open, the outcome of each that closes, and what to install. Compacting the result again at
        the same moment changes nothing.
    """
    active = previous if previous is not None and previous.is_open else None
    known = _Known(_numbered(open_requests))
    close = known.end_by_the_clocks(active, now)
    last = previous
    if close is not None:
        active = last = None  # over: the agent is at work on it no more, or at its own risk
    standing = Standing(previous, active, now)
    known.cancel(cancelled or {}, active)
    known.keep_within_bounds()
    before = _wanted_pids(known.requests, active)
    known.apply_stops(active)
    was_narrowed = _wanted_pids(known.requests, active) != before

    ready, waiting = _ready(known.requests, standing)
    stops = [request for request in known.requests if request.command_type == "stop"]
    is_in_turn = not stops and not was_narrowed
    ahead = look_ahead(ready, waiting, standing, lead, mode=_mode_to_run(ready, active)) if is_in_turn else Ahead()
    ready = sorted((*ready, *ahead.starts), key=lambda start: start.seq)
    waiting = known.let_go([each for each in waiting if each not in ahead.starts], standing)
    mode = _mode_to_run(ready, active)
    members, others = _of_mode(mode, ready)
    if known.has_left_the_run and not _wants_more(members, standing):
        known.end_served(members, standing)  # and it is another mode's turn
        members, others = _of_mode(_mode_to_run(others, active), others)
    put_off = known.put_off(others, standing)

    if members:
        folded = fold_starts(
            members, stops, standing, start_at=ahead.moment, was_narrowed=was_narrowed,
            was_cancelled=known.has_left_the_run,
        )  # fmt: skip
    elif stops:
        folded = fold_stops(stops, standing)
    elif active is not None and not active.request_ids and isinstance(active.command, StopCommand):
        folded = Folded(keep=active)
    elif (unwanted := _at_work_for_nobody(last)) is not None:
        folded = stop_for_nobody(unwanted, standing)
    else:
        folded = Folded()
        if active is not None:
            close = (known.endings[-1].outcome if known.endings else State.CANCELLED, "no request is left in it")

    if folded.install is not None and last is not None:
        if active is not None:
            close = (State.SUPERSEDED, f"by generation {folded.install.generation}")
        folded = replace(folded, install=replace(folded.install, displaces=_is_displaced(last, now)))
    waiting = [*put_off, *waiting]
    still_open = (*folded.members, *(replace(request, state=State.QUEUED) for request in waiting))
    return Compacted(
        open_requests=tuple(sorted(still_open, key=lambda request: request.seq)),
        endings=(*known.endings, *folded.endings),
        close=close,
        install=folded.install,
        keep=folded.keep,
        joined=folded.joined,
        queued=tuple(
            (request.request_id, _what_for(request, now)) for request in waiting if request.state is not State.QUEUED
        ),
        wake_at=_next_look(still_open, folded.install or folded.keep, now, lead),
    )


# --- steps, in the order they are taken -------------------------------------------------------------------------------


def _numbered(open_requests: Iterable[OpenRequest]) -> list[OpenRequest]:
    """Old ones in their order, then new ones in theirs."""
    old = sorted((request for request in open_requests if request.seq >= 0), key=lambda request: request.seq)
    first = old[-1].seq + 1 if old else 0
    new = [request for request in open_requests if request.seq < 0]
    return [*old, *(replace(request, seq=first + index) for index, request in enumerate(new))]


@dataclass(slots=True)
class _Known:
    """The requests of the host as the steps leave them, and the outcomes of those that are gone."""

    requests: list[OpenRequest]
    endings: list[Ending] = field(default_factory=list)
    has_left_the_run: bool = False
    """Whether a request has left the effective command by being cancelled, or by being too late."""

    def end_by_the_clocks(self, active: Effective | None, now: float) -> tuple[State, str] | None:
        """First clock: not started by then. Second clock: ran longer than asked, and grace.

        Returns:
            How the effective command ends, when the second clock ends it.
        """
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
                over = tuple(request.request_id for request in self.requests if request.request_id in running)
                if over:
                    self.endings.append(Ending(over, active.command_id, *close))
                self._drop(over)
        late = [
            request
            for request in self.requests
            if request.request_id not in running and _can_expire(request) and now >= request.expires_at
        ]
        for request in late:
            self._end(request, State.EXPIRED, "not started within expires_in", None if close else active)
        return close

    def cancel(self, cancelled: Mapping[str, str], active: Effective | None) -> None:
        """Take out what is withdrawn."""
        for request in [request for request in self.requests if request.request_id in cancelled]:
            self._end(request, State.CANCELLED, cancelled[request.request_id], active)

    def keep_within_bounds(self) -> None:
        """End newcomers for which one host has no room, so that nobody holds up every host by asking much of one."""
        counts = {"start": 0, "stop": 0}
        weight = 0
        for request in list(self.requests):
            args = len(json.dumps(request.additional_args)) if request.additional_args else 0
            is_new = request.state is State.SUBMITTED
            if is_new and counts[request.command_type] >= MOST_OPEN:
                reason = f"the host has {MOST_OPEN} open {request.command_type} requests"
            elif is_new and args and weight + args > MOST_ARGS_BYTES:
                reason = f"the host's open requests have {weight} of {MOST_ARGS_BYTES} bytes of additional_args already"
            else:
                counts[request.command_type] += 1
                weight += args
                continue
            self._end(request, State.CANCELLED, reason, None)

    def apply_stops(self, active: Effective | None) -> None:
        """Let each new stop narrow or close the starts before it."""
        open_now: list[OpenRequest] = []
        for request in self.requests:
            if request.command_type == "start" or request.state is not State.SUBMITTED:
                open_now.append(request)
                continue
            narrowed = [_narrow(start, request) if start.command_type == "start" else start for start in open_now]
            closed = tuple(
                after.request_id
                for before, after in zip(open_now, narrowed, strict=True)
                if _is_elsewhere(after) and (request.pids is None or not _is_elsewhere(before))
            )
            if closed:
                by = active.command_id if active is not None else request.command_id
                self.endings.append(Ending(closed, by, State.STOPPED, f"by request {request.request_id}"))
            open_now = [start for start in narrowed if start.request_id not in closed]
            open_now.append(replace(request, state=State.PENDING))
        self.requests = open_now

    def put_off(self, others: Sequence[OpenRequest], standing: Standing) -> list[OpenRequest]:
        """The starts of other modes, as they wait. One that was running keeps what is left of its seconds."""
        active = standing.active
        waiting: list[OpenRequest] = []
        for request in others:
            if active is None or not runs_on(request, standing):
                waiting.append(request)
            elif (left := seconds_left(request, standing)) > 0:
                remaining = None if request.continuous else left
                waiting.append(
                    replace(request, remaining=remaining, joined_at=None, runs_since=None, has_run=True)
                )  # fmt: skip
            else:
                self.end_served([request], standing)
        return waiting

    def let_go(self, waiting: Sequence[OpenRequest], standing: Standing) -> list[OpenRequest]:
        """The starts that wait. One whose processes have left the host in the middle of its run resumes with them."""
        active = standing.active
        gone = [each for each in waiting if active is not None and each.request_id in active.request_ids]
        self.has_left_the_run |= bool(gone)
        return [
            replace(each, joined_at=None, runs_since=None, has_run=each.has_run or runs_on(each, standing))
            if each in gone
            else each
            for each in waiting
        ]

    def end_served(self, members: Iterable[OpenRequest], standing: Standing) -> None:
        """End requests whose seconds are over, of a run that ends here for other reasons."""
        served = tuple(request.request_id for request in members)
        if served and standing.active is not None:
            reason = "its seconds were over when the run was ended"
            self.endings.append(Ending(served, standing.active.command_id, State.COMPLETED, reason))
            self._drop(served)

    def _end(self, request: OpenRequest, outcome: State, reason: str, active: Effective | None) -> None:
        is_in_it = active is not None and request.request_id in (*active.request_ids, *active.stop_ids)
        command_id = active.command_id if is_in_it and active is not None else request.command_id
        self.endings.append(Ending((request.request_id,), command_id, outcome, reason))
        self.has_left_the_run |= is_in_it
        self._drop((request.request_id,))

    def _drop(self, request_ids: Sequence[str]) -> None:
        gone = set(request_ids)
        self.requests = [request for request in self.requests if request.request_id not in gone]


def _can_expire(request: OpenRequest) -> bool:
    """The first clock is for what has not started: it stands still for what was put off in the middle of its run."""
    return not (request.has_run and request.state is State.QUEUED)


def _wanted_pids(known: Iterable[OpenRequest], active: Effective | None) -> dict[str, tuple[Any, ...]]:
    """Which processes the requests in the effective command want: differs once a stop has taken something from it."""
    ids = active.request_ids if active is not None else ()
    return {
        request.request_id: (request.pids, request.exclude_pids if request.pids is None else ())
        for request in known
        if request.request_id in ids
    }


def _narrow(start: OpenRequest, stop: OpenRequest) -> OpenRequest:
    """A start without what the stop names; nothing left shows as an empty set of pids."""
    if stop.pids is None:
        return replace(start, pids=frozenset())
    if start.pids is None:
        return replace(start, exclude_pids=start.exclude_pids | stop.pids)
    # A continuous one may be told later where its processes are then: these are not to be among them.
    excluded = start.exclude_pids | stop.pids if start.continuous else start.exclude_pids
    return replace(start, pids=start.pids - stop.pids, exclude_pids=excluded)


def _is_elsewhere(start: OpenRequest) -> bool:
    """Whether nothing is left of the processes that it names."""
    return start.pids is not None and not start.pids


def _ready(known: Iterable[OpenRequest], standing: Standing) -> tuple[list[OpenRequest], list[OpenRequest]]:
    """The starts that may run now, and those whose moment has not come or whose processes are not on the host.

    What runs has begun: the agent keeps its moment by the host's clock, which may be ahead of ours.
    """
    starts = [request for request in known if request.command_type == "start"]
    waiting = [
        start for start in starts
        if _is_elsewhere(start)
        or (start.not_before is not None and start.not_before > standing.now and not runs_on(start, standing))
    ]  # fmt: skip
    return [start for start in starts if start not in waiting], waiting


def _mode_to_run(starts: Sequence[OpenRequest], active: Effective | None) -> ProfilingMode | None:
    """The mode that runs goes on while anybody wants it, unless another is urgent and nobody in this one is.

    Else the most urgent, then the oldest request has its turn.
    """
    if not starts:
        return None
    best = min(starts, key=lambda start: (-RANK[start.priority], start.seq))
    if active is not None and isinstance(active.command, StartCommand):
        mode = active.command.combined_config.profiling_mode
        of_mode = [start for start in starts if start.profiling_mode == mode]
        if of_mode and not (best.priority == "urgent" and all(start.priority != "urgent" for start in of_mode)):
            return mode
    return best.profiling_mode


def _of_mode(mode: ProfilingMode | None, starts: Sequence[OpenRequest]) -> tuple[list[OpenRequest], list[OpenRequest]]:
    """The starts of a mode, and the others."""
    of_mode: list[OpenRequest] = []
    others: list[OpenRequest] = []
    for start in starts:
        (of_mode if start.profiling_mode == mode else others).append(start)
    return of_mode, others


def _wants_more(members: Iterable[OpenRequest], standing: Standing) -> bool:
    return not standing.runs or any(seconds_left(request, standing) > 0 for request in members)


def _at_work_for_nobody(last: Effective | None) -> Effective | None:
    """What is to be followed by a stop, now that no request is left."""
    if last is None:
        return None
    return last if (_may_be_at_work(last) if last.is_open else last.back_at_work) else None


def _may_be_at_work(effective: Effective) -> bool:
    """Whether the agent may be at work on it, or on what it displaced and the agent was not yet told of.

    Of what has ended, on what is lost alone: other ends are the agent's word, or it was told.
    """
    if not effective.is_open:
        return effective.state is State.LOST
    return effective.displaces or (isinstance(effective.command, StartCommand) and effective.state in MAYBE_AT_WORK)


def _is_displaced(last: Effective, now: float) -> bool:
    """Whether the agent may be at work until it takes the next command; on one that awaits its moment it is not."""
    return last.displaces if last.awaits(now) else _may_be_at_work(last)


def _what_for(request: OpenRequest, now: float) -> str:
    """What a request waits for."""
    if _is_elsewhere(request):
        return "nothing that it names runs on the host"
    if request.not_before is not None and request.not_before > now:
        return f"starts at {datetime.fromtimestamp(request.not_before, UTC).isoformat(timespec='milliseconds')}"
    return "an urgent request took the host" if request.has_run else "another profiling mode has the host"


def _next_look(still_open: Sequence[OpenRequest], effective: Effective | None, now: float, lead: float) -> float | None:
    """The next moment at which a clock may begin or end something."""
    running = set(effective.request_ids) if effective is not None and effective.state is State.RUNNING else set()
    moments = [each.expires_at for each in still_open if each.request_id not in running and _can_expire(each)]
    moments += [each.not_before for each in still_open if each.not_before is not None and each.not_before > now]
    moments += next_chance(still_open, effective, now, lead)
    if effective is not None and effective.run_limit is not None:
        moments.append(effective.run_limit)
    return min(moments, default=None)
