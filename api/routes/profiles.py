"""Profiles: uploaded by agents, listed, and merged into one flame graph."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, StringConstraints, TypeAdapter, ValidationError

from api.dependencies import CallerDep, StudioDep, UploaderDep
from api.documented import problems
from api.paging import Paging, paged
from api.problems import Refusal, invalid
from api.rights import require, require_service
from api.uploads import OfFile, Sent, unavailable
from broker.token_store import TokenKind
from profiles.flamegraph import MOST_NODES, tree_of
from profiles.questions import Selection, StoredProfile
from profiles.upload import AgentUpload, utc
from protocol.names import Name
from protocol.problems import FieldFault

router = APIRouter(tags=["profiles"])

UPLOAD: Final = "/api/v2/profiles"
SORTS: Final = {"-started_at": (str,)}
LONGEST: Final = timedelta(days=31)
"""What one question may span."""
COLLAPSED: Final = "text/plain"
JSON: Final = "application/json"


_NAME: Final = TypeAdapter[str](Name)
Answer = TypeVar("Answer")
Value = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Chosen = Annotated[list[Value] | None, Query(max_length=100, description="Only these; may be said several times")]


class Uploaded(BaseModel):
    """A profile was stored. `gpid` is what agents of the field expect beside it."""

    message: str = "ok"
    gpid: int | str = 0
    profile_id: str
    results_path: str
    stacks: int
    samples: int
    bad_lines: int = 0
    """Lines that were left out; the others are kept."""


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
    stacks: int
    cut_nodes: int
    cut_samples: int


@router.post(
    UPLOAD,
    responses=problems(400, 401, 403, 413, 415, 422, 503),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                JSON: {"schema": AgentUpload.model_json_schema(ref_template="#/components/schemas/{model}")},
                COLLAPSED: {"schema": {"type": "string"}},
            },
        }
    },
    summary="Upload a profile",
)
async def upload(
    call: Request,
    caller: UploaderDep,
    parts: StudioDep,
    service: Annotated[Name | None, Query(description="Else the header GPROFILER-SERVICE-NAME")] = None,
    hostname: Annotated[Name | None, Query(description="Of a collapsed file: whose it is")] = None,
    start_time: Annotated[datetime | None, Query(description="Likewise, when it began")] = None,
    end_time: Annotated[datetime | None, Query(description="Likewise, when it ended")] = None,
) -> Uploaded:
    """Take what agents of the field send (gzipped JSON), or a plain file of collapsed stacks as `text/plain`.

    It is stored before it is acknowledged, and in merged flame graphs a moment later. Sent again it is one profile.
    """
    require(caller, [TokenKind.AGENT])
    named = _service_of(call, service)
    require_service(caller, named, field="service")
    is_zipped = _is_zipped(call)
    if _kind(call) == JSON:
        sent = Sent("agent", await call.body(), caller.tenant, named, is_zipped=is_zipped)
    else:
        said = {"hostname": hostname, "start_time": start_time, "end_time": end_time}
        missing = [name for name, value in said.items() if value is None]
        if hostname is None or start_time is None or end_time is None:
            raise invalid(more=[FieldFault(field=name, message="is needed", code="missing") for name in missing])
        of_file = OfFile(hostname, utc(start_time), utc(end_time))
        sent = Sent("collapsed", await call.body(), caller.tenant, named, is_zipped=is_zipped, of_file=of_file)
    taken = await parts.profile_intake.take(sent)
    return Uploaded(
        profile_id=taken.facts.profile_id,
        results_path=f"/api/v1/profiles/{taken.facts.profile_id}",
        stacks=len(taken.collapsed.stacks),
        samples=sum(taken.collapsed.stacks.values()),
        bad_lines=taken.collapsed.bad_lines,
    )


def _service_of(call: Request, service: str | None) -> str:
    said = call.headers.get("gprofiler-service-name") or service
    if said is None:
        why = "say it in the header GPROFILER-SERVICE-NAME or in the query"
        raise invalid(more=[FieldFault(field="service", message=why, code="missing")])
    try:
        return _NAME.validate_python(said)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        raise invalid([{**fault, "loc": ("service",)} for fault in faults]) from None


def _kind(call: Request) -> str:
    kind = call.headers.get("content-type", JSON).partition(";")[0].strip().lower()
    if kind not in {JSON, COLLAPSED}:
        raise _unsupported("Content-Type", f"Send {JSON} or {COLLAPSED}, not {kind[:100]}.")
    return kind


def _is_zipped(call: Request) -> bool:
    encoding = call.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"identity", "", "gzip"}:
        raise _unsupported("Content-Encoding", "The body may be plain or gzip.")
    return encoding == "gzip"


def _unsupported(header: str, why: str) -> Refusal:
    fault = FieldFault(field=header, message=why, code="unsupported_media_type")
    return Refusal("unsupported_media_type", why, errors=[fault])


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


@router.get("/api/v1/flamegraph", responses=problems(401, 403, 422, 503), summary="Profiles, merged into one")
async def flamegraph(
    parts: StudioDep,
    selection: SelectionDep,
    most_nodes: Annotated[int, Query(ge=1, le=200_000, description="The lightest beyond are left out")] = MOST_NODES,
) -> FlameGraph:
    """Everything selected, as the tree that a flame graph is drawn from."""
    tree = await _asked(lambda: tree_of(parts.profiles.merged(selection), most=most_nodes))
    return FlameGraph(
        root=tree.root, samples=tree.samples, stacks=tree.stacks, cut_nodes=tree.cut_nodes,
        cut_samples=tree.cut_samples,
    )  # fmt: skip


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
