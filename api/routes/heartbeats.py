"""`POST /api/metrics/heartbeat`: one step in the broker, held open where the agent prefers to wait.

The contract of heartbeats. Most of them are answered before they come here, by `api.fast_path`, and just so.
"""

from fastapi import APIRouter, Request, Response

from api.beats import exchange, heard_of, reply_of
from api.bodies import read_model
from api.dependencies import CallerDep, StudioDep, peer_in
from api.documented import json_body, problems
from api.held import hold
from api.preferences import preferred_wait
from api.rights import require, require_service
from broker.token_store import TokenKind
from protocol.heartbeats import Heartbeat, HeartbeatReply

router = APIRouter(tags=["agents"])


@router.post(
    "/api/metrics/heartbeat",
    response_model=HeartbeatReply,
    responses=problems(400, 401, 403, 413, 415, 422, 503),
    openapi_extra=json_body(Heartbeat),
    summary="An agent's heartbeat; the answer may carry a command",
)
async def beat(request: Request, caller: CallerDep, parts: StudioDep) -> Response:
    """Remember the host, take its acks, answer with what it has not acked.

    With `Prefer: wait=25` the answer is held until there is a command or 25 seconds have passed.
    """
    require(caller, [TokenKind.AGENT])
    heartbeat = await read_model(request, Heartbeat)
    require_service(caller, heartbeat.service_name)
    interval = parts.settings.heartbeat_interval
    heard = heard_of(heartbeat, caller, peer_in(request.scope, parts), interval=interval)
    wait = preferred_wait(request.headers.getlist("prefer"))
    if wait == 0:
        return reply_of(await exchange(heard, parts), interval=interval)
    response = reply_of(await hold(request.scope, request.receive, heard, wait, parts), interval=interval)
    response.headers["Preference-Applied"] = f"wait={wait}"
    return response
