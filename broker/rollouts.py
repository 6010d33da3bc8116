"""Requests whose hosts begin one after another: at most so many at a time, and no more after too many errors.

All of a rollout's state has the hash tag of its request, beside the projected status of its hosts, so that each step is
one atomic script. Whoever drives it may be killed at any line, and any number may drive it at once: a host is first
given its turn (and is `unsent`), then appended under the number of its turn, which does nothing the second time, and
then taken from `unsent`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from broker import keys, scripts
from broker.connection import Broker
from broker.request_record import RequestRecord
from broker.request_store import KEPT_FOR
from broker.scripts import Paced
from protocol.lifecycle import OUTCOMES, State
from protocol.names import HostKey
from protocol.shares import share_of

ERRORS: Final = frozenset({State.FAILED, State.TIMED_OUT, State.LOST, State.UNDELIVERABLE, State.EXPIRED})
"""The outcomes that count against `max_errors`."""
NO_LIMIT: Final = -1


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a rollout stands. `turns` and `unsent` are host paths with the number of their turn.

    `turns` are under way: they had their turn and have not ended; `unsent` of them may not have been appended yet.
    `known` are those whose request is in the projection, each with its outcome, or None while it is open.
    """

    state: str
    next_turn: int
    window: int
    most: int
    allowed: int
    errors: int
    reason: str
    rest_appended: int
    turns: Mapping[str, int]
    unsent: Mapping[str, int]
    known: Mapping[str, State | None]

    @property
    def ended(self) -> dict[str, str]:
        """The hosts under way that have ended, each as "good", "error" or "other"."""
        return {path: _verdict(outcome) for path, outcome in self.known.items() if outcome is not None}


class Rollouts:
    """The rollouts that are not over."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def open(self, record: RequestRecord) -> None:
        """Begin a rollout of a stored request; repeating it changes nothing.

        Raises:
            BrokerUnavailable: the server cannot be reached; may be repeated.
        """
        asked, total = record.asked, len(record.targets)
        assert asked.max_concurrency is not None
        allowed = NO_LIMIT if asked.max_errors is None else share_of(asked.max_errors, total, least=0)
        fields = {
            "state": "open", "most": share_of(asked.max_concurrency, total, least=1), "allowed": allowed,
            "next": 0, "window": 1, "errors": 0, "good": 0, "rest_appended": 0,
        }  # fmt: skip
        key = keys.rollout(record.request_id)
        async with self._broker.guarded() as redis:
            async with redis.pipeline(transaction=True) as pipe:
                for name, value in fields.items():
                    pipe.hsetnx(key, name, value)
                pipe.expire(key, int(KEPT_FOR.total_seconds()))
                await pipe.execute()
            whose = json.dumps([record.key_of("").path, record.accepted_at])
            await redis.hset(keys.open_rollouts(), record.request_id, whose)

    async def all_open(self) -> list[str]:
        """The ids of the requests whose rollout is not over.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis:
            found: list[str] = await redis.hkeys(keys.open_rollouts())
        return sorted(found)

    async def open_of(self, tenant: str, service: str, *, before: float) -> list[str]:
        """Those of a service that were accepted before a moment (seconds since the epoch), or just then.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis:
            rows: dict[str, str] = await redis.hgetall(keys.open_rollouts())
        whose = {request_id: json.loads(text) for request_id, text in rows.items()}
        path = HostKey(tenant, service, "").path
        return [request_id for request_id, (of, at) in whose.items() if of == path and at <= before]

    async def look(self, request_id: str) -> Progress | None:
        """Where a rollout stands; None where there is none.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis, redis.pipeline(transaction=True) as pipe:
            for key in (keys.rollout(request_id), keys.turns(request_id), keys.unsent(request_id)):
                pipe.hgetall(key)
            rollout, turns, unsent = await pipe.execute()
        if "state" not in rollout:
            return None
        paths = list(turns)
        texts: list[str | None] = []
        if paths:
            async with self._broker.guarded() as redis:
                texts = await redis.hmget(keys.request_hosts(request_id), paths)
        return Progress(
            state=rollout["state"],
            next_turn=int(rollout["next"]),
            window=int(rollout["window"]),
            most=int(rollout["most"]),
            allowed=int(rollout["allowed"]),
            errors=int(rollout["errors"]),
            reason=rollout.get("reason", ""),
            rest_appended=int(rollout["rest_appended"]),
            turns={path: int(number) for path, number in turns.items()},
            unsent={path: int(number) for path, number in unsent.items()},
            known={path: _outcome(text) for path, text in zip(paths, texts, strict=True) if text is not None},
        )

    async def step(self, request_id: str, *, first: int, candidates: Sequence[str], ended: Mapping[str, str]) -> Paced:
        """One atomic step: take note of hosts that have ended, give their turn to those there is room for.

        Args:
            request_id: whose rollout.
            first: the number of the first candidate's turn.
            candidates: the paths of the hosts whose turns come next.
            ended: host path -> "good", "error" or "other".

        Raises:
            BrokerUnavailable: the server cannot be reached; the step may have been made, and may be repeated.
        """
        call = scripts.pace(request_id, first=first, candidates=candidates, ended=ended, ttl=KEPT_FOR)
        return scripts.read_pace(await self._broker.run(call))

    async def halt(self, request_id: str, *, reason: str) -> None:
        """Give nobody a turn any more: hosts that had none end cancelled, those under way go on.

        Raises:
            BrokerUnavailable: the server cannot be reached; may be repeated, the first reason stands.
        """
        await self._broker.run(scripts.pace(request_id, first=0, candidates=(), ended={}, ttl=KEPT_FOR, halt=reason))

    async def note_sent(self, request_id: str, paths: Iterable[str]) -> None:
        """Say that these hosts have been appended.

        Raises:
            BrokerUnavailable: the server cannot be reached; may be repeated.
        """
        async with self._broker.guarded() as redis:
            await redis.hdel(keys.unsent(request_id), *paths)

    async def note_rest(self, request_id: str, hosts: int) -> None:
        """Say how many of the hosts that had no turn when it was halted have been ended so far.

        Raises:
            BrokerUnavailable: the server cannot be reached; may be repeated.
        """
        async with self._broker.guarded() as redis:
            await redis.hset(keys.rollout(request_id), "rest_appended", str(hosts))

    async def close(self, request_id: str) -> None:
        """Forget about a rollout whose last host has ended; where it stood can still be looked at.

        Raises:
            BrokerUnavailable: the server cannot be reached; may be repeated.
        """
        async with self._broker.guarded() as redis:
            await redis.hdel(keys.open_rollouts(), request_id)


def _outcome(text: str) -> State | None:
    state = State(json.loads(text)["state"])
    return state if state in OUTCOMES else None


def _verdict(outcome: State) -> str:
    if outcome in ERRORS:
        return "error"
    return "good" if outcome is State.COMPLETED else "other"
