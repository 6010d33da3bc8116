"""Schedules as records: what each submits and when, how its last firings went, and who may finish one under way."""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, NamedTuple, Self
from uuid import UUID, uuid4, uuid5

from broker import codec, keys, scripts
from broker.connection import Broker
from broker.errors import TooManySchedules
from protocol import cron
from protocol.requests import ProfileRequest
from protocol.schedules import FAILURES, Outcome, Overlap, ScheduleWish

KEPT_FIRINGS: Final = 50
MOST_OF_A_TENANT: Final = 1_000
PAGE: Final = 100
_IDENTITIES: Final = UUID("5b0f2d7e-0d0c-4f0c-9a43-1f6f9a0f6f52")
"""Whoever repeats a firing derives the same ids, so that what is appended is not appended again."""


def new_id() -> str:
    """The id of a new schedule."""
    return str(uuid4())


def key_id(tenant: str, token_id: str, idempotency_key: str) -> str:
    """The id of the schedule that this token makes with this Idempotency-Key."""
    return str(uuid5(_IDENTITIES, f"schedule\0{tenant}\0{token_id}\0{idempotency_key}"))


class FiringIds(NamedTuple):
    """The identity of the request that a firing submits."""

    request_id: str
    command_id: str


def ids_of(schedule_id: str, due: int) -> FiringIds:
    """The identity of a firing's request: the same for everybody, at any time."""
    return FiringIds(*(str(uuid5(_IDENTITIES, f"{what}/{schedule_id}/{due}")) for what in ("request", "command")))


@dataclass(frozen=True, slots=True)
class Schedule:
    """One schedule. Moments are seconds since the epoch; `request` is the body that its firings submit.

    Attributes:
        owner: the token that created it or changed it last; it fires with that token's rights.
        revision: grows with each change by a person.
        digest: of the body that made it, for a repeated Idempotency-Key.
    """

    schedule_id: str
    tenant: str
    name: str
    request: dict[str, Any]
    cron: str
    timezone: str
    overlap: Overlap
    catch_up: int
    pause_after: int
    owner: str
    created_by: str
    created_at: float
    updated_at: float
    digest: str = ""
    active: bool = True
    reason: str = ""
    next_fire_at: int | None = None
    revision: int = 0
    failures: int = 0
    last_request_id: str | None = None

    @property
    def service(self) -> str:
        """The service whose hosts are meant."""
        return str(self.request["service_name"])

    @property
    def member(self) -> str:
        """Its place in the list of its tenant."""
        return f"{codec.ms(self.created_at):015d}:{self.schedule_id}"

    def wishing(self, wish: ScheduleWish, *, by: str, now: float) -> Self:
        """This schedule as somebody wishes it to be from now on."""
        stays = (self.cron, self.timezone) == (wish.cron, wish.timezone) and self.active and wish.enabled
        # A firing that is due at this moment is not lost to a change of something else.
        coming = self.next_fire_at if stays and self.next_fire_at is not None else None
        if wish.enabled and coming is None:
            coming = int(cron.next_firing(wish.cron, wish.timezone, after=now))
        return replace(
            self, **_wished(wish), owner=by, updated_at=now, active=wish.enabled, next_fire_at=coming,
            reason="" if wish.enabled else self.reason or f"paused by token {by}",
        )  # fmt: skip

    def wish(self) -> dict[str, Any]:
        """What was wished, as a body: the ground that a change builds on."""
        return {
            "name": self.name, "request": self.request, "cron": self.cron, "timezone": self.timezone,
            "overlap": self.overlap, "catch_up": self.catch_up, "pause_after": self.pause_after,
            "enabled": self.active,
        }  # fmt: skip

    def next_after(self, due: int) -> int:
        """The firing after this one."""
        return int(cron.next_firing(self.cron, self.timezone, after=due))


def new_schedule(wish: ScheduleWish, *, schedule_id: str, tenant: str, by: str, digest: str, now: float) -> Schedule:
    """A schedule that is not stored yet."""
    blank = Schedule(
        schedule_id=schedule_id, tenant=tenant, owner=by, created_by=by, created_at=now, updated_at=now, digest=digest,
        **_wished(wish),
    )  # fmt: skip
    return blank.wishing(wish, by=by, now=now)


def _wished(wish: ScheduleWish) -> dict[str, Any]:
    return {
        "name": wish.name, "request": request_body(wish.request), "cron": wish.cron, "timezone": wish.timezone,
        "overlap": wish.overlap, "catch_up": wish.catch_up, "pause_after": wish.pause_after,
    }  # fmt: skip


def request_body(asked: ProfileRequest) -> dict[str, Any]:
    """A validated request as a body that validates to the same."""
    return asked.model_dump(mode="json", exclude_unset=True)


@dataclass(frozen=True, slots=True)
class Fired:
    """What became of a firing; the moments are seconds since the epoch."""

    due: int
    at: float
    outcome: Outcome
    reason: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class TakenFiring:
    """A firing in our hands; or one that is settled, whose schedule may still stand on it."""

    schedule: Schedule
    due: int
    attempt: int
    is_settled: bool


_FACTS: Final = (
    "tenant", "name", "request", "cron", "timezone", "overlap", "catch_up", "pause_after", "owner", "created_by",
    "created_at", "updated_at", "digest",
)  # fmt: skip


