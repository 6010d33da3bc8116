"""`/api/v1/requests`: following requests, and withdrawing them."""

import time
from bisect import bisect_left, bisect_right
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated, Final

import structlog
from fastapi import APIRouter, Depends, Path, Query, Request

from api import audit
from api.dependencies import CallerDep, Studio, StudioDep
from api.documented import problems
from api.paging import NameFilter, Paging, in_order, paged
from api.problems import not_found
from api.rights import require, require_service
from api.views import (
    RequestCancelled,
    RequestHosts,
    RequestOnHost,
    RequestPage,
    RequestStatus,
    on_host,
    request_status,
    request_summary,
)
from broker.request_record import RequestRecord
from broker.token_store import Token, TokenKind
from broker.withdrawal import withdraw
from protocol.lifecycle import State
from protocol.requests import CommandType
from protocol.wording import counted

log = structlog.get_logger(__name__)

router = APIRouter(prefix="/api/v1/requests", tags=["requests"])

SORTS: Final = {"-accepted_at": (int, str), "accepted_at": (int, str)}
HOST_SORTS: Final = {"hostname": (str,), "-hostname": (str,)}
READ_AT_ONCE: Final = 1_000
"""Hosts of a request: what is done with so many holds up nobody else."""


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
    # In this order: what is over by its counts has no host that is shown as it stood before.
    (tally,) = await parts.request_store.tallies([request_id])
    statuses = await parts.request_store.statuses(request_id, [record.key_of(name).path for name in names])
    rollout = await parts.rollouts.look(request_id) if record.is_rollout else None
    return request_status(record, tally, names, statuses, rollout)


@router.get(
    "/{request_id}/hosts",
    responses=problems(401, 403, 404, 422, 503),
    summary="The hosts of a request, a page at a time; all, or those that stand so",
)
async def hosts(
    request_id: Annotated[str, Path(min_length=1, max_length=128)],
    caller: CallerDep,
    parts: StudioDep,
    paging: Annotated[Paging, Depends(paged(HOST_SORTS, limit=1_000, most=10_000))],
    status: Annotated[list[State] | None, Query(max_length=len(State), description="Only those that stand so")] = None,
) -> RequestHosts:
    """Where the request stands on each host, by name. Of a large one, this finds those where it went wrong."""
    require(caller, [TokenKind.OPERATOR, TokenKind.VIEWER])
    record = await _known(request_id, caller, parts)
    page = await in_order(
        _hosts_of(record, paging, parts), paging, lambda host: (host.hostname,),
        lambda host: status is None or host.status in status,
    )  # fmt: skip
    return RequestHosts(items=page.items, next_cursor=page.next_cursor)


@router.get("", responses=problems(401, 403, 422, 503), summary="The requests that the caller may see, newest first")
async def index(
    caller: CallerDep,
    parts: StudioDep,
    paging: Annotated[Paging, Depends(paged(SORTS, limit=100, most=1_000))],
    service_name: NameFilter = None,
    command_type: Annotated[CommandType | None, Query(description="Only starts, or only stops")] = None,
    submitted_by: Annotated[str | None, Query(min_length=1, max_length=128, description="The id of a token")] = None,
) -> RequestPage:
    """Requests of the last seven days, a page at a time."""
    require(caller, [TokenKind.OPERATOR, TokenKind.VIEWER])
    store = parts.request_store
    after = None if paging.after is None else (int(paging.after[0]), str(paging.after[1]))
    page = await in_order(
        store.all_of(caller.tenant, after=after, newest_first=paging.descending),
        paging,
        store.place_of,
        lambda record: (
            caller.covers(record.service)
            and service_name in {None, record.service}
            and command_type in {None, record.asked.command_type}
            and submitted_by in {None, record.submitted_by}
        ),
    )
    tallies = await store.tallies([each.request_id for each in page.items])
    return RequestPage(
        items=[request_summary(record, tally) for record, tally in zip(page.items, tallies, strict=True)],
        next_cursor=page.next_cursor,
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
    where = f"on {counted(hosts_open, 'host')}"
    return RequestCancelled(
        message=f"Cancelling {where}" if hosts_open else "The request had ended on every host already",
        request_id=request_id,
        hosts_open=hosts_open,
    )


async def _hosts_of(record: RequestRecord, paging: Paging, parts: Studio) -> AsyncIterator[RequestOnHost]:
    """The hosts behind a cursor, in its order."""
    hosts_of_it = record.hosts  # made anew whenever it is asked for
    names = sorted(hosts_of_it)
    if paging.after is not None:
        last = str(paging.after[0])
        names = names[: bisect_left(names, last)] if paging.descending else names[bisect_right(names, last) :]
    if paging.descending:
        names.reverse()
    for at in range(0, len(names), READ_AT_ONCE):
        some = names[at : at + READ_AT_ONCE]
        statuses = await parts.request_store.statuses(record.request_id, [record.key_of(name).path for name in some])
        for name in some:
            yield on_host(name, hosts_of_it[name], statuses.get(name))


async def _known(request_id: str, caller: Token, parts: Studio) -> RequestRecord:
    """The request, if the caller may see it.

    Raises:
        Refusal: there is none, or it is of a service or tenant of which the caller must not even know.
    """
    record = await parts.request_store.get(request_id)
    if record is None or record.tenant != caller.tenant or not caller.covers(record.service):
        raise not_found("request_id", "No such request, or it is older than seven days.")
    return record
