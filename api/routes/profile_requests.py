"""`POST /api/metrics/profile_request`: from an operator's wish to entries in the hosts' streams."""

import hashlib
import json
import math
import time
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final
from uuid import UUID

import structlog
from fastapi import APIRouter, Header, Request
from pydantic import ValidationError

from api import audit
from api.bodies import read_json
from api.dependencies import CallerDep, Studio, StudioDep
from api.documented import json_body, problems
from api.problems import invalid
from api.rights import require, require_service
from api.submission import check_idempotency_key, lane_of_submission, read_counted
from broker.audit_facts import wish_told
from broker.request_record import RequestRecord
from broker.submission import check_weight, resume, sample_of, submit, targets_of
from broker.token_store import Token, TokenKind
from protocol.problems import FieldFault
from protocol.requests import (
    MOST_NAMES_SHOWN,
    ProfileRequest,
    RequestAccepted,
    unknown_fields,
    unsupported_fields,
)
from protocol.shares import share_of

log = structlog.get_logger(__name__)
router = APIRouter(tags=["requests"])

KeyHeader = Annotated[str | None, Header(description="The same key and body answer the same for 24 h")]
OVERHEAD: Final = timedelta(seconds=5)
"""Delivery, start and saving, on top of the duration, for the estimate."""


@router.post(
    "/api/metrics/profile_request",
    responses=problems(400, 401, 403, 409, 413, 415, 422, 503),
    openapi_extra=json_body(ProfileRequest),
    summary="Start or stop profiling on hosts of a service",
)
async def submit_request(
    request: Request,
    caller: CallerDep,
    parts: StudioDep,
    idempotency_key: KeyHeader = None,
) -> RequestAccepted:
    """Accept a request; `GET /api/v1/requests/{request_id}` follows it."""
    require(caller, [TokenKind.OPERATOR])
    check_idempotency_key(idempotency_key)
    body = await read_counted(request, caller, parts, read_json)
    return await accept(request, body, caller, parts, idempotency_key=idempotency_key)


async def accept(
    request: Request,
    body: dict[str, Any],
    caller: Token,
    parts: Studio,
    *,
    idempotency_key: str | None,
    digest: str | None = None,
) -> RequestAccepted:
    """Validate one request, look up what it means, and submit it unless it is a dry run.

    Args:
        request: the call that it came with.
        body: as it came.
        caller: an operator.
        parts: of this process.
        idempotency_key: of this request.
        digest: of what the key stands for, where that is more than this body.

    Raises:
        Refusal: it is one too many, or fields are at fault, all of them told, or the service is not the caller's.
        NotSubmittable: it cannot be submitted as things are.
        IdempotencyConflict: the key was used with something else.
        BrokerUnavailable: the server cannot be reached; may be repeated with the same key.
    """
    await parts.limits.check(request.scope, lane_of_submission(body), caller.token_id)
    asked = _validated(body)
    require_service(caller, asked.service_name)
    warnings = [f"unknown field {name!r} was ignored" for name in unknown_fields(body)]
    digest = digest or digest_of(body)
    key = None if asked.dry_run else idempotency_key
    if key is not None:
        # Before the targets are looked up: the live hosts of a service may be others by now.
        first = await parts.request_store.repeated(
            tenant=caller.tenant, token_id=caller.token_id, idempotency_key=key, body_digest=digest
        )
        if first is not None:
            again = {"repeated": True}
            await audit.accept(
                request, service=first.service, objects=[first.request_id], hosts=first.hosts, details=again
            )
            await resume(first, parts.intake)
            log.info("request repeated", request_id=first.request_id, by=caller.token_id)
            return _accepted(first, warnings)
    if asked.start_at is not None:
        _validated(body, now=time.time())  # not for a repeated call: its moment may have come meanwhile
    meant = await targets_of(asked, caller.tenant, parts.intake)
    check_weight(asked, meant.targets)
    targets = await sample_of(asked, meant.targets, caller.tenant, parts.intake)
    ticket = await parts.request_store.ticket(
        tenant=caller.tenant, token_id=caller.token_id, idempotency_key=key, body_digest=digest, now=time.time()
    )
    record = RequestRecord(
        request_id=ticket.request_id, command_id=ticket.command_id, tenant=caller.tenant,
        submitted_by=caller.token_id, accepted_at=ticket.accepted_at, asked=asked, targets=targets,
    )  # fmt: skip
    await audit.accept(
        request, service=asked.service_name, objects=[record.request_id], hosts=targets, details=wish_told(asked),
        action="request.dry_run" if asked.dry_run else None,
    )  # fmt: skip
    if not asked.dry_run:
        record = await submit(record, parts.intake)
    log.info(
        "request submitted", request_id=record.request_id, command_id=record.command_id, by=caller.token_id,
        command_type=asked.command_type, service=asked.service_name, hosts=len(record.targets), dry_run=asked.dry_run,
        path=request.url.path,
    )  # fmt: skip
    return _accepted(record, [*warnings, *meant.warnings])


def digest_of(body: Any) -> str:
    """What tells a body from another one."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _validated(body: dict[str, Any], *, now: float | None = None) -> ProfileRequest:
    """The request, or every field at fault: those we do not do yet and those that are wrong, in one answer.

    With `now`, in seconds, moments are held against the clock too; they always are when other fields are at fault.
    """
    not_supported = [
        FieldFault(
            field=name,
            message="is not supported by this version; ignoring it would profile more than you asked for",
            code="not_supported",
        )
        for name in unsupported_fields(body)
    ]
    try:
        asked = ProfileRequest.model_validate(body, context={"now": now})
    except ValidationError as error:
        if now is None:
            _validated(body, now=time.time())
        errors = error.errors(include_url=False, include_input=False, include_context=False)
        raise invalid(errors, more=not_supported) from None
    if not_supported:
        raise invalid(more=not_supported)
    return asked


def _most_at_once(record: RequestRecord) -> int:
    total, most = len(record.targets), record.asked.max_concurrency
    return total if most is None else share_of(most, total, least=1)


def _accepted(record: RequestRecord, warnings: list[str]) -> RequestAccepted:
    asked = record.asked
    lasts = timedelta(seconds=asked.duration) if asked.command_type == "start" else timedelta(0)
    begins = asked.start_at or datetime.fromtimestamp(record.accepted_at, UTC)
    rounds = math.ceil(len(record.targets) / _most_at_once(record))
    done = begins + rounds * (lasts + OVERHEAD)
    verb = asked.command_type.capitalize()
    outcome = "is valid; nothing was changed (dry run)" if asked.dry_run else "submitted successfully"
    return RequestAccepted(
        message=f"{verb} profiling request {outcome}",
        request_id=UUID(record.request_id),
        command_id=UUID(record.command_id),
        command_ids=[UUID(record.command_id)],
        estimated_completion_time=done.replace(microsecond=0),
        hosts=len(record.targets),
        warnings=warnings,
        dry_run=asked.dry_run,
        targets=sorted(record.targets)[:MOST_NAMES_SHOWN] if asked.dry_run else [],
    )
