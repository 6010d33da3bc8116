"""`POST /api/metrics/profile_request/bulk`: many requests in one call, each for itself."""

from functools import partial
from typing import Any, Final

import structlog
from fastapi import APIRouter, Request

from api import audit
from api.bodies import read_model
from api.dependencies import CallerDep, Studio, StudioDep
from api.documented import json_body, problems
from api.limit_settings import Lane
from api.problems import MOST_FAULTS_TOLD, TABLE, Refusal, invalid, key_told, refusal_of
from api.rights import require
from api.routes.profile_requests import KeyHeader, accept, digest_of
from api.submission import check_idempotency_key, read_counted
from broker.errors import BrokerUnavailable
from broker.token_store import Token, TokenKind
from protocol.bulk import BulkAnswer, BulkRequest, BulkResult
from protocol.problems import FieldFault, Problem

log = structlog.get_logger(__name__)
router = APIRouter(tags=["requests"])

MOST_IN_WORDS: Final = 10
"""Faults of one request that its `error` tells; its `problem` has all, unless those of the call are absurdly many."""


@router.post(
    "/api/metrics/profile_request/bulk",
    responses=problems(400, 401, 403, 413, 415, 422, 503),
    openapi_extra=json_body(BulkRequest),
    summary="Submit many requests, each for itself",
)
async def submit_many(
    request: Request, caller: CallerDep, parts: StudioDep, idempotency_key: KeyHeader = None
) -> BulkAnswer:
    """Accept or refuse each request by the rules of one, in their order: what is wrong with one holds up no other."""
    require(caller, [TokenKind.OPERATOR])
    check_idempotency_key(idempotency_key)
    bulk = await read_counted(request, caller, parts, partial(read_model, model=BulkRequest))
    digest = digest_of({"requests": bulk.requests, "dry_run": bulk.dry_run})
    results: list[BulkResult] = []
    left = MOST_FAULTS_TOLD  # of the whole call: the answer would outweigh the body ten times
    for index, body in enumerate(bulk.requests):
        # A header holds no NUL: nobody's own key is one of these.
        key = None if idempotency_key is None else f"{idempotency_key}\0{index}"
        audit.begin_anew(request)
        asked = _dry(body) if bulk.dry_run else body
        try:
            result = await _accepted(request, index, asked, caller, parts, key=key, digest=digest)
        except Exception as error:
            refused = refusal_of(error)
            # What is accepted must be told: then the rest is refused item by item, with the same words.
            nothing_yet = isinstance(error, BrokerUnavailable) and not any(each.success for each in results)
            if refused is None or nothing_yet:
                raise
            result = _refused(index, asked, refused, most=max(left, MOST_IN_WORDS))
            left -= len(refused.errors)
            await audit.record_refused_item(
                request, refused.code, TABLE[refused.code].status, index=index, objects=refused.objects,
                service=result.service_name,
            )  # fmt: skip
        results.append(result)
    done = sum(result.success for result in results)
    log.info("requests submitted", count=len(results), accepted=done, by=caller.token_id, dry_run=bulk.dry_run)
    return BulkAnswer(
        total_submitted=len(results), successful_count=done, failed_count=len(results) - done, results=results
    )


def _dry(body: Any) -> Any:
    """A dry run of a request; what is no answer to whether it is one stays, to be told as a fault."""
    if not isinstance(body, dict) or not isinstance(body.get("dry_run"), bool | None):
        return body
    return {**body, "dry_run": True}


async def _accepted(
    request: Request, index: int, body: Any, caller: Token, parts: Studio, *, key: str | None, digest: str
) -> BulkResult:
    if not isinstance(body, dict):
        await parts.limits.check(request.scope, Lane.SUBMISSIONS, caller.token_id)
        fault = FieldFault(field=f"requests.{index}", message="must be a JSON object", code="dict_type")
        raise invalid(more=[fault])
    response = await accept(request, body, caller, parts, idempotency_key=key, digest=digest)
    return BulkResult(index=index, service_name=_service_in(body), success=True, response=response)


def _refused(index: int, body: Any, refused: Refusal, *, most: int) -> BulkResult:
    row = TABLE[refused.code]
    told = refused.errors[:most]
    rest = f" The first {most} are told here." if len(told) < len(refused.errors) else ""
    problem = Problem(title=row.title, status=row.status, code=refused.code, detail=refused.detail + rest, errors=told)
    words = [f"{fault.field}: {fault.message}" for fault in told[:MOST_IN_WORDS]]
    error = " ".join([refused.detail, "; ".join(words)]).strip()
    return BulkResult(index=index, service_name=_service_in(body), success=False, error=error, problem=problem)


def _service_in(body: Any) -> str:
    """The service as the request said it, made fit to be told; empty where it said none."""
    said = body.get("service_name") if isinstance(body, dict) else None
    return key_told(said) if isinstance(said, str) else ""
