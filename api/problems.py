"""Errors on the wire: one table from exception to status, code and log level; RFC 9457 bodies."""

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from api import audit
from api.buckets import Buckets
from broker.errors import BrokerUnavailable, IdempotencyConflict, NotSubmittable, TooManySchedules
from broker.logs import call_id
from broker.quotas import Quota
from protocol.pacing import RETRY_AFTER
from protocol.problems import MEDIA_TYPE, FieldFault, Problem

log = structlog.get_logger(__name__)

MOST_FAULTS_TOLD: Final = 1_000
"""A body of a mebibyte can have a hundred thousand faults: nobody reads on, and the answer would outweigh the body."""
MOST_FAULTS_LOGGED: Final = 20
LONGEST_KEY: Final = 100
NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


_lines: Final = Buckets(Quota(100, 10))
"""Of each kind of refusal so many are logged, and how many there were beside them: whoever is refused may come again,
with no token at all or as often as an agent may beat."""
_unsaid: Final[Counter[str]] = Counter()


class Refusal(Exception):
    """A request that is turned down: facts for the table below. Never carries a secret."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        errors: Sequence[FieldFault] = (),
        objects: Sequence[str] = (),
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.errors = list(errors)
        self.headers = headers
        """Beside those of the table, and before them."""
        self.objects = objects
        """Ids of what was to be acted upon, for the audit trail; by default those of the path."""


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
    "conflict": Row(HTTPStatus.CONFLICT, "This cannot be done as things are"),
    "too_large": Row(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is too large"),
    "unsupported_media_type": Row(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body must be application/json"),
    "rate_limited": Row(HTTPStatus.TOO_MANY_REQUESTS, "Too much at once; come again later", "warning", _RETRY),
    "too_many_listeners": Row(
        HTTPStatus.TOO_MANY_REQUESTS, "This token listens to too many streams", "warning", _RETRY
    ),
    "no_room": Row(HTTPStatus.SERVICE_UNAVAILABLE, "This process has no room for more streams", "warning", _RETRY),
    "broker_unavailable": Row(
        HTTPStatus.SERVICE_UNAVAILABLE, "The broker cannot be reached; try again", "error", _RETRY
    ),
    "storage_unavailable": Row(
        HTTPStatus.SERVICE_UNAVAILABLE, "Profiles cannot be stored or read just now; try again", "error", _RETRY
    ),
    "issuer_unavailable": Row(
        HTTPStatus.SERVICE_UNAVAILABLE, "The issuer of sign-ins cannot be reached; try again", "error", _RETRY
    ),
    "internal": Row(HTTPStatus.INTERNAL_SERVER_ERROR, "Something broke on our side", "error"),
}
"""Stable code -> status, title, log level, headers."""


def problem(
    code: str, detail: str, errors: Sequence[FieldFault] = (), headers: Mapping[str, str] = NO_HEADERS
) -> Response:
    """The answer for a code of the table."""
    row = TABLE[code]
    body = Problem(title=row.title, status=row.status, code=code, detail=detail, errors=list(errors))
    return Response(body.model_dump_json(), row.status, {**row.headers, **headers}, MEDIA_TYPE)


def faults_of(errors: Sequence[Any]) -> list[FieldFault]:
    """Every field at fault, as pydantic tells them. The value given is left out: it may be a secret, or huge."""
    return [
        FieldFault(
            field=".".join(key_told(str(part)) for part in error["loc"]) or "body",
            message=error["msg"],
            code=error["type"],
        )
        for error in errors
    ]


def key_told(key: str) -> str:
    """A key as it may stand in an answer: the caller made it up, so it may be endless or hold lone surrogates."""
    text = key if len(key) <= LONGEST_KEY else f"{key[:LONGEST_KEY]}…"
    return text.encode(errors="replace").decode()


def invalid(errors: Sequence[Any] = (), *, more: Sequence[FieldFault] = ()) -> Refusal:
    """Fields at fault, as pydantic tells them and more: all of them are told, unless there are absurdly many."""
    told = [*more, *faults_of(errors[:MOST_FAULTS_TOLD])]
    count = len(more) + len(errors)
    rest = f" The first {len(told)} are told." if len(told) < count else ""
    return Refusal("invalid", f"{count} field(s) at fault; see errors.{rest}", errors=told)


def not_found(field: str, detail: str) -> Refusal:
    """What a part of the path names is not there, or not for this caller."""
    return Refusal("not_found", detail, errors=[FieldFault(field=field, message=detail, code="not_found")])


def answer(request: Request, refused: Refusal) -> Response:
    """The answer to a request that is turned down, and a line in the log; of a flood, not a line for each."""
    audit.note_refusal(request, refused.code, TABLE[refused.code].status, objects=refused.objects)
    if may_be_logged(refused.code):
        fields = [fault.field for fault in refused.errors[:MOST_FAULTS_LOGGED]]
        log_refusal(refused.code, path=request.url.path, method=request.method, fields=fields)
    return problem(refused.code, refused.detail, refused.errors, refused.headers)


def may_be_logged(code: str, count: int = 1) -> bool:
    """Whether a refusal has a line in the log: of a flood only some have, and it is counted what was left out.

    Args:
        code: of the refusal, or what else tells its kind.
        count: how many there are of which this is the first: where it has none, the others have none either.
    """
    if not _lines.passes(code, now=time.monotonic()):
        _unsaid[code] += count
        return False
    if unsaid := _unsaid.pop(code, 0):
        log.warning("more were refused", code=code, count=unsaid)
    return True


def log_refusal(code: str, *, path: str, method: str, fields: Sequence[str]) -> None:
    """Log that a call was turned down."""
    getattr(log, TABLE[code].level)("refused", code=code, path=path, method=method, fields=fields)


def refusal_of(error: Exception) -> Refusal | None:
    """What an error comes to where it is one item's of several; None for one that nobody counted on."""
    match error:
        case Refusal():
            return error
        case IdempotencyConflict():
            fault = FieldFault(field="Idempotency-Key", message=str(error), code="idempotency_conflict")
            return Refusal("idempotency_conflict", str(error), errors=[fault])
        case NotSubmittable():
            return Refusal("invalid", error.detail, errors=error.faults)
        case BrokerUnavailable():
            return Refusal("broker_unavailable", str(error))
        case _:
            return None


