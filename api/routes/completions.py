"""`POST /api/metrics/command_completion`: how a command ended on a host."""

import time
from collections.abc import Awaitable

from fastapi import APIRouter, Request

from api.bodies import read_model
from api.deliveries import tell_completed
from api.dependencies import CallerDep, Studio, StudioDep, peer_in
from api.documented import json_body, problems
from api.ownership import credential_of, spoken
from api.problems import Refusal
from api.rights import require, require_service
from broker.scripts import Contested, Credential, Recorded
from broker.token_store import Token, TokenKind
from protocol.completions import Completion, CompletionRecorded
from protocol.names import HostKey
from protocol.problems import FieldFault

router = APIRouter(tags=["agents"])


@router.post(
    "/api/metrics/command_completion",
    responses=problems(400, 401, 403, 404, 413, 415, 422, 503),
    openapi_extra=json_body(Completion),
    summary="An agent's word that a command has ended",
)
async def complete(request: Request, caller: CallerDep, parts: StudioDep) -> CompletionRecorded:
    """Record a completion; repeating it gets the same answer and records nothing more."""
    require(caller, [TokenKind.AGENT])
    completion = await read_model(request, Completion)
    service = await _service_of(completion, caller, parts)
    host = HostKey(caller.tenant, service, completion.hostname)

    def say(by: Credential) -> Awaitable[Recorded | Contested]:
        return parts.command_store.complete(host, completion, by=by, now=time.time())

    recorded = await spoken(say, credential_of(caller, host, peer_in(request.scope, parts)), host, parts.tokens)
    await tell_completed(host, completion, recorded, parts.command_store)
    if recorded is Recorded.UNKNOWN:
        raise _unknown(completion)
    return CompletionRecorded(message=f"Command completion recorded for {completion.command_id}")


async def _service_of(completion: Completion, caller: Token, parts: Studio) -> str:
    """The service the command belongs to: agents in the field do not say it."""
    if completion.service_name is not None:
        require_service(caller, completion.service_name)
        return completion.service_name
    owner = await parts.request_store.owner_of(completion.command_id)
    if owner is None or owner[0] != caller.tenant or not caller.covers(owner[1]):
        # Another's command is as unknown as none: an answer that tells them apart tells of others' commands.
        raise _unknown(completion)
    return owner[1]


def _unknown(completion: Completion) -> Refusal:
    fault = FieldFault(field="command_id", message=f"unknown for host {completion.hostname}", code="unknown_command")
    objects = [completion.command_id, completion.hostname]
    return Refusal("unknown_command", "This host was never given that command.", errors=[fault], objects=objects)
