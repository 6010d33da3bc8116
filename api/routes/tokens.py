"""`/api/v1/tokens`: making, listing, rotating and revoking tokens."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Final
from uuid import uuid4

import structlog
from fastapi import APIRouter, Depends, Path, Query, Request

from api import audit
from api.bodies import read_model
from api.dependencies import CallerDep, Studio, StudioDep
from api.documented import json_body, problems
from api.paging import NameFilter, Paging, in_order, paged
from api.problems import Refusal, not_found
from api.rights import require, require_every_service
from broker.token_store import Token, TokenKind, member_of, new_secret
from protocol.problems import FieldFault
from protocol.tokens import Kind, NewToken, RotationWish, TokenPage, TokenView, TokenWish

log = structlog.get_logger(__name__)
router = APIRouter(prefix="/api/v1/tokens", tags=["tokens"])

SORTS: Final = {"created_at": (str,), "-created_at": (str,)}

TokenId = Annotated[str, Path(min_length=1, max_length=128)]


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    responses=problems(400, 401, 403, 413, 415, 422, 503),
    openapi_extra=json_body(TokenWish),
    summary="Make a token",
)
async def create(request: Request, caller: CallerDep, parts: StudioDep) -> NewToken:
    """Make a token of the caller's tenant. Its secret is in this answer and nowhere else."""
    _require_keeper(caller)
    wish = await read_model(request, TokenWish)
    secret, token_id = new_secret(), str(uuid4())
    expires_at = _in(wish.expires_in)
    await audit.accept(request, objects=[token_id], after={**wish.model_dump(mode="json"), "expires_at": expires_at})
    token = await parts.tokens.add(
        secret, token_id=token_id, kind=TokenKind(wish.kind), tenant=caller.tenant, services=tuple(wish.services),
        expires_at=expires_at, name=wish.name, description=wish.description, max_uses=wish.max_uses or 0,
    )  # fmt: skip
    log.info("token made", token_id=token.token_id, kind=token.kind, services=token.services, by=caller.token_id)
    return NewToken(token=secret, **(await _views([token], parts))[0].model_dump())


@router.get(
    "", responses=problems(401, 403, 422, 503), summary="The tokens of the caller's tenant, without their secrets"
)
async def index(
    caller: CallerDep,
    parts: StudioDep,
    paging: Annotated[Paging, Depends(paged(SORTS, limit=100, most=1_000))],
    kind: Annotated[Kind | None, Query(description="Only tokens of this kind")] = None,
    name: NameFilter = None,
) -> TokenPage:
    """Tokens, revoked and expired ones too, a page at a time."""
    _require_keeper(caller)
    after = "" if paging.after is None else str(paging.after[0])
    page = await in_order(
        parts.tokens.all_of(caller.tenant, after=after, newest_first=paging.descending),
        paging,
        lambda token: (member_of(token),),
        lambda token: kind in {None, token.kind} and name in {None, token.name},
    )
    return TokenPage(items=await _views(page.items, parts), next_cursor=page.next_cursor)


@router.get("/self", responses=problems(401, 503), summary="The caller's own token")
async def whoami(caller: CallerDep, parts: StudioDep) -> TokenView:
    """What the token of this very call is, and what it covers."""
    return (await _views([caller], parts))[0]


@router.get("/{token_id}", responses=problems(401, 403, 404, 422, 503), summary="A token without its secret")
async def show(token_id: TokenId, caller: CallerDep, parts: StudioDep) -> TokenView:
    """One token of the caller's tenant."""
    _require_keeper(caller)
    return (await _views([await _get(token_id, caller, parts)], parts))[0]


@router.post(
    "/{token_id}/rotate",
    responses=problems(400, 401, 403, 404, 409, 413, 415, 422, 503),
    openapi_extra=json_body(RotationWish),
    summary="Give a token another secret",
)
async def rotate(request: Request, token_id: TokenId, caller: CallerDep, parts: StudioDep) -> NewToken:
    """The id stays, and all that the token owns. The present secret is good for `overlap` seconds more.

    An older secret that was still good ends at once: there are never more than two.
    """
    _require_keeper(caller)
    wish = await read_model(request, RotationWish)
    before = await _get(token_id, caller, parts)
    if not before.is_valid(datetime.now(UTC)):
        raise _conflict("This token is revoked or expired; make another one.")
    secret, expires_at = new_secret(), _in(wish.expires_in)
    was = {"rotated_at": before.rotated_at, "expires_at": before.expires_at}
    told = {"overlap": wish.overlap, "expires_at": expires_at or before.expires_at}
    await audit.accept(request, objects=[token_id], before=was, after=told)
    after = await parts.tokens.rotate(before, secret, overlap=timedelta(seconds=wish.overlap), expires_at=expires_at)
    if after is None:
        raise _conflict("Others rotate or revoke this token at this moment.")
    log.info("token rotated", token_id=token_id, by=caller.token_id, overlap=wish.overlap)
    return NewToken(token=secret, **(await _views([after], parts))[0].model_dump())


@router.delete("/{token_id}", responses=problems(401, 403, 404, 422, 503), summary="Revoke a token")
async def revoke(call: Request, token_id: TokenId, caller: CallerDep, parts: StudioDep) -> TokenView:
    """Make a token worthless, within five seconds everywhere, also what is held open. Repeating it changes nothing."""
    _require_keeper(caller)
    known = await _get(token_id, caller, parts)
    was = {"kind": known.kind, "services": known.services, "revoked_at": known.revoked_at}
    await audit.accept(call, objects=[token_id], before=was, after={"revoked": True})
    token = await parts.tokens.revoke(token_id, tenant=caller.tenant)
    if token is None:
        raise not_found("token_id", "No such token.")
    log.info("token revoked", token_id=token_id, by=caller.token_id)
    return (await _views([token], parts))[0]


def _require_keeper(caller: Token) -> None:
    require(caller, [])
    require_every_service(caller)


async def _get(token_id: str, caller: Token, parts: Studio) -> Token:
    token = await parts.tokens.with_id(token_id)
    if token is None or token.tenant != caller.tenant:
        raise not_found("token_id", "No such token.")
    return token


async def _views(tokens: Sequence[Token], parts: Studio) -> list[TokenView]:
    ids = [token.token_id for token in tokens]
    used, enrolled = await parts.tokens.last_used(ids), await parts.tokens.enrolled(ids)
    return [
        TokenView(
            id=token.token_id, kind=token.kind, name=token.name, description=token.description, tenant=token.tenant,
            services=list(token.services), created_at=token.created_at, expires_at=token.expires_at,
            revoked_at=token.revoked_at, rotated_at=token.rotated_at, previous_valid_until=token.previous_until,
            last_used_at=at, max_uses=token.max_uses or None, uses=count if token.max_uses else None,
            hostname=token.host.host if token.host is not None else None,
        )
        for token, at, count in zip(tokens, used, enrolled, strict=True)
    ]  # fmt: skip


def _in(seconds: int | None) -> datetime | None:
    return datetime.now(UTC) + timedelta(seconds=seconds) if seconds is not None else None


def _conflict(why: str) -> Refusal:
    return Refusal("conflict", why, errors=[FieldFault(field="token_id", message=why, code="conflict")])
