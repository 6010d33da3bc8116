"""`/api/v1/schedules`: requests that are submitted again and again."""

import hashlib
import json
import time
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

import structlog
from fastapi import APIRouter, Depends, Header, Path, Query, Request
from pydantic import ValidationError

from api import audit
from api.bodies import read_json
from api.dependencies import CallerDep, Studio, StudioDep
from api.documented import json_body, problems
from api.paging import NameFilter, Paging, Position, by_sorting, paged
from api.problems import Refusal, invalid, not_found
from api.rights import require, require_lasting, require_service
from api.submission import check_idempotency_key
from broker.audit_facts import changed, schedule_told
from broker.errors import IdempotencyConflict
from broker.schedule_store import Fired, Schedule, key_id, new_id, new_schedule
from broker.token_store import Token, TokenKind
from protocol.problems import FieldFault
from protocol.requests import unknown_fields, unsupported_fields
from protocol.schedules import (
    Firing,
    SchedulePage,
    SchedulePlan,
    ScheduleRow,
    ScheduleStored,
    ScheduleView,
    ScheduleWish,
)

log = structlog.get_logger(__name__)
router = APIRouter(prefix="/api/v1/schedules", tags=["schedules"])

TRIES: Final = 5
SERVICE: Final = "request.service_name"
MOMENTS: Final = ("start_at", "schedule")
"""Fields of a request that say when; the schedule says that."""

SORTS: Final = {"created_at": (str,), "-created_at": (str,), "name": (str, str), "-name": (str, str)}

ScheduleId = Annotated[str, Path(min_length=1, max_length=128)]


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    responses=problems(400, 401, 403, 409, 413, 415, 422, 503),
    openapi_extra=json_body(ScheduleWish),
    summary="Submit a request by the clock",
)
async def create(
    request: Request,
    caller: CallerDep,
    parts: StudioDep,
    idempotency_key: Annotated[str | None, Header(description="The same key and body make one schedule")] = None,
) -> ScheduleStored | SchedulePlan:
    """Make a schedule. It fires with the caller's rights, which are looked at each time. `dry_run`: only say when."""
    require(caller, [TokenKind.OPERATOR])
    require_lasting(caller)
    check_idempotency_key(idempotency_key)
    body = await read_json(request)
    wish = _validated(body)
    require_service(caller, wish.request.service_name, field=SERVICE)
    if wish.dry_run:
        return _plan(wish, body)
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    key = idempotency_key
    schedule_id = new_id() if key is None else key_id(caller.tenant, caller.token_id, key)
    made = new_schedule(
        wish, schedule_id=schedule_id, tenant=caller.tenant, by=caller.token_id, digest=digest, now=time.time()
    )
    await audit.accept(request, service=made.service, objects=[schedule_id], after=schedule_told(made.wish()))
    if not await parts.schedules.save(made):
        first = await _get(schedule_id, caller, parts)
        if first.digest != digest:
            raise IdempotencyConflict(key or "")
        return await _stored(first, body, parts)
    log.info(
        "schedule made", schedule_id=schedule_id, by=caller.token_id, service=made.service, cron=made.cron,
        timezone=made.timezone,
    )  # fmt: skip
    return await _stored(await _get(schedule_id, caller, parts), body, parts)


@router.get("", responses=problems(401, 403, 422, 503), summary="The schedules that the caller may see")
async def index(
    caller: CallerDep,
    parts: StudioDep,
    paging: Annotated[Paging, Depends(paged(SORTS, limit=100, most=1_000))],
    service_name: NameFilter = None,
    state: Annotated[Literal["active", "paused"] | None, Query(description="Only those that stand so")] = None,
) -> SchedulePage:
    """Schedules, oldest first, a page at a time. A tenant has at most a thousand."""
    require(caller, [TokenKind.OPERATOR, TokenKind.VIEWER])
    wanted = [
        schedule
        async for schedule in parts.schedules.all_of(caller.tenant)
        if caller.covers(schedule.service)
        and service_name in {None, schedule.service}
        and state in {None, "active" if schedule.active else "paused"}
    ]
    page = by_sorting(wanted, paging, by_name if "name" in paging.sort else by_age)
    return SchedulePage(items=[ScheduleRow(**_row(each)) for each in page.items], next_cursor=page.next_cursor)


@router.get("/{schedule_id}", responses=problems(401, 403, 404, 422, 503), summary="A schedule and its last firings")
async def show(schedule_id: ScheduleId, caller: CallerDep, parts: StudioDep) -> ScheduleView:
    """The schedule as it stands; its firings, newest first."""
    require(caller, [TokenKind.OPERATOR, TokenKind.VIEWER])
    return await _view(await _get(schedule_id, caller, parts), parts)


