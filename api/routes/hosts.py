"""`GET /api/v1/hosts`: the fleet, and one host of it with its history."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal

import structlog
from fastapi import APIRouter, Depends, Query, Request

from api import audit
from api.dependencies import CallerDep, Studio, StudioDep
from api.documented import problems
from api.paging import NameFilter, Paging, Position, by_sorting, in_order, paged
from api.problems import not_found
from api.rights import require
from api.slashed_names import NameInPath
from api.views import HostDetail, HostPage, HostReleased, host_detail, host_view
from broker.keys import Place
from broker.token_store import Token, TokenKind
from protocol.names import HostKey
from protocol.pacing import stale_after

log = structlog.get_logger(__name__)
router = APIRouter(prefix="/api/v1/hosts", tags=["hosts"])

SORTS: Final = {
    "partition": (int, str),  # and by path: as they are stored, which is the cheapest
    "hostname": (str, str),
    "-hostname": (str, str),
    "last_beat": (int, str),
    "-last_beat": (int, str),
}


def by_name(beat: tuple[Place, int]) -> Position:
    """By the host's name, then its service's."""
    key = beat[0].host_key
    return key.host, key.service


def by_last_beat(beat: tuple[Place, int]) -> Position:
    """By the moment it was heard last."""
    return beat[1], beat[0].path


@router.get("", responses=problems(401, 403, 422, 503), summary="The hosts that the caller may see")
async def index(
    caller: CallerDep,
    parts: StudioDep,
    paging: Annotated[Paging, Depends(paged(SORTS, limit=1_000, most=10_000))],
    service_name: NameFilter = None,
    hostname: NameFilter = None,
    status: Annotated[Literal["online", "stale"] | None, Query(description="Only those that stand so")] = None,
) -> HostPage:
    """Hosts a page at a time."""
    require(caller, [TokenKind.OPERATOR, TokenKind.VIEWER])
    stale_before = datetime.now(UTC) - stale_after(timedelta(seconds=parts.settings.heartbeat_interval))

    def is_wanted(key: HostKey, beat: float) -> bool:
        return (
            caller.covers(key.service)
            and service_name in {None, key.service}
            and hostname in {None, key.host}
            and status in {None, "stale" if beat < stale_before.timestamp() * 1000 else "online"}
        )

    if paging.sort == "partition":
        after = None if paging.after is None else Place(*paging.after)  # type: ignore[arg-type]  # by its shape
        hosts = parts.registry.all_of(caller.tenant, service=service_name, after=after, first_page=paging.limit + 1)
        page = await in_order(
            hosts, paging, parts.registry.place_of, lambda host: is_wanted(host.key, host.last_beat.timestamp() * 1000)
        )
        found, cursor = page.items, page.next_cursor
    else:
        beats = [
            each
            for each in await parts.registry.beats_of(caller.tenant, service=service_name)
            if is_wanted(each[0].host_key, each[1])
        ]
        chosen = by_sorting(beats, paging, by_name if "hostname" in paging.sort else by_last_beat)
        found, cursor = await parts.registry.known(chosen.items), chosen.next_cursor
    return HostPage(items=[host_view(host, stale_before=stale_before) for host in found], next_cursor=cursor)


@router.get(
    "/{service_name}/{hostname}",
    responses=problems(401, 403, 404, 422, 503),
    summary="One host: its command, and those that have ended",
)
async def show(
    service_name: NameInPath,
    hostname: NameInPath,
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
    call: Request,
    service_name: NameInPath,
    hostname: NameInPath,
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
    was = {"owner": known.owner if known is not None else "", "enrolled": bought is not None}
    await audit.accept(call, service=service_name, hosts=[hostname], before=was, after={"owner": ""})
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
