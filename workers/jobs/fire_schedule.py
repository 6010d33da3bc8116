"""One firing of a schedule: taken, judged at this moment, submitted, settled. May be repeated, by several at once."""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

import structlog
from pydantic import ValidationError

from broker.audit import Act, AuditTrail, targets_digest
from broker.audit_facts import wish_told
from broker.connection import Broker
from broker.errors import NotSubmittable
from broker.request_record import RequestRecord
from broker.schedule_store import Fired, Schedule, ScheduleStore, TakenFiring, ids_of
from broker.settings import BrokerSettings
from broker.submission import Intake, check_weight, resume, sample_of, submit, targets_of
from broker.token_store import ANYBODY_ID, TokenStore, why_not_submit
from protocol import cron
from protocol.audit import AuditOutcome
from protocol.requests import ProfileRequest
from protocol.schedules import FAILURES, Outcome
from workers.settings import WorkerSettings

log = structlog.get_logger(__name__)

ON_TIME: Final = timedelta(seconds=10)
"""A firing is never to the second: later than this it is late, and `catch_up` says whether it is made up."""
MOST_ATTEMPTS: Final = 10


@dataclass(frozen=True, slots=True)
class Parts:
    """What firing needs."""

    schedules: ScheduleStore
    tokens: TokenStore
    intake: Intake
    audit: AuditTrail
    anybody_may: bool = False
    """Whether schedules that were made without authentication fire."""

    @classmethod
    def of(cls, broker: Broker, settings: WorkerSettings) -> Self:
        """Everything on one broker."""
        interval = timedelta(seconds=settings.heartbeat_interval)
        intake = Intake.of(broker, heartbeat_interval=interval, fan_out_above=settings.fan_out_above)
        return cls(ScheduleStore(broker), TokenStore(broker), intake, AuditTrail(broker), settings.insecure_no_auth)