@router.patch(
    "/{schedule_id}",
    responses=problems(400, 401, 403, 404, 409, 413, 415, 422, 503),
    openapi_extra=json_body(ScheduleWish, optional=True),
    summary="Change, pause or resume a schedule",
)
async def change(
    request: Request, schedule_id: ScheduleId, caller: CallerDep, parts: StudioDep
) -> ScheduleStored | SchedulePlan:
    """Change what is given and leave the rest. From now on it fires with the rights of who changed it."""
    require(caller, [TokenKind.OPERATOR])
    require_lasting(caller)
    body = await read_json(request)
    if not body:
        raise invalid(more=[FieldFault(field="body", message="says nothing to change", code="missing")])
    for _ in range(TRIES):
        before = await _get(schedule_id, caller, parts)
        wish = _validated({**before.wish(), **body})
        require_service(caller, wish.request.service_name, field=SERVICE)
        if wish.dry_run:
            return _plan(wish, body)
        after = before.wishing(wish, by=caller.token_id, now=time.time())
        was, is_to_be = changed(schedule_told(before.wish()), schedule_told(after.wish()))
        await audit.accept(request, service=after.service, objects=[schedule_id], before=was, after=is_to_be)
        if await parts.schedules.save(after, forget_failures=after.active and not before.active):
            log.info(
                "schedule changed", schedule_id=schedule_id, by=caller.token_id, fields=sorted(body),
                active=after.active,
            )  # fmt: skip
            return await _stored(await _get(schedule_id, caller, parts), body, parts)
    raise Refusal("conflict", "Others change this schedule at this moment.")


@router.delete("/{schedule_id}", responses=problems(401, 403, 404, 422, 503), summary="Delete a schedule")
async def delete(request: Request, schedule_id: ScheduleId, caller: CallerDep, parts: StudioDep) -> ScheduleView:
    """Fire it no more. Requests that it has submitted go on; the answer is what it was."""
    require(caller, [TokenKind.OPERATOR])
    schedule = await _get(schedule_id, caller, parts)
    view = await _view(schedule, parts)
    before = schedule_told(schedule.wish())
    await audit.accept(request, service=schedule.service, objects=[schedule_id], before=before)
    await parts.schedules.delete(schedule)
    log.info("schedule deleted", schedule_id=schedule_id, by=caller.token_id, service=schedule.service)
    return view


def by_age(schedule: Schedule) -> Position:
    """By when it was made."""
    return (schedule.member,)


def by_name(schedule: Schedule) -> Position:
    """By its name, then by when it was made."""
    return schedule.name, schedule.member


async def _get(schedule_id: str, caller: Token, parts: Studio) -> Schedule:
    schedule = await parts.schedules.get(schedule_id)
    if schedule is None or schedule.tenant != caller.tenant or not caller.covers(schedule.service):
        raise not_found("schedule_id", "No such schedule.")
    return schedule


def _validated(body: dict[str, Any]) -> ScheduleWish:
    """The schedule, or every field at fault: those of its request that cannot be carried out too."""
    asked = body.get("request")
    fields = asked if isinstance(asked, dict) else {}
    faults = [
        FieldFault(field=f"request.{name}", message="a schedule says when its request begins", code="contradiction")
        for name in MOMENTS
        if fields.get(name) is not None
    ]
    faults += [
        FieldFault(field=f"request.{name}", message="is not supported by this version", code="not_supported")
        for name in unsupported_fields(fields)
        if name not in MOMENTS
    ]
    try:
        wish = ScheduleWish.model_validate(body)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False, include_context=False)
        raise invalid(errors, more=faults) from None
    if faults:
        raise invalid(more=faults)
    return wish


def _plan(wish: ScheduleWish, body: dict[str, Any]) -> SchedulePlan:
    return SchedulePlan(next_firings=wish.next_firings(after=time.time()), warnings=_warnings(body))


def _warnings(body: dict[str, Any]) -> list[str]:
    return [f"unknown field {f'request.{name}'!r} was ignored" for name in unknown_fields(body.get("request", {}))]


def _row(schedule: Schedule) -> dict[str, Any]:
    return {
        "id": schedule.schedule_id, "name": schedule.name, "service_name": schedule.service,
        "state": "active" if schedule.active else "paused", "reason": schedule.reason or None,
        "cron": schedule.cron, "timezone": schedule.timezone, "overlap": schedule.overlap,
        "catch_up": schedule.catch_up, "pause_after": schedule.pause_after,
        "next_fire_at": None if schedule.next_fire_at is None else _moment(schedule.next_fire_at),
        "failures_in_a_row": schedule.failures, "owner": schedule.owner, "created_by": schedule.created_by,
        "created_at": _moment(schedule.created_at), "updated_at": _moment(schedule.updated_at),

    }  # fmt: skip


async def _view(schedule: Schedule, parts: Studio) -> ScheduleView:
    firings = await parts.schedules.firings(schedule.schedule_id)
    return ScheduleView(**_row(schedule), request=schedule.request, firings=[_firing(fired) for fired in firings])


async def _stored(schedule: Schedule, body: dict[str, Any], parts: Studio) -> ScheduleStored:
    view = await _view(schedule, parts)
    coming = ScheduleWish.model_validate(schedule.wish()).next_firings(after=time.time()) if schedule.active else []
    return ScheduleStored(**view.model_dump(), next_firings=coming, warnings=_warnings(body))


def _firing(fired: Fired) -> Firing:
    return Firing(
        due_at=_moment(fired.due), fired_at=_moment(fired.at), outcome=fired.outcome, request_id=fired.request_id,
        reason=fired.reason,
    )  # fmt: skip


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
