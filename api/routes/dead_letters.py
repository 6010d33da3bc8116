"""`/api/v1/dead_letters`: what was given up on, and trying it anew."""

import time
from datetime import UTC, datetime
from typing import Annotated, Final

import structlog
from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, Field

from api import audit
from api.dependencies import CallerDep, StudioDep
from api.documented import problems
from api.paging import NameFilter, Paging, Position, by_sorting, in_order, paged
from api.problems import not_found
from api.rights import require, runs_the_installation
from broker.dead_letters import DeadLetter, Kind, LetterId
from broker.token_store import Token, TokenKind
from protocol.names import HostKey

log = structlog.get_logger(__name__)
router = APIRouter(prefix="/api/v1/dead_letters", tags=["operations"])

SHAPE: Final = r"^[0-9]{1,4}-[0-9]{1,16}-[0-9]{1,16}$"
SORTS: Final = {
    "partition": (int, int, int),  # and by age, as they are stored
    "at": (int, int, int, int),
    "-at": (int, int, int, int),
}


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
    paging: Annotated[Paging, Depends(paged(SORTS, limit=100, most=1_000))],
    service_name: NameFilter = None,
    kind: Annotated[Kind | None, Query(description="Only letters of this kind")] = None,
) -> DeadLetterPage:
    """The letters of services that the caller's token covers. One that was replayed is no longer listed."""
    require(caller, [TokenKind.OPERATOR, TokenKind.VIEWER])

    def is_wanted(letter: DeadLetter) -> bool:
        of_service = service_name is None or (letter.host is not None and letter.host.service == service_name)
        return of_service and kind in {None, letter.kind} and may_see(caller, letter.host)

    if paging.sort == "partition":
        after = None if paging.after is None else LetterId.at(*paging.after)  # type: ignore[arg-type]  # by its shape
        page = await in_order(parts.dead_letters.all_of(after=after), paging, in_stream, is_wanted)
    else:
        page = by_sorting([each async for each in parts.dead_letters.all_of() if is_wanted(each)], paging, by_moment)
    return DeadLetterPage(items=[view(letter) for letter in page.items], next_cursor=page.next_cursor)


@router.post(
    "/{letter_id}/replay", responses=problems(401, 403, 404, 422, 503), summary="Try what was given up on anew"
)
async def replay(
    call: Request, letter_id: Annotated[str, Path(pattern=SHAPE)], caller: CallerDep, parts: StudioDep
) -> ReplayView:
    """Done once: repeating it within seven days gives the first answer again."""
    require(caller, [TokenKind.OPERATOR])
    letters, wanted = parts.dead_letters, LetterId.read(letter_id)
    letter = await letters.get(wanted)
    if letter is not None and may_see(caller, letter.host):
        service, objects = letter.host.service if letter.host else "", [letter_id, *letter.request_ids]
        await audit.accept(call, service=service, objects=objects, details={"kind": letter.kind})
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


def in_stream(letter: DeadLetter) -> Position:
    """By partition and age."""
    return letter.letter_id.numbers


def by_moment(letter: DeadLetter) -> Position:
    """By the moment at which it was given up on."""
    return letter.at, *letter.letter_id.numbers


def may_see(caller: Token, host: HostKey | None) -> bool:
    """Whether a letter is the caller's business.

    One that names no host may be any tenant's: it is for an admin of all services of the tenant that runs the system.
    """
    if host is None:
        return runs_the_installation(caller)
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