class _NotFired(Exception):
    """Nothing is submitted this time: what to record instead."""

    def __init__(self, outcome: Outcome, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason


def run(firing: str) -> str | None:
    """The rq job, for `SCHEDULE-DUE`. Gives the outcome."""
    schedule_id, _, due = firing.rpartition("-")
    return asyncio.run(_run(schedule_id, int(due)))


async def _run(schedule_id: str, due: int) -> str | None:
    async with Broker.opened(BrokerSettings()) as broker:
        return await fire(schedule_id, due, Parts.of(broker, WorkerSettings()), now=time.time())


async def fire(schedule_id: str, due: int, parts: Parts, *, now: float) -> str | None:
    """Fire once, however often it is called for the same moment. Gives the outcome, None when it was not ours to fire.

    Raises:
        BrokerUnavailable: the server cannot be reached; the scheduler asks for the firing again.
    """
    taken = await parts.schedules.take(schedule_id, due, now=now)
    if taken is None:
        await _finish_the_request_of(schedule_id, due, parts)
        await parts.schedules.let_go(schedule_id, due)
        return None
    schedule = taken.schedule
    next_fire_at = _next(schedule, due)
    if taken.is_settled:
        await parts.schedules.let_go(schedule_id, due, revision=schedule.revision, next_fire_at=next_fire_at)
        return None
    ids = ids_of(schedule_id, due)
    try:
        # Nothing is judged twice: a request that a former attempt has stored is finished.
        if not await _finish_the_request_of(schedule_id, due, parts):
            _check_state(taken)
            last = int(cron.last_firing(schedule.cron, schedule.timezone, until=now))
            if last > due:
                next_fire_at = last
            _check_clock(taken, last=last, now=now)
            await _check_rights(schedule, parts, now=now)
            await _check_overlap(schedule, parts)
            await _submit(taken, parts, now=now)
        fired = Fired(due, now, "submitted", request_id=ids.request_id)
    except _NotFired as instead:
        fired = Fired(due, now, instead.outcome, instead.reason)
        if instead.outcome in FAILURES:
            outcome = AuditOutcome.REFUSED if instead.outcome == "refused" else AuditOutcome.FAILED
            told = {"due": due, "reason": instead.reason}
            act = _act(schedule, outcome, "schedule.fire", now=now, objects=(schedule_id,), details=told)
            await parts.audit.write(act)
    # Last: a crash before this repeats the firing with the same identity, which appends nothing twice.
    if await parts.schedules.settle(schedule, fired, next_fire_at=next_fire_at):
        log.info(
            "schedule fired", schedule_id=schedule_id, due=due, outcome=fired.outcome, reason=fired.reason,
            request_id=fired.request_id, owner=schedule.owner, late_seconds=round(now - due, 2),
        )  # fmt: skip
    return fired.outcome


def _next(schedule: Schedule, due: int) -> int:
    """The firing after this one; a day later where that cannot be told, so that the schedule does not fail at once."""
    return schedule.next_after(due) if cron.is_there(schedule.timezone) else due + 86_400


async def _finish_the_request_of(schedule_id: str, due: int, parts: Parts) -> bool:
    """Append what is left to append of a firing's request; False when there is no such request yet."""
    record = await parts.intake.request_store.get(ids_of(schedule_id, due).request_id)
    if record is None:
        return False
    await resume(record, parts.intake)
    return True


def _check_state(taken: TakenFiring) -> None:
    if not taken.schedule.active:
        raise _NotFired("skipped", "the schedule was paused before its request was stored")
    if taken.attempt > MOST_ATTEMPTS:
        raise _NotFired("failed", f"could not be submitted in {MOST_ATTEMPTS} attempts; the log of the jobs says why")
    if not cron.is_there(taken.schedule.timezone):
        raise _NotFired("failed", f"this machine does not know the time zone {taken.schedule.timezone} any more")


def _check_clock(taken: TakenFiring, *, last: int, now: float) -> None:
    """One firing at most is made up: the last one, if it is not too old."""
    if last > taken.due:
        raise _NotFired("missed", f"nobody fired it before the one due at {_told(last)} was due too")
    late = now - taken.due
    if late > max(taken.schedule.catch_up, ON_TIME.total_seconds()):
        raise _NotFired("missed", f"{late:.0f} s late; made up within {taken.schedule.catch_up} s")


async def _check_rights(schedule: Schedule, parts: Parts, *, now: float) -> None:
    """The owner must be allowed to submit this at this very moment."""
    if schedule.owner == ANYBODY_ID:
        if not parts.anybody_may:
            raise _NotFired("refused", "it was made without authentication, which is switched on now")
        return
    why = why_not_submit(
        await parts.tokens.with_id(schedule.owner), tenant=schedule.tenant, service=schedule.service,
        now=datetime.fromtimestamp(now, UTC),
    )  # fmt: skip
    if why:
        raise _NotFired("refused", f"token {schedule.owner} of its owner {why}")


async def _check_overlap(schedule: Schedule, parts: Parts) -> None:
    former = schedule.last_request_id
    if schedule.overlap == "allow" or former is None:
        return
    record = await parts.intake.request_store.get(former)
    if record is None:
        return  # older than a week
    (tally,) = await parts.intake.request_store.tallies([former])
    still_open = len(record.hosts) - tally.ended
    if still_open:
        raise _NotFired("skipped", f"request {former} of the firing before is still open on {still_open} host(s)")


async def _submit(taken: TakenFiring, parts: Parts, *, now: float) -> None:
    schedule, ids = taken.schedule, ids_of(taken.schedule.schedule_id, taken.due)
    try:
        asked = ProfileRequest.model_validate(schedule.request)
        targets = (await targets_of(asked, schedule.tenant, parts.intake)).targets
        check_weight(asked, targets)
        targets = await sample_of(asked, targets, schedule.tenant, parts.intake)
    except NotSubmittable as error:
        first = error.faults[0]
        raise _NotFired("failed", f"{error.detail} {first.field}: {first.message}") from None
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, fault["loc"])) for fault in error.errors(include_input=False))
        raise _NotFired("failed", f"the request is not valid any more: {fields}") from None
    record = RequestRecord(
        request_id=ids.request_id, command_id=ids.command_id, tenant=schedule.tenant, submitted_by=schedule.owner,
        accepted_at=now, asked=asked, targets=targets,
    )  # fmt: skip
    await parts.audit.write(
        _act(schedule, AuditOutcome.ACCEPTED, "request.submit", now=now, objects=(ids.request_id, schedule.schedule_id),
             hosts=len(record.targets), targets=targets_digest(record.targets), details=wish_told(asked))
    )  # fmt: skip
    await submit(record, parts.intake)


def _act(schedule: Schedule, outcome: AuditOutcome, action: str, *, now: float, **facts: Any) -> Act:
    """What a schedule does is its owner's act."""
    return Act(
        at=now, action=action, outcome=outcome, tenant=schedule.tenant, actor=schedule.owner, actor_kind="schedule",
        service=schedule.service, **facts,
    )  # fmt: skip


def _told(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
