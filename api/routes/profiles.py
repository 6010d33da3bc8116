"""Profiles: uploaded by agents, and by anyone else who has some; deleted."""

import time
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal
from urllib.parse import quote

import structlog
from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, TypeAdapter, ValidationError

from api import audit
from api.dependencies import CallerDep, StudioDep, UploaderDep, peer_in
from api.documented import problems
from api.ownership import credential_of, spoken
from api.problems import Refusal, invalid, not_found
from api.rights import require, require_service
from api.uploads import Form, Sent
from broker.scripts import Contested, Credential
from broker.token_store import TokenKind
from profiles.moments import Moment
from profiles.questions import Place
from profiles.upload import AgentUpload, Beside
from protocol.names import HostKey, Name
from protocol.problems import FieldFault

log = structlog.get_logger(__name__)
router = APIRouter(tags=["profiles"])

UPLOAD: Final = "/api/v2/profiles"
JSON: Final = "application/json"
FORMS: Final[Mapping[str, Form]] = {
    JSON: "agent",
    "text/plain": "collapsed",
    "application/vnd.google.protobuf+gzip": "pprof",
    "application/vnd.google.protobuf": "pprof",
    "application/x-protobuf": "pprof",
}
GZIP: Final = b"\x1f\x8b"
"""How gzip begins; pprof's files are gzip whatever the headers say."""
MOST_HZ: Final = 1_000_000

_NAME: Final = TypeAdapter[str](Name)
Fact = Annotated[str | None, Query(min_length=1, max_length=256)]


@dataclass(frozen=True)
class _OfFile:
    """What the query says of a file: of the JSON that agents send it says nothing."""

    form: Annotated[
        Literal["collapsed", "pprof"] | None, Query(alias="format", description="Instead of Content-Type")
    ] = None
    hostname: Annotated[Name | None, Query(description="Of a file: whose it is")] = None
    start_time: Annotated[Moment | None, Query(description="Likewise, when it began; pprof may say it itself")] = None
    end_time: Annotated[Moment | None, Query(description="Likewise, when it ended")] = None
    profiling_mode: Annotated[Literal["cpu", "allocation", "wall"] | None, Query(description="What a count is")] = None
    frequency_hz: Annotated[int | None, Query(ge=1, le=MOST_HZ, description="Samples a second")] = None
    command_id: Fact = None
    capture_id: Fact = None
    sample_type: Annotated[
        str, Query(max_length=64, description="Of pprof: which of its values is meant, as `inuse_space`")
    ] = ""

    def beside(self, tenant: str, service: str) -> Beside:
        """It all, for who reads the file.

        Raises:
            Refusal: it does not say whose it is.
        """
        if self.hostname is None:
            raise invalid(more=[FieldFault(field="hostname", message="is needed", code="missing")])
        told = {
            "profiling_mode": self.profiling_mode, "frequency_hz": self.frequency_hz, "command_id": self.command_id,
            "capture_id": self.capture_id,
        }  # fmt: skip
        facts = {name: value for name, value in told.items() if value is not None}
        host = HostKey(tenant, service, self.hostname)
        return Beside(host, self.start_time, self.end_time, facts, self.sample_type)


class BadLine(BaseModel):
    """A line that was left out, counted from 1 in the collapsed text, and why."""

    line: int
    why: str


class Uploaded(BaseModel):
    """A profile was stored. `gpid` is what agents of the field expect beside it."""

    message: str = "ok"
    gpid: int | str = 0
    profile_id: str
    results_path: str
    stacks: int
    samples: int
    bad_lines: int = 0
    """Lines (of pprof: samples) that were left out; the others are kept."""
    faults: list[BadLine] = []
    """The first of those lines."""
    cut_stacks: int = 0
    """Stacks that were too deep and have lost their deep end."""


