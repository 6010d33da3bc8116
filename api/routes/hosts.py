"""`GET /api/v1/hosts`: the fleet."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query

from api.auth import require
from api.dependencies import CallerDep, StudioDep
from api.documented import problems
from api.views import HostPage, host_view
from broker.token_store import TokenKind
from protocol.names import MAX_NAME
from protocol.pacing import stale_after

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
