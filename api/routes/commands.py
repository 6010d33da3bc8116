"""`GET /api/v1/commands`: what the hosts are to do."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query

from api.dependencies import CallerDep, Studio, StudioDep
from api.documented import problems
from api.paging import NameFilter, Paging, Position, in_order, paged
from api.rights import require
from api.views import CommandPage, command_row
from broker.keys import Place
from broker.token_store import TokenKind
from protocol.lifecycle import State
from protocol.requests import CommandType

router = APIRouter(prefix="/api/v1/commands", tags=["requests"])

SORTS: Final = {"partition": (int, str), "hostname": (str, str), "-hostname": (str, str)}
HOSTS_AT_ONCE: Final = 200


@router.get("", responses=problems(401, 403, 422, 503), summary="The effective commands of the hosts")
async def index(
    caller: CallerDep,
    parts: StudioDep,
    paging: Annotated[Paging, Depends(paged(SORTS, limit=100, most=1_000))],
    service_name: NameFilter = None,
    hostname: NameFilter = None,
    state: Annotated[State | None, Query(description="Only commands in this state")] = None,
    command_type: Annotated[CommandType | None, Query(description="Only starts, or only stops")] = None,
) -> CommandPage:
    """Each host's command, or what it was last, for seven days after its end; those before it are its history."""
    require(caller, [TokenKind.OPERATOR, TokenKind.VIEWER])
    position = _in_store if paging.sort == "partition" else _by_name

    def is_behind(at: Place) -> bool:
        after = paging.after
        return after is None or (position(at) < after if paging.descending else position(at) > after)

    places = [
        at
        for at, _ in await parts.registry.beats_of(caller.tenant, service=service_name)
        if hostname in {None, at.host_key.host} and caller.covers(at.host_key.service) and is_behind(at)
    ]
    page = await in_order(
        _commands(sorted(places, key=position, reverse=paging.descending), parts),
        paging,
        lambda row: position(row[0]),
        lambda row: row[1] is not None and state in {None, row[1]["state"]} and command_type in {None, row[1]["type"]},
    )
    items = [command_row(at.host_key, fields) for at, fields in page.items if fields is not None]
    return CommandPage(items=items, next_cursor=page.next_cursor)


def _in_store(at: Place) -> Position:
    return at.partition, at.path


def _by_name(at: Place) -> Position:
    return at.host_key.host, at.host_key.service


async def _commands(places: Sequence[Place], parts: Studio) -> AsyncIterator[tuple[Place, Mapping[str, str] | None]]:
    for first in range(0, len(places), HOSTS_AT_ONCE):
        some = places[first : first + HOSTS_AT_ONCE]
        for row in zip(some, await parts.command_store.commands(some), strict=True):
            yield row
