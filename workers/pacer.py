"""The pacer: gives the hosts of a rollout their turns, as the hosts before them end."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog

from broker.errors import BrokerUnavailable
from broker.request_log import RequestLog
from broker.request_record import RequestRecord
from broker.request_store import RequestStore
from broker.rollouts import Progress, Rollouts
from broker.scripts import Paced

log = structlog.get_logger(__name__)

PACE_EVERY: Final = timedelta(seconds=0.2)
MOST_TURNS: Final = 500
"""Turns given in one step; the next pass gives more."""
CALM_ABOVE: Final = 1_000
CALM_SECONDS_PER_HOST: Final = 0.000_1
"""A rollout with very many hosts under way is looked at less often: each look reads the status of all of them."""
AT_ONCE: Final = 32
REST: Final = 2_000
"""Hosts that had no turn are ended in pieces of this many, with progress."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """A request and the order of its hosts' turns: by name, so that every pacer has the same."""

    record: RequestRecord
    names: Sequence[str]
    paths: Sequence[str]

    @classmethod
    def of(cls, record: RequestRecord) -> "_Plan":
        names = sorted(record.targets)
        return cls(record, names, [record.key_of(name).path for name in names])


class Pacer:
    """Drives rollouts. Any number of them may run, and each may be killed at any line."""

    def __init__(self, rollouts: Rollouts, store: RequestStore, request_log: RequestLog) -> None:
        self._rollouts = rollouts
        self._store = store
        self._log = request_log
        self._plans: dict[str, _Plan] = {}
        self._look_again: dict[str, float] = {}

    async def pace(self) -> int:
        """One pass over every rollout; gives how many turns were given.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        open_ids = await self._rollouts.all_open()
        self._plans = {request_id: plan for request_id, plan in self._plans.items() if request_id in open_ids}
        now = time.monotonic()
        self._look_again = {request_id: at for request_id, at in self._look_again.items() if at > now}
        given = 0
        for request_id in open_ids:
            if request_id in self._look_again:
                continue
            try:
                given += await self._pace(request_id)
            except BrokerUnavailable:
                raise
            except Exception:
                # One rollout that cannot be driven must not hold up the others.
                log.exception("rollout cannot be paced", request_id=request_id)
        return given

    async def _pace(self, request_id: str) -> int:
        plan, progress = await self._plan(request_id), await self._rollouts.look(request_id)
        if plan is None or progress is None:
            log.error("rollout of an unknown request dropped", request_id=request_id)
            await self._rollouts.close(request_id)
            return 0
        first = progress.next_turn
        candidates = plan.paths[first : first + min(MOST_TURNS, progress.most)]
        paced = await self._rollouts.step(request_id, first=first, candidates=candidates, ended=progress.ended)
        if paced.given:
            log.info(
                "turns given", request_id=request_id, hosts=paced.given, first=paced.first, window=paced.window,
                under_way=paced.under_way, errors=paced.errors,
            )  # fmt: skip
        await self._send(plan, progress, paced)
        if paced.state == "halted":
            await self._end_the_rest(plan, progress, paced)
        if paced.given:
            await self._store.note_appended(request_id, paced.next_turn)
            await self._store.keep(plan.record)
        elif paced.under_way > CALM_ABOVE:
            self._look_again[request_id] = time.monotonic() + paced.under_way * CALM_SECONDS_PER_HOST
        if paced.under_way == 0 and (paced.state == "halted" or paced.next_turn == len(plan.names)):
            # The step that gave the last turn left it under way: this one has seen every host end.
            await self._store.note_appended(request_id, len(plan.names))
            await self._rollouts.close(request_id)
            log.info("rollout over", request_id=request_id, state=paced.state, errors=paced.errors)
        return paced.given

    async def _plan(self, request_id: str) -> _Plan | None:
        if request_id not in self._plans:
            record = await self._store.get(request_id)
            if record is None:
                return None
            self._plans[request_id] = _Plan.of(record)
        return self._plans[request_id]

    async def _send(self, plan: _Plan, progress: Progress, paced: Paced) -> None:
        """Append the hosts that have just got their turn, and those that another pacer may have left in between."""
        left = {path: number for path, number in progress.unsent.items() if path not in progress.ended}
        fresh = {plan.paths[number]: number for number in range(paced.first, paced.first + paced.given)}
        if not left and not fresh:
            return
        # Appended for certain: its status says so. For the others, appending twice does nothing.
        unknown = [number for path, number in (left | fresh).items() if path not in progress.known]
        now = time.time()
        for begin in range(0, len(unknown), AT_ONCE):
            await asyncio.gather(*(self._append(plan, number, now) for number in unknown[begin : begin + AT_ONCE]))
        await self._rollouts.note_sent(plan.record.request_id, [*left, *fresh])

    async def _append(self, plan: _Plan, number: int, now: float) -> None:
        name = plan.names[number]
        wish = plan.record.wish(plan.record.targets[name], begun_at=now)
        await self._log.append({plan.record.key_of(name): wish}, piece=number)

    async def _end_the_rest(self, plan: _Plan, progress: Progress, paced: Paced) -> None:
        """Close the request, then append it for the hosts that had no turn: they end cancelled, with the reason."""
        record, total = plan.record, len(plan.names)
        rest = plan.names[paced.next_turn :]
        if progress.rest_appended >= len(rest):
            return
        log.warning("rollout halted", request_id=record.request_id, reason=paced.reason, hosts=len(rest))
        await self._log.cancel(record.request_id, (), reason=paced.reason)
        now = time.time()
        for number, first in enumerate(range(0, len(rest), REST)):
            some = rest[first : first + REST]
            if first + len(some) <= progress.rest_appended:
                continue
            wishes = {record.key_of(name): record.wish(record.targets[name], begun_at=now) for name in some}
            await self._log.append(wishes, piece=total + number)
            await self._store.note_appended(record.request_id, paced.next_turn + first + len(some))
            await self._rollouts.note_rest(record.request_id, first + len(some))