class ScheduleStore:
    """The schedules of all tenants."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def save(self, schedule: Schedule, *, forget_failures: bool = False) -> bool:
        """Store a schedule, new (revision 0) or changed; False when somebody else changed it since it was read.

        Raises:
            TooManySchedules: the tenant has as many as it may have.
            BrokerUnavailable: the server cannot be reached; it may or may not be stored.
        """
        facts = {name: value for name, value in asdict(schedule).items() if name in _FACTS}
        call = scripts.save_schedule(
            schedule.schedule_id, tenant=schedule.tenant, member=schedule.member, revision=schedule.revision,
            most=MOST_OF_A_TENANT, facts=json.dumps(facts), active=schedule.active, reason=schedule.reason,
            next_fire_at="" if schedule.next_fire_at is None else str(schedule.next_fire_at),
            forget_failures=forget_failures,
        )  # fmt: skip
        answer = int(await self._broker.run(call))
        if answer < 0:
            raise TooManySchedules(MOST_OF_A_TENANT)
        return answer == 1

    async def get(self, schedule_id: str) -> Schedule | None:
        """The schedule, or None for an id that nobody has.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis:
            fields: dict[str, str] = await redis.hgetall(keys.schedule(schedule_id))
        return _schedule_of(schedule_id, fields) if fields else None

    async def all_of(self, tenant: str, *, after: str = "") -> AsyncIterator[Schedule]:
        """A tenant's schedules, oldest first, behind a place in the list.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        while True:
            async with self._broker.guarded() as redis:
                members: list[str] = await redis.zrange(
                    keys.schedules_of(tenant), f"({after}", "+", bylex=True, offset=0, num=PAGE
                )
                async with redis.pipeline(transaction=False) as pipe:
                    for member in members:
                        pipe.hgetall(keys.schedule(_id_in(member)))
                    rows: list[dict[str, str]] = await pipe.execute()
            for member, fields in zip(members, rows, strict=True):
                if fields:
                    yield _schedule_of(_id_in(member), fields)
            if len(members) < PAGE:
                return
            after = members[-1]

    async def firings(self, schedule_id: str) -> list[Fired]:
        """The last firings that are settled, newest first.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis:
            rows: dict[str, str] = await redis.hgetall(keys.schedule_firings(schedule_id))
        settled = (facts for facts in map(json.loads, rows.values()) if "outcome" in facts)
        return sorted((Fired(**facts) for facts in settled), key=lambda fired: -fired.due)

    async def delete(self, schedule: Schedule) -> None:
        """Take a schedule away; repeating it changes nothing. A firing under way is finished all the same.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis, redis.pipeline(transaction=True) as pipe:
            pipe.delete(keys.schedule(schedule.schedule_id), keys.schedule_firings(schedule.schedule_id))
            pipe.zrem(keys.schedules_due(), schedule.schedule_id)
            pipe.zrem(keys.schedules_of(schedule.tenant), schedule.member)
            await pipe.execute()

    # --- firing -------------------------------------------------------------------------------------------------------

    async def due(self, *, until: float, most: int) -> list[tuple[str, int]]:
        """Which schedules fire until a moment, and when; the most overdue first.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis:
            rows: list[tuple[str, float]] = await redis.zrange(
                keys.schedules_due(), "-inf", until, byscore=True, offset=0, num=most, withscores=True
            )
        return [(schedule_id, int(due)) for schedule_id, due in rows]

    async def under_way(self, *, since: float, most: int) -> list[tuple[str, int]]:
        """Firings that were taken at this moment or before and are not settled.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis:
            members: list[str] = await redis.zrange(
                keys.firings_taken(), "-inf", codec.ms(since), byscore=True, offset=0, num=most
            )
        parts = (member.rpartition(":") for member in members)
        return [(schedule_id, int(due)) for schedule_id, _, due in parts]

    async def take(self, schedule_id: str, due: int, *, now: float) -> TakenFiring | None:
        """Take a firing; None when the schedule does not fire at this moment (any more).

        Raises:
            BrokerUnavailable: the server cannot be reached; it may be taken, and may be taken again.
        """
        answer = await self._broker.run(scripts.take_firing(schedule_id, due, now=codec.ms(now)))
        taken = scripts.read_taken(answer)
        if taken is None or not taken.schedule:
            return None
        return TakenFiring(_schedule_of(schedule_id, taken.schedule), due, taken.attempt, taken.is_settled)

    async def settle(self, schedule: Schedule, fired: Fired, *, next_fire_at: int) -> bool:
        """Record what became of a firing, and set the schedule to its next one. Repeating it changes nothing.

        Raises:
            BrokerUnavailable: the server cannot be reached; whoever takes the firing again goes on.
        """
        call = scripts.settle_firing(
            schedule.schedule_id, fired.due, revision=schedule.revision, next_fire_at=next_fire_at, keep=KEPT_FIRINGS,
            firing=json.dumps(asdict(fired)), outcome=fired.outcome, is_failure=fired.outcome in FAILURES,
            request_id=fired.request_id or "",
        )  # fmt: skip
        return bool(await self._broker.run(call))

    async def let_go(self, schedule_id: str, due: int, *, revision: int = 0, next_fire_at: int = 0) -> None:
        """Nobody has to finish this firing any more; the schedule goes on to its next one if it still stands on it.

        Raises:
            BrokerUnavailable: the server cannot be reached; may be repeated.
        """
        call = scripts.settle_firing(schedule_id, due, revision=revision, next_fire_at=next_fire_at, keep=KEPT_FIRINGS)
        await self._broker.run(call)


def _id_in(member: str) -> str:
    return member.partition(":")[2]


def _schedule_of(schedule_id: str, fields: Mapping[str, str]) -> Schedule:
    return Schedule(
        schedule_id=schedule_id,
        **json.loads(fields["facts"]),
        active=fields["active"] == "1",
        reason=fields["reason"],
        next_fire_at=int(fields["next"]) if fields["next"] else None,
        revision=int(fields["revision"]),
        failures=int(fields.get("failures", 0)),
        last_request_id=fields.get("last_request"),
    )
