"""Stored profiles, asked for: listed, shown one by one, and merged into one flame graph."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal, TypeVar

from fastapi import APIRouter, Depends, Header, Path, Query, Response
from pydantic import BaseModel, StringConstraints

from api.dependencies import CallerDep, Studio, StudioDep
from api.documented import problems
from api.paging import Paging, paged
from api.problems import Refusal, invalid, not_found
from api.rights import require, require_service
from api.uploads import unavailable
from broker.token_store import TokenKind
from profiles.questions import Selection, StoredProfile
from profiles.renderings import MOST, RENDERINGS, Format, Merged, by_accept, by_ending
from profiles.shelves import HOUR, hour_of
from profiles.upload import utc
from protocol.names import Name
from protocol.problems import FieldFault

router = APIRouter(tags=["profiles"])

SORTS: Final = {"-started_at": (str,)}
LONGEST: Final = timedelta(days=31)
"""What one question may span."""
MOST_TOLD: Final = 1_000
"""Profiles that are looked at for what is said of a merge: when it began, of which hosts it is."""
SAFELY: Final = {"Content-Security-Policy": "sandbox allow-scripts", "X-Content-Type-Options": "nosniff"}
"""With each file: what is in a profile comes from elsewhere, and a page made of it is nobody's here."""
Answer = TypeVar("Answer")
Value = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Chosen = Annotated[list[Value] | None, Query(max_length=100, description="Only these; may be said several times")]


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


def _selection(
    caller: CallerDep,
    service: Annotated[Name, Query(description="The service whose profiles are meant")],
    start: Annotated[datetime, Query(description="Profiles that began then or later (UTC where no offset is said)")],
    end: Annotated[datetime, Query(description="And before then")],
    profile_id: Chosen = None,
    hostname: Chosen = None,
    command_id: Chosen = None,
    request_id: Chosen = None,
    capture_id: Chosen = None,
    profiling_mode: Chosen = None,
    process: Chosen = None,
    container: Chosen = None,
    pod: Chosen = None,
    runtime: Chosen = None,
) -> Selection:
    """What is asked for.

    Raises:
        Refusal: it is not the caller's, or no time.
    """
    require(caller, [TokenKind.OPERATOR, TokenKind.VIEWER])
    require_service(caller, service, field="service")
    begin, finish = utc(start), utc(end)
    if not timedelta(0) < finish - begin <= LONGEST:
        why = f"must be later than start, by {LONGEST.days} days at most"
        raise invalid(more=[FieldFault(field="end", message=why, code="bad_time")])
    given = {
        "profile_id": profile_id, "host": hostname, "command_id": command_id, "request_id": request_id,
        "capture_id": capture_id, "mode": profiling_mode, "process": process, "container": container, "pod": pod,
        "runtime": runtime,
    }  # fmt: skip
    where = {name: values for name, values in given.items() if values is not None}
    return Selection(caller.tenant, service, begin, finish, where)


SelectionDep = Annotated[Selection, Depends(_selection)]


@router.get("/api/v1/profiles", responses=problems(401, 403, 422, 503), summary="Stored profiles, the newest first")
async def index(
    parts: StudioDep, selection: SelectionDep, paging: Annotated[Paging, Depends(paged(SORTS, limit=100, most=1_000))]
) -> ProfilePage:
    """Profiles of one service that have samples of what is selected, a page at a time."""
    after = str(paging.after[0]) if paging.after is not None else ""
    found = await _asked(lambda: parts.profiles.profiles(selection, after=after, most=paging.limit + 1))
    page = found[: paging.limit]
    return ProfilePage(
        items=[_summary(each) for each in page],
        next_cursor=paging.cursor((page[-1].profile_id,)) if len(found) > len(page) else None,
    )


ANY_FORMAT: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "model": FlameGraph,
        "content": {
            rendering.media_type: {"schema": {"type": "string", "format": "binary"}}
            for kind, rendering in RENDERINGS.items()
            if kind != "json"
        },
    }
}
Nodes = Annotated[int, Query(ge=1, le=200_000, description="Of a tree as JSON: the lightest beyond are left out")]
Accept = Annotated[str, Header(description="Where the path has no ending: the format")]


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
    found = await _asked(lambda: parts.profiles.profiles(selection, after="", most=1))
    if not found:
        raise _unknown()
    return await _rendered(parts, selection, found, kind or by_accept(accept), most_nodes)


async def _merged(parts: Studio, selection: Selection, kind: Format | None, most: int) -> Response:
    """What is selected, in a format. Of several modes the counts mean different things: by default it is CPU."""
    if not {"mode", "profile_id"} & selection.where.keys():
        selection = replace(selection, where={**selection.where, "mode": ["cpu"]})
    found = await _asked(lambda: parts.profiles.profiles(selection, after="", most=MOST_TOLD))
    return await _rendered(parts, selection, found, kind, most)


async def _rendered(
    parts: Studio, selection: Selection, found: Sequence[StoredProfile], kind: Format | None, most: int
) -> Response:
    modes = {each.mode for each in found}
    if len(modes) > 1:
        why = f"these are of {' and '.join(sorted(modes))}: choose one"
        raise invalid(more=[FieldFault(field="profiling_mode", message=why, code="several_modes")])
    rendering = RENDERINGS[kind or "json"]

    def render() -> bytes:
        return rendering.write(_told(selection, found, parts.profiles.merged(selection)), most)

    content = await _asked(render)
    return Response(content, media_type=rendering.media_type, headers=SAFELY)


def _told(selection: Selection, found: Sequence[StoredProfile], stacks: Mapping[str, int]) -> Merged:
    hosts, frequencies = {each.host for each in found}, {each.frequency_hz for each in found}
    began = min((each.started_at for each in found), default=selection.start)
    ended = max((each.ended_at for each in found), default=began)
    many = f"{len(found)}{'+' if len(found) == MOST_TOLD else ''}"
    return Merged(
        stacks, selection.service, next(iter({each.mode for each in found}), "cpu"),
        frequencies.pop() if len(frequencies) == 1 else 0, began, ended - began,
        {"hosts": next(iter(hosts)) if len(hosts) == 1 else str(len(hosts)), "profiles": many},
    )  # fmt: skip


def _unknown() -> Refusal:
    return not_found("name", "There is no such profile, or it is not indexed yet.")


async def _asked(question: Callable[[], Answer]) -> Answer:
    """Ask the engine, off the loop.

    Raises:
        Refusal: the store does not answer.
    """
    try:
        return await asyncio.to_thread(question)
    except OSError as error:
        raise unavailable(error) from error


def _summary(stored: StoredProfile) -> ProfileSummary:
    return ProfileSummary(
        profile_id=stored.profile_id, hostname=stored.host, started_at=stored.started_at, ended_at=stored.ended_at,
        command_id=stored.command_id, request_ids=list(stored.request_ids), capture_id=stored.capture_id,
        profiling_mode=stored.mode, samples=stored.samples,
    )  # fmt: skip
