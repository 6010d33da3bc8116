"""Errors on the wire: one table from exception to status, code and log level; RFC 9457 bodies."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from broker.errors import BrokerUnavailable, IdempotencyConflict
from protocol.pacing import RETRY_AFTER
from protocol.problems import MEDIA_TYPE, FieldFault, Problem

log = structlog.get_logger(__name__)


class Refusal(Exception):
    """A request that is turned down: facts for the table below. Never carries a secret."""

    def __init__(self, code: str, detail: str, *, errors: Sequence[FieldFault] = ()) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.errors = list(errors)


class Row(NamedTuple):
    """What the edge makes of a code."""

    status: HTTPStatus
    title: str
    level: str = "info"
    headers: Mapping[str, str] = {}


_RETRY: Final = {"Retry-After": str(int(RETRY_AFTER.total_seconds()))}

TABLE: Final[Mapping[str, Row]] = {
    "invalid": Row(HTTPStatus.UNPROCESSABLE_ENTITY, "The request is not valid"),
    "malformed_json": Row(HTTPStatus.BAD_REQUEST, "The body is not JSON"),
    "unauthenticated": Row(
        HTTPStatus.UNAUTHORIZED, "A valid token is needed", "warning", {"WWW-Authenticate": "Bearer"}
    ),
    "forbidden": Row(HTTPStatus.FORBIDDEN, "This token may not do that", "warning"),
    "not_found": Row(HTTPStatus.NOT_FOUND, "There is no such thing"),
    "unknown_command": Row(HTTPStatus.NOT_FOUND, "This host has no such command", "warning"),
    "idempotency_conflict": Row(HTTPStatus.CONFLICT, "The Idempotency-Key was used for something else"),
    "too_large": Row(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is too large"),
    "unsupported_media_type": Row(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body must be application/json"),
    "broker_unavailable": Row(
        HTTPStatus.SERVICE_UNAVAILABLE, "The broker cannot be reached; try again", "error", _RETRY
    ),
    "internal": Row(HTTPStatus.INTERNAL_SERVER_ERROR, "Something broke on our side", "error"),
}
"""Stable code -> status, title, log level, headers."""


def problem(code: str, detail: str, errors: Sequence[FieldFault] = ()) -> Response:
    """The answer for a code of the table."""
    row = TABLE[code]
    body = Problem(title=row.title, status=row.status, code=code, detail=detail, errors=list(errors))
    return Response(body.model_dump_json(), row.status, dict(row.headers), MEDIA_TYPE)


def faults_of(errors: Sequence[Any]) -> list[FieldFault]:
    """Every field at fault, as pydantic tells them. The value given is left out: it may be a secret, or huge."""
    faults = []
    for error in errors:
        path = [str(part) for part in error["loc"] if part not in {"body", "query", "header", "path"}]
        faults.append(FieldFault(field=".".join(path) or "body", message=error["msg"], code=error["type"]))
    return faults


def _answer(request: Request, code: str, detail: str, errors: Sequence[FieldFault] = ()) -> Response:
    row = TABLE[code]
    say = getattr(log, row.level)
    say("refused", code=code, path=request.url.path, method=request.method, fields=[fault.field for fault in errors])
    return problem(code, detail, errors)


async def _refusal(request: Request, error: Any) -> Response:
    return _answer(request, error.code, error.detail, error.errors)


async def _invalid(request: Request, error: Any) -> Response:
    faults = faults_of(error.errors())
    return _answer(request, "invalid", f"{len(faults)} field(s) at fault; see errors.", faults)


async def _conflict(request: Request, error: Any) -> Response:
    fault = FieldFault(field="Idempotency-Key", message=str(error), code="idempotency_conflict")
    return _answer(request, "idempotency_conflict", str(error), [fault])


async def _unavailable(request: Request, error: Any) -> Response:
    return _answer(request, "broker_unavailable", str(error))


async def _http(_: Request, error: Any) -> Response:
    status = HTTPStatus(error.status_code)
    if status is HTTPStatus.NOT_FOUND:
        return problem("not_found", "No route is at this path.")
    body = Problem(title=status.phrase, status=status, code=status.name.lower(), detail=str(error.detail))
    return Response(body.model_dump_json(), status, dict(error.headers or {}), MEDIA_TYPE)


async def _broken(request: Request, error: Exception) -> Response:
    log.error("unexpected", path=request.url.path, exc_info=error)
    return problem("internal", "The log of the API says more.")


def install(app: FastAPI) -> None:
    """Answer every exception by the table."""
    for kind, handler in (
        (Refusal, _refusal),
        (RequestValidationError, _invalid),
        (ValidationError, _invalid),
        (IdempotencyConflict, _conflict),
        (BrokerUnavailable, _unavailable),
        (HTTPException, _http),
        (Exception, _broken),
    ):
        app.add_exception_handler(kind, handler)
