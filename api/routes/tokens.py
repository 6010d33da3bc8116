"""`/api/v1/tokens`: making, listing and revoking tokens."""

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Self
from uuid import uuid4

from fastapi import APIRouter, Path, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from api import audit
from api.auth import require, require_every_service
from api.bodies import read_model
from api.dependencies import CallerDep, StudioDep
from api.documented import json_body, problems
from api.problems import not_found
from broker.token_store import Token, TokenKind, new_secret
from protocol.names import Name

router = APIRouter(prefix="/api/v1/tokens", tags=["tokens"])


class TokenWish(BaseModel):
    """A token to make. `services` are shell-style patterns; `expires_in` is in seconds, absent: never."""

    model_config = ConfigDict(extra="forbid")

    kind: TokenKind
    services: Annotated[list[Name], Field(min_length=1, max_length=100)]
    expires_in: Annotated[int, Field(strict=True, ge=1, le=10 * 365 * 86_400)] | None = None


class TokenView(BaseModel):
    """A token without its secret."""

    id: str
    kind: TokenKind
    services: list[str]
    created_at: AwareDatetime
    expires_at: AwareDatetime | None
    revoked_at: AwareDatetime | None

    @classmethod
    def of(cls, token: Token) -> Self:
        """What may be shown of it."""
        return cls(
            id=token.token_id, kind=token.kind, services=list(token.services), created_at=token.created_at,
            expires_at=token.expires_at, revoked_at=token.revoked_at,
        )  # fmt: skip


class NewToken(TokenView):
    """A token just made: the only time that its secret is told."""

    token: str


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    responses=problems(400, 401, 403, 413, 415, 422, 503),
    openapi_extra=json_body(TokenWish),
    summary="Make a token",
)
async def create(request: Request, caller: CallerDep, parts: StudioDep) -> NewToken:
    """Make a token of the caller's tenant. Its secret is in this answer and nowhere else."""
    require(caller, [])
    require_every_service(caller)
    wish = await read_model(request, TokenWish)
    secret = new_secret()
    expires_at = datetime.now(UTC) + timedelta(seconds=wish.expires_in) if wish.expires_in else None
    token_id = str(uuid4())
    await audit.accept(request, objects=[token_id], after={**wish.model_dump(mode="json"), "expires_at": expires_at})
    token = await parts.tokens.add(
        secret, token_id=token_id, kind=wish.kind, tenant=caller.tenant, services=tuple(wish.services),
        expires_at=expires_at,
    )  # fmt: skip
    return NewToken(token=secret, **TokenView.of(token).model_dump())


@router.get("", responses=problems(401, 403, 503), summary="The tokens of the caller's tenant, without their secrets")
async def index(caller: CallerDep, parts: StudioDep) -> list[TokenView]:
    """Every token, oldest first."""
    require(caller, [])
    require_every_service(caller)
    return [TokenView.of(token) for token in await parts.tokens.all_of(caller.tenant)]


@router.delete("/{token_id}", responses=problems(401, 403, 404, 422, 503), summary="Revoke a token")
async def revoke(
    call: Request, token_id: Annotated[str, Path(min_length=1, max_length=128)], caller: CallerDep, parts: StudioDep
) -> TokenView:
    """Make a token worthless, within five seconds everywhere. Repeating it changes nothing."""
    require(caller, [])
    require_every_service(caller)
    known = await parts.tokens.with_id(token_id)
    if known is None or known.tenant != caller.tenant:
        raise not_found("token_id", "No such token.")
    was = {"kind": known.kind, "services": known.services, "revoked_at": known.revoked_at}
    await audit.accept(call, objects=[token_id], before=was, after={"revoked": True})
    token = await parts.tokens.revoke(token_id, tenant=caller.tenant)
    if token is None:
        raise not_found("token_id", "No such token.")
    return TokenView.of(token)
