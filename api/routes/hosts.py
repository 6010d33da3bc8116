"""`GET /api/v1/hosts`: the fleet, and one host of it with its history."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import structlog
from fastapi import APIRouter, Path, Query

from api.auth import require
from api.dependencies import CallerDep, Studio, StudioDep
from api.documented import problems
from api.problems import not_found
from api.views import HostDetail, HostPage, HostReleased, host_detail, host_view
from broker.token_store import Token, TokenKind
from protocol.names import MAX_NAME, HostKey
from protocol.pacing import stale_after

log = structlog.get_logger(__name__)
router = APIRouter(prefix="/api/v1/hosts", tags=["hosts"])


@router.get("", responses=problems(401, 403, 422, 503), summary="The hosts that the caller may see")
async def index(
    caller: CallerDep,
    parts: StudioDep,
    service_name: Annotated[str | None, Query(min_length=1, max_length=MAX_NAME)] = None,
    cursor: Annotated[
        str | None, Query(max_length=4096, pattern=r"^[0-9]{1,4}:", description="next_cursor of the page before")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1_000,
) -> HostPage:
    """Hosts by partition and path, a page at a time."""
    require(caller, [TokenKind.OPERATOR, TokenKind.VIEWER])
    stale_before = datetime.now(UTC) - stale_after(timedelta(seconds=parts.settings.heartbeat_interval))
    page = HostPage(items=[])
    last: str | None = None
    async for host in parts.registry.all_of(caller.tenant, after=cursor):
        if not caller.covers(host.key.service) or service_name not in {None, host.key.service}:
            continue
        if len(page.items) == limit:
            page.next_cursor = last
            break
        page.items.append(host_view(host, stale_before=stale_before))
        last = parts.registry.cursor_of(host)
    return page


@router.get(
    "/{service_name}/{hostname}",
    responses=problems(401, 403, 404, 422, 503),
    summary="One host: its command, and those that have ended",
)
async def show(
    service_name: Annotated[str, Path(min_length=1, max_length=MAX_NAME)],
    hostname: Annotated[str, Path(min_length=1, max_length=MAX_NAME)],
    caller: CallerDep,
    parts: StudioDep,
) -> HostDetail:
    """What the agent said last, what it is to do, and what became of the last hundred commands."""
    require(caller, [TokenKind.OPERATOR, TokenKind.VIEWER])
    key = HostKey(caller.tenant, service_name, hostname)
    known = await parts.registry.get(key) if caller.covers(service_name) else None
    if known is None:
        raise not_found("hostname", "No such host in this service, or it has been silent for seven days.")
    stale_before = datetime.now(UTC) - stale_after(timedelta(seconds=parts.settings.heartbeat_interval))
    return host_detail(known, await parts.command_store.standing(key), stale_before=stale_before)


@router.delete(
    "/{service_name}/{hostname}/owner",
    responses=problems(401, 403, 404, 422, 503),
    summary="Release a host from the token that owns it",
)
async def release(
    service_name: Annotated[str, Path(min_length=1, max_length=MAX_NAME)],
    hostname: Annotated[str, Path(min_length=1, max_length=MAX_NAME)],
    caller: CallerDep,
    parts: StudioDep,
) -> HostReleased:
    """The next token that beats for the host owns it. A credential bought for it is revoked; another may be bought."""
    require(caller, [])
    key = HostKey(caller.tenant, service_name, hostname)
    known, bought = None, None
    if caller.covers(service_name):
        known, bought = await parts.registry.get(key), await parts.tokens.credential_of(key)
    if known is None and bought is None:
        raise not_found("hostname", "No such host in this service, or it has been silent for seven days.")
    revoked = await _revoke(bought, parts)
    released = await parts.registry.release(key)
    log.info("host released", host=key.path, by=caller.token_id, owner=released, revoked=revoked)
    return HostReleased(service_name=service_name, hostname=hostname, owner=released, revoked=revoked)


async def _revoke(bought: Token | None, parts: Studio) -> str | None:
    """Revoke a host's own credential, before the host is free; gives its id, where it was good until now."""
    if bought is None or bought.revoked_at is not None:
        return None
    await parts.tokens.revoke(bought.token_id, tenant=bought.tenant)
    return bought.token_id