@router.post(
    UPLOAD,
    responses=problems(400, 401, 403, 409, 413, 415, 422, 503),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                JSON: {"schema": AgentUpload.model_json_schema(ref_template="#/components/schemas/{model}")},
                **{
                    media: {"schema": {"type": "string", **({} if form == "collapsed" else {"format": "binary"})}}
                    for media, form in FORMS.items()
                    if form != "agent"
                },
            },
        }
    },
    summary="Upload a profile",
)
async def upload(
    call: Request,
    caller: UploaderDep,
    parts: StudioDep,
    of_file: Annotated[_OfFile, Depends()],
    service: Annotated[Name | None, Query(description="Else the header GPROFILER-SERVICE-NAME")] = None,
) -> Uploaded:
    """Take what agents of the field send (gzipped JSON), a plain file of collapsed stacks, or one of pprof's.

    It goes to the disk as it comes, is stored before it is acknowledged, and is in merged flame graphs a moment later.
    Sent again it is one profile.
    """
    require(caller, [TokenKind.AGENT])
    named = _service_of(call, service)
    require_service(caller, named, field="service")
    is_zipped = _is_zipped(call)
    form = of_file.form or _form(call)
    beside = None if form == "agent" else of_file.beside(caller.tenant, named)
    peer = peer_in(call.scope, parts)

    async def may_speak(host: HostKey) -> None:
        def ask(by: Credential) -> Awaitable[Contested | None]:
            return parts.command_store.may_speak(host, by=by, now=time.time())

        await spoken(ask, credential_of(caller, host, peer), host, parts.tokens)

    async with parts.profile_intake.received(call.stream()) as content:
        if form == "pprof" and not is_zipped:
            content.seek(0)
            is_zipped = content.read(len(GZIP)) == GZIP
        sent = Sent(form, content, caller.tenant, named, is_zipped=is_zipped, beside=beside)
        taken = await parts.profile_intake.take(sent, may_speak=may_speak)
    return Uploaded(
        profile_id=taken.facts.profile_id,
        results_path=f"/api/v1/profiles/{taken.facts.profile_id}.html?service={quote(named, safe='')}",
        stacks=taken.collapsed.distinct,
        samples=taken.collapsed.samples,
        bad_lines=taken.collapsed.bad_lines,
        faults=[BadLine(line=each.line, why=each.why) for each in taken.collapsed.faults],
        cut_stacks=taken.collapsed.cut_stacks,
    )


class DeletedProfile(BaseModel):
    """A profile that is there no more."""

    profile_id: str


@router.delete(
    "/api/v1/profiles/{profile_id}", responses=problems(401, 403, 404, 422, 503), summary="Delete a profile",
)  # fmt: skip
async def delete(
    call: Request,
    profile_id: Annotated[str, Path(min_length=1, max_length=128)],
    service: Annotated[Name, Query(description="The service whose profile it is")],
    caller: CallerDep,
    parts: StudioDep,
) -> DeletedProfile:
    """Delete a profile for good, its upload too: sent again it is refused. Repeating this changes nothing."""
    require(caller, [TokenKind.OPERATOR])
    require_service(caller, service, field="service")
    place = Place(caller.tenant, service, profile_id)
    if not await parts.profile_intake.is_known(place, parts.profiles):
        raise not_found("profile_id", "There is no such profile.")
    await audit.accept(call, service=service, objects=[profile_id], after={"deleted": True})
    await parts.profile_intake.delete(place, parts.profiles)
    log.info("profile deleted", profile_id=profile_id, service=service, by=caller.token_id)
    return DeletedProfile(profile_id=profile_id)


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


def _form(call: Request) -> Form:
    kind = call.headers.get("content-type", JSON).partition(";")[0].strip().lower()
    if kind not in FORMS:
        raise _unsupported(
            "Content-Type", f"Send {', '.join(FORMS)}, or say the format in the query; not {kind[:100]}."
        )
    return FORMS[kind]


def _is_zipped(call: Request) -> bool:
    encoding = call.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"identity", "", "gzip"}:
        raise _unsupported("Content-Encoding", "The body may be plain or gzip.")
    return encoding == "gzip"


def _unsupported(header: str, why: str) -> Refusal:
    fault = FieldFault(field=header, message=why, code="unsupported_media_type")
    return Refusal("unsupported_media_type", why, errors=[fault])
