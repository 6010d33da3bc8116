"""`/sign-in/oidc`: where a browser goes to sign in at the issuer, and where that sends it back to."""

import html
import time
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Final

import structlog
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field

from api import audit
from api.console import HEADERS, NOT_BUILT
from api.dependencies import Studio, StudioDep
from api.limit_settings import Lane
from api.limits import address_of
from api.problems import may_be_logged
from api.routes.console import built_page
from api.sign_ins import set_cookie
from api.strangers import client
from broker.errors import BrokerUnavailable

if TYPE_CHECKING:
    from api.code_flow import Begun, CodeFlow, NotSignedIn
    from broker.sessions import Person

log = structlog.get_logger(__name__)
router = APIRouter()

NEVER_STORED: Final = {**HEADERS, "Cache-Control": "no-store"}
ON_ITS_WAY: Final = "studio_signing_in"
TAKES_AT_MOST: Final = timedelta(minutes=10)
RETRY_SECONDS: Final = 5


class Ways(BaseModel):
    """How one may sign in at the page."""

    oidc: bool = Field(description="By OpenID Connect, at `/sign-in/oidc`; with a token one always may")


@router.get("/api/v1/session/ways", tags=["tokens"], summary="How one may sign in at the page")
async def ways(parts: StudioDep) -> Ways:
    """To anybody: a page asks before it knows who looks at it."""
    return Ways(oidc=parts.code_flow is not None)


@router.get("/sign-in/oidc", include_in_schema=False)
async def begin(request: Request, parts: StudioDep, to: Annotated[str, Query()] = "/") -> Response:
    """Send the browser to the issuer. `to`: the page of ours that it is to see afterwards."""
    from api.code_flow import Begun, NotSignedIn  # noqa: PLC0415 - an HTTP client and cryptography, as the parts have it

    begun = Begun.anew(to)
    try:
        address = await _flow(parts).address(begun)
    except NotSignedIn as error:
        return _told(request, error, begun)
    answer = _redirect(address)
    answer.set_cookie(
        _cookie(request), begun.cookie, max_age=int(TAKES_AT_MOST.total_seconds()), path="/",
        secure=request.url.scheme == "https", httponly=True, samesite="lax",
    )  # fmt: skip
    return answer


@router.get("/sign-in/oidc/done", include_in_schema=False)
async def finish(request: Request, parts: StudioDep) -> Response:
    """Whom the issuer sends back has a session then. Where that fails, the page says why."""
    from api.code_flow import Begun, NotSignedIn  # noqa: PLC0415 - as above

    begun = Begun.read(request.cookies.get(_cookie(request)))
    whose, is_counted = address_of(client.get()), False
    try:
        _refuse_if_too_many(parts, whose)
        flow, is_counted = _flow(parts), True
        person = await flow.finish(begun, request.query_params)
        answer = _redirect(begun.to if begun else "/")
        await _let_in(request, answer, person, parts)
    except NotSignedIn as error:
        if is_counted:
            parts.limits.charge(Lane.STRANGERS, whose, now=time.monotonic())
        answer = _told(request, error, begun)
    except BrokerUnavailable as error:
        answer = _told(request, NotSignedIn("not ready", error.reason), begun)
    answer.delete_cookie(
        _cookie(request), path="/", secure=request.url.scheme == "https", httponly=True, samesite="lax"
    )
    return answer


def _refuse_if_too_many(parts: Studio, whose: str) -> None:
    """Nothing is looked up for an address from which too many have failed.

    Raises:
        NotSignedIn: so it is.
    """
    from api.code_flow import NotSignedIn  # noqa: PLC0415 - as above

    over = parts.limits.look_here(Lane.STRANGERS, whose, now=time.monotonic())
    if over is not None:
        refusal = parts.limits.refused(Lane.STRANGERS, over)
        raise NotSignedIn("too many", refusal.detail, wait=int(refusal.headers["Retry-After"]))


def _flow(parts: Studio) -> "CodeFlow":
    """How people sign in at the issuer.

    Raises:
        NotSignedIn: nobody does.
    """
    from api.code_flow import NotSignedIn  # noqa: PLC0415 - as above

    if parts.code_flow is None:
        raise NotSignedIn("not offered", "PCS_OIDC_CLIENT_ID is not set")
    return parts.code_flow


def _cookie(request: Request) -> str:
    """Over TLS a name that no other host and no plain connection can set."""
    return f"__Host-{ON_ITS_WAY}" if request.url.scheme == "https" else ON_ITS_WAY


def _redirect(address: str) -> Response:
    return Response(status_code=HTTPStatus.SEE_OTHER, headers={**NEVER_STORED, "Location": address})


async def _let_in(request: Request, answer: Response, person: "Person", parts: Studio) -> None:
    """Begin a session; recorded before, as every act.

    Raises:
        BrokerUnavailable: it cannot be stored.
    """
    lasts = timedelta(seconds=parts.settings.oidc_session)
    assert parts.people is not None, "the flow has them"
    holder = parts.people.holder_of(person, ends_at=person.since + lasts)
    assert holder is not None, "a person is let in by one of the grants"
    request.state.caller = holder
    await audit.accept(request, action="session.begin", objects=[holder.token_id])
    secret, session = await parts.sessions.begin_for(person, lasts=lasts)
    set_cookie(request, answer, secret, session)
    log.info("signed in", token_id=holder.token_id, ends_at=session.ends_at.isoformat())


def _told(request: Request, error: "NotSignedIn", begun: "Begun | None") -> Response:
    """The page, which says why nobody is signed in. Nothing of that stands in an address that somebody could make.

    It is told, too, which page was asked for: there the next try leads to.
    """
    from api.code_flow import STATUSES  # noqa: PLC0415 - as above

    status = STATUSES[error.code]
    if may_be_logged(f"sign-in: {error.code}"):
        is_ours = status >= HTTPStatus.INTERNAL_SERVER_ERROR
        (log.warning if is_ours else log.info)("sign-in refused", code=error.code, reason=error.reason)
    audit.note_refusal(request, f"sign_in_{error.code.replace(' ', '_')}", status)
    wait = error.wait or (RETRY_SECONDS if status is HTTPStatus.SERVICE_UNAVAILABLE else 0)
    headers = {**NEVER_STORED, **({"Retry-After": str(wait)} if wait else {})}
    index = built_page(request).index
    if index is None:
        return HTMLResponse(NOT_BUILT, status, headers)
    to = html.escape(begun.to if begun else "/")
    meta = f'<head><meta name="studio-not-signed-in" content="{error.code}" data-to="{to}" data-wait="{wait}">'
    return Response(index.plain.replace(b"<head>", meta.encode(), 1), status, headers, media_type=index.media_type)
