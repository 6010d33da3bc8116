"""`GET /api/v1/requests/{request_id}`: following a request."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from api.auth import require
from api.dependencies import CallerDep, StudioDep
from api.documented import problems
from api.problems import not_found
from api.views import RequestStatus, request_status
from broker.token_store import TokenKind

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
    record = await parts.request_store.get(request_id)
    if record is None or record.tenant != caller.tenant or not caller.covers(record.service):
        raise not_found("request_id", "No such request, or it is older than seven days.")
    rollout = await parts.rollouts.look(request_id) if record.is_rollout else None
    return request_status(record, await parts.request_store.statuses(request_id), limit=limit, rollout=rollout)
