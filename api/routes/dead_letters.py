"""`/api/v1/dead_letters`: what was given up on, and trying it anew."""

import time
from datetime import UTC, datetime
from typing import Annotated, Final

import structlog
from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from api.auth import require
from api.dependencies import CallerDep, StudioDep
from api.documented import problems
from api.problems import not_found
from broker.dead_letters import DeadLetter, LetterId
from broker.token_store import Token, TokenKind
from protocol.names import DEFAULT_TENANT, HostKey

log = structlog.get_logger(__name__)
router = APIRouter(prefix="/api/v1/dead_letters", tags=["operations"])

SHAPE: Final = r"^[0-9]{1,4}-[0-9]{1,16}-[0-9]{1,16}$"
MOST_LOOKED_AT: Final = 10_000
"""Letters that one call looks at; a page may have fewer than it was asked for, and a cursor all the same."""


class DeadLetterView(BaseModel):
    """One letter. Host and service are null where the entry that was given up on names none."""

    id: str
    kind: str = Field(description="`command` (never acked), `doorbell` (could not be compacted), `notification`")
    service_name: str | None
    hostname: str | None
    reason: str
    attempts: int
    at: datetime
    command_id: str | None = None
    request_ids: list[str]


class DeadLetterPage(BaseModel):
    """A page, by partition and age; `next_cursor` asks for the next one, null on the last."""

    items: list[DeadLetterView]
    next_cursor: str | None = None


class ReplayView(BaseModel):
    """What a replay did: a command became a new request, a doorbell was rung, a notification waits to be sent."""

    id: str
    kind: str
    request_id: str | None = None
    command_id: str | None = None


@router.get("", responses=problems(401, 403, 422, 503), summary="What was given up on")
async def index(
    caller: CallerDep,
    parts: StudioDep,
    cursor: Annotated[str | None, Query(pattern=SHAPE, description="next_cursor of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> DeadLetterPage:
    """The letters of services that the caller's token covers. One that was replayed is no longer listed."""
    require(caller, [TokenKind.OPERATOR, TokenKind.VIEWER])
    page = DeadLetterPage(items=[])
    looked_at = 0
    last: DeadLetter | None = None
    async for letter in parts.dead_letters.all_of(after=LetterId.read(cursor) if cursor else None):
        if last is not None and (len(page.items) == limit or looked_at == MOST_LOOKED_AT):
            page.next_cursor = str(last.letter_id)
            break
        looked_at += 1
        last = letter
        if may_see(caller, letter.host):
            page.items.append(view(letter))
    return page


@router.post(
    "/{letter_id}/replay", responses=problems(401, 403, 404, 422, 503), summary="Try what was given up on anew"
)
async def replay(letter_id: Annotated[str, Path(pattern=SHAPE)], caller: CallerDep, parts: StudioDep) -> ReplayView:
    """Done once: repeating it within seven days gives the first answer again."""
    require(caller, [TokenKind.OPERATOR])
    letters, wanted = parts.dead_letters, LetterId.read(letter_id)
    letter = await letters.get(wanted)
    if letter is not None and may_see(caller, letter.host):
        done = await letters.replay(letter, by=caller.token_id, now=time.time())
    elif letter is None:
        done = await letters.replayed(wanted)
    else:
        done = None
    if done is None or not may_see(caller, done.host):
        raise not_found("letter_id", "No such dead letter.")
    log.info("dead letter replayed", letter=letter_id, kind=done.kind, request_id=done.request_id, by=caller.token_id)
    return ReplayView(
        id=letter_id, kind=done.kind, request_id=done.request_id or None, command_id=done.command_id or None
    )


def may_see(caller: Token, host: HostKey | None) -> bool:
    """Whether a letter is the caller's business.

    One that names no host may be any tenant's: it is for an admin of all services of the tenant that runs the system.
    """
    if host is None:
        return caller.kind is TokenKind.ADMIN and "*" in caller.services and caller.tenant == DEFAULT_TENANT
    return host.tenant == caller.tenant and caller.covers(host.service)


def view(letter: DeadLetter) -> DeadLetterView:
    """One letter as the list shows it."""
    host = letter.host
    return DeadLetterView(
        id=str(letter.letter_id),
        kind=letter.kind,
        service_name=host.service if host else None,
        hostname=host.host or None if host else None,
        reason=letter.reason,
        attempts=letter.attempts,
        at=datetime.fromtimestamp(letter.at / 1000, UTC),
        command_id=letter.command_id or None,
        request_ids=list(letter.request_ids),
    )
