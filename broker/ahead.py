"""Telling an agent of a start before its moment, so that it begins on time. Pure, as all of compaction.

A command waits at the agent while what runs there goes on. So it is handed out ahead only where nothing else has to be
done first: everything that is wanted now runs, no stop is on its way, and nothing runs that nobody wants. Else the
start waits with us, and is handed out once that is so, or at its moment.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from broker.effective import Effective, OpenRequest
from broker.folding import Standing, runs_on
from protocol.commands import ProfilingMode, StartCommand
from protocol.lifecycle import State

BEATS_AHEAD: Final = 2
"""An agent that polls has so many chances to hear of it: one heartbeat may be lost."""
MARGIN: Final = timedelta(seconds=5)
"""For compaction, a slow heartbeat, and the agent's own preparations."""
LOOK_AGAIN_SECONDS: Final = 5.0
"""How soon to look whether what has to be done first is done. Nobody rings when a run begins."""


@dataclass(frozen=True, slots=True)
class Ahead:
    """The starts to hand out now, and the moment at which they begin; none when `moment` is None."""

    starts: tuple[OpenRequest, ...] = ()
    moment: float | None = None


def lead_of(interval: timedelta) -> float:
    """How many seconds before its moment an agent with this pace is told of a start."""
    return (BEATS_AHEAD * interval + MARGIN).total_seconds()


def look_ahead(
    ready: Sequence[OpenRequest],
    waiting: Sequence[OpenRequest],
    standing: Standing,
    lead: float,
    *,
    mode: ProfilingMode | None,
) -> Ahead:
    """Which of the starts that wait are handed out ahead of their moment: those of the next one.

    Args:
        ready: the starts that may run now.
        waiting: those that may not.
        standing: how the host stands.
        lead: how long before, in seconds.
        mode: the one whose turn it is among those that are ready.
    """
    coming = list(_coming(waiting, standing.now, lead))
    if not coming:
        return Ahead()
    moment = min(each.not_before or 0.0 for each in coming)
    coming = [each for each in coming if each.not_before == moment]
    if ready:
        if not _is_all_served([each for each in ready if each.profiling_mode == mode], standing, until=moment):
            return Ahead()
        coming = [each for each in coming if each.profiling_mode == mode]
    elif not _is_idle(standing):
        return Ahead()
    return Ahead(tuple(coming), moment) if coming else Ahead()


def next_chance(
    still_open: Iterable[OpenRequest], effective: Effective | None, now: float, lead: float
) -> Iterator[float]:
    """When to look whether starts that wait may be handed out."""
    in_it = effective.request_ids if effective is not None else ()
    for each in still_open:
        if each.not_before is not None and each.not_before > now and lead and each.request_id not in in_it:
            yield max(each.not_before - lead, now + LOOK_AGAIN_SECONDS)


def _coming(waiting: Iterable[OpenRequest], now: float, lead: float) -> Iterator[OpenRequest]:
    """Those whose moment is near, and whose processes are on the host."""
    for each in waiting:
        is_here = each.pids is None or bool(each.pids)
        if is_here and each.not_before is not None and now < each.not_before <= now + lead:
            yield each


def _is_all_served(ready: Sequence[OpenRequest], standing: Standing, *, until: float) -> bool:
    """Whether all that is wanted now runs, and the run does not end by itself before the moment."""
    active = standing.active
    if active is None or not all(runs_on(each, standing) for each in ready):
        return False
    return not standing.runs or active.remaining(standing.now) > until - standing.now


def _is_idle(standing: Standing) -> bool:
    """Whether the agent is at work on nothing: a run that nobody wants any more must not go on until the moment."""
    last = standing.active or standing.previous
    if last is None:
        return True
    if not last.is_open:
        return last.state is not State.LOST
    if last.state is State.PENDING:
        return not last.displaces and isinstance(last.command, StartCommand)
    return last.awaits(standing.now) and not last.displaces
