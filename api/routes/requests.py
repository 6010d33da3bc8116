"""`/api/v1/requests`: following requests, and withdrawing them."""

import time
from dataclasses import replace
from typing import Annotated

import structlog
from fastapi import APIRouter, Path, Query, Request

from api import audit
from api.auth import require, require_service
from api.dependencies import CallerDep, Studio, StudioDep
from api.documented import problems
from api.problems import not_found
from api.views import RequestCancelled, RequestPage, RequestStatus, request_status, request_summary
from broker.request_record import RequestRecord
from broker.token_store import Token, TokenKind
from broker.withdrawal import withdraw
from protocol.names import MAX_NAME

log = structlog.get_logger(__name__)

router = APIRouter(prefix="/api/v1/requests", tags=["requests"])


@router.get(
    "/{request_id}", responses=problems(401, 403, 404, 422, 503), summary="A request's status, in total and per host"
)
async def show(
    request_id: Annotated[str, Path(min_length=1, max_length=128)],
    caller: CallerDep,
    parts: StudioDep,
    limit: Annotated[int, Query(ge=0, le=10_000, description="Hosts told in full; counts count all")] = 1_000,
) -> RequestStatus:
    """Where the request stands. A host that has not been heard of in its matter stands as `submitted`."""
    require(caller, [TokenKind.OPERATOR, TokenKind.VIEWER])
    record = await _known(request_id, caller, parts)
    names = sorted(record.hosts)[:limit]
    statuses = await parts.request_store.statuses(request_id, [record.key_of(name).path for name in names])
    (tally,) = await parts.request_store.tallies([request_id])
    rollout = await parts.rollouts.look(request_id) if record.is_rollout else None
    return request_status(record, tally, names, statuses, rollout)


@router.get("", responses=problems(401, 403, 422, 503), summary="The requests that the caller may see, newest first")
async def index(
    caller: CallerDep,
    parts: StudioDep,
    service_name: Annotated[str | None, Query(min_length=1, max_length=MAX_NAME)] = None,
    cursor: Annotated[
        str | None, Query(max_length=256, pattern=r"^[0-9]{1,16}:", description="next_cursor of the page before")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> RequestPage:
    """Requests of the last seven days, a page at a time."""
    require(caller, [TokenKind.OPERATOR, TokenKind.VIEWER])
    found: list[RequestRecord] = []
    last = cursor
    while len(found) <= limit:
        records = await parts.request_store.recent(caller.tenant, before=last, limit=limit + 1)
        found += [
            each for each in records if caller.covers(each.service) and service_name in {None, each.service}
        ]  # fmt: skip
        if len(records) <= limit:
            break
        last = parts.request_store.cursor_of(records[-1])
    page = found[:limit]
    tallies = await parts.request_store.tallies([each.request_id for each in page])
    return RequestPage(
        items=[request_summary(record, tally) for record, tally in zip(page, tallies, strict=True)],
        next_cursor=parts.request_store.cursor_of(page[-1]) if len(found) > limit else None,
    )


@router.delete(
    "/{request_id}", responses=problems(401, 403, 404, 422, 503), summary="Withdraw a request from all its hosts"
)
async def cancel(
    call: Request, request_id: Annotated[str, Path(min_length=1, max_length=128)], caller: CallerDep, parts: StudioDep
) -> RequestCancelled:
    """Queued, delivered and running work alike: each host ends it as `cancelled`, unless it has ended before.

    What others asked of the same hosts goes on. Repeating it changes nothing.
    """
    require(caller, [TokenKind.OPERATOR])
    record = await _known(request_id, caller, parts)
    require_service(caller, record.service)
    (tally,) = await parts.request_store.tallies([request_id])
    await audit.accept(call, service=record.service, objects=[request_id], hosts=record.hosts)
    await parts.request_store.note_cancelled(request_id, by=caller.token_id, now=time.time())
    record = replace(record, cancelled_by=record.cancelled_by or caller.token_id)
    if len(record.hosts) > parts.settings.fan_out_above:
        await parts.request_store.ask_for_job("cancel", request_id)
    else:
        await withdraw(record, parts.broker)
    hosts_open = len(record.hosts) - tally.ended
    log.info("request cancelled", request_id=request_id, by=caller.token_id, hosts_open=hosts_open)
    return RequestCancelled(
        message=f"Cancelling on {hosts_open} hosts" if hosts_open else "The request had ended on every host already",
        request_id=request_id,
        hosts_open=hosts_open,
    )


async def _known(request_id: str, caller: Token, parts: Studio) -> RequestRecord:
    """The request, if the caller may see it.

    Raises:
        Refusal: there is none, or it is of a service or tenant of which the caller must not even know.
    """
    record = await parts.request_store.get(request_id)
    if record is None or record.tenant != caller.tenant or not caller.covers(record.service):
        raise not_found("request_id", "No such request, or it is older than seven days.")
    return record
