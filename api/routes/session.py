"""`/api/v1/session`: signing in and out of the page."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final, Literal

import structlog
from fastapi import APIRouter, Request, Response
from pydantic import AwareDatetime, BaseModel

from api import audit
from api.dependencies import CallerDep, StudioDep
from api.documented import problems
from api.problems import Refusal
from api.rights import require
from api.sign_ins import drop_cookie, secret_in, set_cookie
from broker.token_store import TokenKind
from protocol.problems import FieldFault

log = structlog.get_logger(__name__)
router = APIRouter(prefix="/api/v1/session", tags=["tokens"])

NEVER_STORED: Final = {"Cache-Control": "no-store"}


class SignedIn(BaseModel):
    """A sign-in that has begun. Its secret is in the cookie alone."""

    token_id: str
    kind: str
    ends_at: AwareDatetime


class SignedOut(BaseModel):
    """A sign-in that has ended, or was none."""

    success: Literal[True] = True


@router.post(
    "", status_code=HTTPStatus.CREATED, responses=problems(401, 403, 503), summary="Sign in at the page with a token"
)
async def begin(request: Request, answer: Response, caller: CallerDep, parts: StudioDep) -> SignedIn:
    """Buy a session with the token of this call. The answer sets a cookie that scripts cannot read.

    It is for calls of the page alone, ends by itself, with the token, or by signing out, and never works for an agent.
    """
    require(caller, [TokenKind.OPERATOR, TokenKind.VIEWER])
    if not caller.digest:
        why = "A session is bought with a token of this installation."
        fault = FieldFault(field="Authorization", message=why, code="token_kind")
        raise Refusal("forbidden", why, errors=[fault])
    await audit.accept(request, objects=[caller.token_id])
    secret, session = await parts.sessions.begin(caller, now=datetime.now(UTC))
    set_cookie(request, answer, secret, session)
    answer.headers.update(NEVER_STORED)
    log.info("signed in", token_id=caller.token_id, ends_at=session.ends_at.isoformat())
    return SignedIn(token_id=caller.token_id, kind=caller.kind, ends_at=session.ends_at)


@router.delete("", responses=problems(401, 403, 503), summary="Sign out of the page")
async def end(request: Request, answer: Response, caller: CallerDep, parts: StudioDep) -> SignedOut:
    """End the session of the cookie, here and at every other process. Without one nothing changes."""
    await audit.accept(request, objects=[caller.token_id])
    if (secret := secret_in(request)) is not None:
        await parts.sessions.end(secret)
        log.info("signed out", token_id=caller.token_id)
    drop_cookie(request, answer)
    answer.headers.update(NEVER_STORED)
    return SignedOut()
