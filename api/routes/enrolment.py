"""`POST /api/v1/enrol`: an enrolment token buys one host a credential of its own."""

from http import HTTPStatus

import structlog
from fastapi import APIRouter, Request

from api import audit
from api.bodies import read_model
from api.dependencies import CallerDep, StudioDep, peer_in
from api.documented import json_body, problems
from api.problems import Refusal
from api.rights import require_service
from broker.scripts import Bought
from broker.token_store import TokenKind, digest_of, new_secret
from protocol.enrolment import Enrolled, EnrolmentWish
from protocol.names import HostKey
from protocol.problems import FieldFault

log = structlog.get_logger(__name__)
router = APIRouter(tags=["agents"])


@router.post(
    "/api/v1/enrol",
    status_code=HTTPStatus.CREATED,
    responses=problems(400, 401, 403, 409, 413, 415, 422, 503),
    openapi_extra=json_body(EnrolmentWish),
    summary="Buy a host a credential of its own",
)
async def enrol(request: Request, caller: CallerDep, parts: StudioDep) -> Enrolled:
    """The credential is an agent's token for this service and host alone, until it is revoked or the host released.

    With `credential_sha256` the call may be repeated: it costs one use, and answers the same.
    """
    if caller.kind is not TokenKind.ENROLMENT:  # not an admin's either: what enrols is counted
        raise _refused("Authorization", "token_kind", "A token of kind enrolment is needed.")
    wish = await read_model(request, EnrolmentWish)
    require_service(caller, wish.service_name)
    host = HostKey(caller.tenant, wish.service_name, wish.hostname)
    if peer_in(request.scope, parts).fault_for(host):
        why = "The connection must have a client certificate with the host's name."
        raise _refused("hostname", "credential_conflict", why)
    secret = None if wish.credential_sha256 is not None else new_secret()
    digest = wish.credential_sha256 or digest_of(secret or "")
    await audit.accept(request, service=host.service, hosts=[host.host], details={"host_id": wish.host_id})
    bought, token = await parts.tokens.enrol(caller, host, digest=digest, host_id=wish.host_id or "")
    if token is None:
        log.warning("enrolment refused", host=host.path, by=caller.token_id, outcome=bought.value)
        if bought is Bought.SPENT:
            raise _refused("Authorization", "spent", "This enrolment token has enrolled as many hosts as it may.")
        why = "This host has a credential already; an admin can release it."
        fault = FieldFault(field="hostname", message=why, code="conflict")
        raise Refusal("conflict", why, errors=[fault])
    log.info("host enrolled", host=host.path, token_id=token.token_id, by=caller.token_id, outcome=bought.value)
    return Enrolled(token_id=token.token_id, service_name=host.service, hostname=host.host, token=secret)


def _refused(field: str, code: str, why: str) -> Refusal:
    return Refusal("forbidden", why, errors=[FieldFault(field=field, message=why, code=code)])
