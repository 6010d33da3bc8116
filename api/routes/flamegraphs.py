"""Stored profiles, asked for: listed, shown one by one, and merged into one flame graph."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel

from api.dependencies import CallerDep, Studio, StudioDep
from api.documented import problems
from api.paging import Paging, paged
from api.problems import Refusal, not_found
from api.rights import require, require_service
from api.selections import Accept, Nodes, SelectionDep, answered, asked, merged_in, of_a_mode
from broker.token_store import TokenKind
from profiles.questions import Selection, StoredProfile
from profiles.renderings import MOST, RENDERINGS, Format, Merged, by_accept, by_ending
from profiles.shelves import HOUR, hour_of
from protocol.names import Name

router = APIRouter(tags=["profiles"])

SORTS: Final = {"-started_at": (str,)}


class ProfileSummary(BaseModel):
    """One stored profile. `samples` are those that were selected."""

    profile_id: str
    hostname: str
    started_at: datetime
    ended_at: datetime
    command_id: str
    request_ids: list[str]
    capture_id: str
    profiling_mode: str
    samples: int


class ProfilePage(BaseModel):
    """Profiles, the newest first."""

    items: list[ProfileSummary]
    next_cursor: str | None = None


class FlameGraph(BaseModel):
    """Stacks merged into a tree: `{"name", "value", "children"}`, children the heaviest first.

    Of a tree that is too large to draw the lightest nodes are left out: `cut_nodes` of them, with `cut_samples`.
    """

    root: dict[str, Any]
    samples: int
    unit: Literal["samples", "bytes"]
    stacks: int
    cut_nodes: int
    cut_samples: int


@router.get("/api/v1/profiles", responses=problems(401, 403, 422, 503), summary="Stored profiles, the newest first")
async def index(
    parts: StudioDep, selection: SelectionDep, paging: Annotated[Paging, Depends(paged(SORTS, limit=100, most=1_000))]
) -> ProfilePage:
    """Profiles of one service that have samples of what is selected, a page at a time."""
    after = str(paging.after[0]) if paging.after is not None else ""
    found = await asked(lambda: parts.profiles.profiles(selection, after=after, most=paging.limit + 1))
    page = found[: paging.limit]
    return ProfilePage(
        items=[_summary(each) for each in page],
        next_cursor=paging.cursor((page[-1].profile_id,)) if len(found) > len(page) else None,
    )


ANY_FORMAT: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "model": FlameGraph,
        "content": {
            rendering.media_type: {
                "schema": {"type": "object"} if kind == "speedscope" else {"type": "string", "format": "binary"}
            }
            for kind, rendering in RENDERINGS.items()
            if kind != "json"
        },
    }
}


@router.get(
    "/api/v1/flamegraph", responses={**ANY_FORMAT, **problems(401, 403, 422, 503)}, response_model=None,
    summary="Profiles, merged into one",
)  # fmt: skip
async def flamegraph(
    parts: StudioDep, selection: SelectionDep, most_nodes: Nodes = MOST, accept: Accept = ""
) -> Response:
    """Everything selected, by default as the tree that a flame graph is drawn from."""
    return await _merged(parts, selection, by_accept(accept), most_nodes)


def _in_format(kind: Format) -> Callable[..., Awaitable[Response]]:
    async def flamegraph_file(parts: StudioDep, selection: SelectionDep, most_nodes: Nodes = MOST) -> Response:
        """The same as a file of this format."""
        return await _merged(parts, selection, kind, most_nodes)

    return flamegraph_file


for _kind, _rendering in RENDERINGS.items():
    router.add_api_route(
        f"/api/v1/flamegraph{_rendering.ending}", _in_format(_kind), methods=["GET"], response_model=None,
        responses={**ANY_FORMAT, **problems(401, 403, 422, 503)}, summary=f"Profiles, merged, as {_kind}",
        name=f"flamegraph_{_kind}",
    )  # fmt: skip


@router.get(
    "/api/v1/profiles/{name}", responses={**ANY_FORMAT, **problems(401, 403, 404, 422, 503)}, response_model=None,
    summary="One profile",
)  # fmt: skip
async def show(
    name: Annotated[str, Path(min_length=1, max_length=128, description="Its id; with an ending, in that format")],
    service: Annotated[Name, Query(description="The service whose profile it is")],
    caller: CallerDep,
    parts: StudioDep,
    most_nodes: Nodes = MOST,
    accept: Accept = "",
) -> Response:
    """One profile, by default as the tree that a flame graph is drawn from."""
    require(caller, [TokenKind.OPERATOR, TokenKind.VIEWER])
    require_service(caller, service, field="service")
    profile_id, kind = by_ending(name)
    try:
        hour = hour_of(profile_id)
    except ValueError:
        raise _unknown() from None
    selection = Selection(caller.tenant, service, hour, hour + HOUR, {"profile_id": [profile_id]})
    (whole,) = await merged_in(parts, selection)
    if not whole.stacks:
        raise _unknown()
    return await _rendered(whole, kind or by_accept(accept), most_nodes)


async def _merged(parts: Studio, selection: Selection, kind: Format | None, most: int) -> Response:
    """What is selected, in a format."""
    (whole,) = await merged_in(parts, of_a_mode(selection))
    return await _rendered(whole, kind, most)


async def _rendered(whole: Merged, kind: Format | None, most: int) -> Response:
    rendering = RENDERINGS[kind or "json"]
    content = await asked(lambda: rendering.write(whole, most))
    return answered(content, rendering.media_type)


def _unknown() -> Refusal:
    return not_found("name", "There is no such profile, or it is not indexed yet.")


def _summary(stored: StoredProfile) -> ProfileSummary:
    return ProfileSummary(
        profile_id=stored.profile_id, hostname=stored.host, started_at=stored.started_at, ended_at=stored.ended_at,
        command_id=stored.command_id, request_ids=list(stored.request_ids), capture_id=stored.capture_id,
        profiling_mode=stored.mode, samples=stored.samples,
    )  # fmt: skip
