"""Profiles: uploaded by agents, listed, and merged into one flame graph."""

from datetime import datetime, timedelta
from typing import Annotated, Final, TypeVar
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, StringConstraints, TypeAdapter, ValidationError

from api.dependencies import StudioDep, UploaderDep
from api.documented import problems
from api.problems import Refusal, invalid
from api.rights import require, require_service
from api.uploads import OfFile, Sent
from broker.token_store import TokenKind
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
        results_path=f"/api/v1/profiles/{taken.facts.profile_id}.html?service={quote(named, safe='')}",
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