class FewWarnings(logging.Filter):
    """Of the server's own warnings, as of calls that are no HTTP, a log has as few as of refusals."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is logged."""
        return record.levelno != logging.WARNING or may_be_logged(str(record.msg))


async def _refusal(request: Request, error: Any) -> Response:
    return answer(request, error)


async def _invalid(request: Request, error: Any) -> Response:
    """Faults of query, path and headers; the first part of their path says where they stand."""
    return answer(request, invalid([{**fault, "loc": fault["loc"][1:]} for fault in error.errors()]))


async def _conflict(request: Request, error: Any) -> Response:
    fault = FieldFault(field="Idempotency-Key", message=str(error), code="idempotency_conflict")
    return answer(request, Refusal("idempotency_conflict", str(error), errors=[fault]))


async def _not_submittable(request: Request, error: Any) -> Response:
    return answer(request, Refusal("invalid", error.detail, errors=error.faults))


async def _too_many(request: Request, error: Any) -> Response:
    return answer(request, Refusal("conflict", str(error)))


def turned_down(error: Refusal | BrokerUnavailable) -> Refusal:
    """The refusal that an error comes to."""
    return error if isinstance(error, Refusal) else Refusal("broker_unavailable", str(error))


async def _unavailable(request: Request, error: Any) -> Response:
    return answer(request, turned_down(error))


async def _cut_short(request: Request, _: Any) -> Response:
    """The client went away in the middle of its body: nobody reads the answer, and nothing is wrong with us."""
    fault = FieldFault(field="body", message="cut short", code="json_invalid")
    return answer(request, Refusal("malformed_json", "The body was cut short.", errors=[fault]))


async def _http(_: Request, error: Any) -> Response:
    status = HTTPStatus(error.status_code)
    if status is HTTPStatus.NOT_FOUND:
        return problem("not_found", "No route is at this path.")
    body = Problem(title=status.phrase, status=status, code=status.name.lower(), detail=str(error.detail))
    return Response(body.model_dump_json(), status, dict(error.headers or {}), MEDIA_TYPE)


async def _broken(request: Request, error: Exception) -> Response:
    log.error("unexpected", path=request.url.path, exc_info=error)
    audit.note_refusal(request, "internal", TABLE["internal"].status)
    # This answer is made outside of every middleware.
    return problem("internal", "The log of the API says more.", headers={"X-Request-Id": call_id.get()})


def install(app: FastAPI) -> None:
    """Answer every exception by the table."""
    for kind, handler in (
        (Refusal, _refusal),
        (RequestValidationError, _invalid),
        (IdempotencyConflict, _conflict),
        (NotSubmittable, _not_submittable),
        (TooManySchedules, _too_many),
        (BrokerUnavailable, _unavailable),
        (ClientDisconnect, _cut_short),
        (HTTPException, _http),
        (Exception, _broken),
    ):
        app.add_exception_handler(kind, handler)
