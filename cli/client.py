"""The public REST API, typed. Tokens travel in the header alone: never in an address, a log or an error."""

from collections.abc import Mapping
from datetime import datetime
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Final, NoReturn, Self, TypeVar
from urllib.parse import quote, urlsplit
from uuid import UUID

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cli.errors import Refused, Unreachable
from protocol.audit import AuditPage, ChainPage
from protocol.lifecycle import State
from protocol.problems import Problem
from protocol.requests import ProfileRequest, RequestAccepted
from protocol.schedules import SchedulePage, SchedulePlan, ScheduleRow, ScheduleStored, ScheduleView
from protocol.tokens import NewToken, TokenPage, TokenView

SCHEDULES: Final = "/api/v1/schedules"
TOKENS: Final = "/api/v1/tokens"
TIMEOUT: Final = httpx.Timeout(5.0, connect=2.0)

MOST_FAULTS_SHOWN: Final = 20

Answer = TypeVar("Answer", bound=BaseModel)


class Check(BaseModel):
    """One thing the API needs, as it sees it."""

    ok: bool
    detail: str = ""


class Readiness(BaseModel):
    """`GET /readyz`: `ready`, `degraded` (a worker role is missing) or `unavailable`."""

    status: str
    checks: dict[str, Check] = Field(default_factory=dict)


class HostRow(BaseModel):
    """A host as the API lists it."""

    model_config = ConfigDict(extra="ignore")

    service_name: str
    hostname: str
    status: str
    agent_status: str | None = None
    agent_version: str | None = None
    last_beat: datetime | None = None


class HostPage(BaseModel):
    """`GET /api/v1/hosts`."""

    items: list[HostRow]
    next_cursor: str | None = None


class WorkerRow(BaseModel):
    """One instance of a worker role, with what it measured; what it cannot measure is absent. Ages are in seconds."""

    model_config = ConfigDict(extra="ignore")

    role: str
    instance: str
    present: bool
    last_pass_at: datetime
    last_pass_age: float
    last_pass_seconds: float | None = None
    passes: int | None = None
    items: int | None = None
    items_per_second: float | None = None
    behind: int | None = None
    oldest_seconds: float | None = None


class WorkerList(BaseModel):
    """`GET /api/v1/roles`."""

    items: list[WorkerRow]


class ProfileRow(BaseModel):
    """A stored profile in a list."""

    profile_id: str
    hostname: str
    started_at: datetime
    command_id: str
    profiling_mode: str
    samples: int


class ProfilePage(BaseModel):
    """A page of them."""

    items: list[ProfileRow]
    next_cursor: str | None = None


class DeletedProfile(BaseModel):
    """What was deleted."""

    profile_id: str


class HostProgress(BaseModel):
    """How far a request has come on one host. `timeline` has the server's time of each state it went through."""

    model_config = ConfigDict(extra="ignore")

    hostname: str
    status: State
    command_id: str | None = None
    reason: str | None = None
    samples: int | None = None
    execution_time: float | None = None
    results_path: str | None = None
    timeline: dict[str, datetime] = Field(default_factory=dict)


class RequestProgress(BaseModel):
    """`GET /api/v1/requests/{request_id}`."""

    model_config = ConfigDict(extra="ignore")

    request_id: str
    status: str
    hosts: list[HostProgress] = Field(default_factory=list)


class StudioClient:
    """A connection to one API. Every call raises `Unreachable` when nobody answers and `Refused` on a problem."""

    def __init__(self, url: str, token: str | None = None, *, transport: httpx.BaseTransport | None = None) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # A proxy that is set for the outside world cannot reach an API on this machine.
        # And an http:// address needs no certificates, whose loading takes longer than a call.
        self._http = httpx.Client(
            base_url=url, headers=headers, timeout=TIMEOUT, trust_env=not is_loopback(url), transport=transport,
            verify=url.startswith("https://"),
        )  # fmt: skip
        self._url = url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def __repr__(self) -> str:
        return f"StudioClient({self._url!r})"

    def readiness(self) -> Readiness:
        """What the API says of itself; it says so with 503 too."""
        answer = self._send("GET", "/readyz")
        return self._read(answer, Readiness) if answer.status_code in {200, 503} else self._fail(answer)

    def workers(self) -> list[WorkerRow]:
        """Every instance of every worker role that was at work within the last hour."""
        return self._get("/api/v1/roles", WorkerList, {}).items

    def hosts(self) -> list[HostRow]:
        """Every host, page after page."""
        rows: list[HostRow] = []
        cursor: str | None = None
        while True:
            page = self._get("/api/v1/hosts", HostPage, {"cursor": cursor} if cursor else {})
            rows += page.items
            cursor = page.next_cursor
            if cursor is None:
                return rows

    def submit(self, request: ProfileRequest) -> RequestAccepted:
        """Ask for a profile, or for the end of one."""
        body = request.model_dump(mode="json", exclude_unset=True)
        answer = self._send("POST", "/api/metrics/profile_request", json=body)
        return self._read(answer, RequestAccepted) if answer.is_success else self._fail(answer)

    def request(self, request_id: UUID) -> RequestProgress:
        """How far a request has come, host by host."""
        return self._get(f"/api/v1/requests/{request_id}", RequestProgress, {})

    def schedules(self) -> list[ScheduleRow]:
        """Every schedule, page after page."""
        rows: list[ScheduleRow] = []
        cursor: str | None = ""
        while cursor is not None:
            page = self._get(SCHEDULES, SchedulePage, {"cursor": cursor})
            rows += page.items
            cursor = page.next_cursor
        return rows

    def schedule(self, schedule_id: str) -> ScheduleView:
        """A schedule and its last firings."""
        return self._get(f"{SCHEDULES}/{quote(schedule_id, safe='')}", ScheduleView, {})

    def make_schedule(self, body: dict[str, Any]) -> ScheduleStored | SchedulePlan:
        """Have a request submitted by the clock; the API judges the body."""
        answer = self._send("POST", SCHEDULES, json=body)
        kind: type[ScheduleStored | SchedulePlan] = SchedulePlan if body.get("dry_run") else ScheduleStored
        return self._read(answer, kind) if answer.is_success else self._fail(answer)

    def change_schedule(self, schedule_id: str, body: dict[str, Any]) -> ScheduleStored:
        """Change the fields that are given."""
        answer = self._send("PATCH", f"{SCHEDULES}/{quote(schedule_id, safe='')}", json=body)
        return self._read(answer, ScheduleStored) if answer.is_success else self._fail(answer)

    def delete_schedule(self, schedule_id: str) -> ScheduleView:
        """Delete a schedule; gives what it was."""
        answer = self._send("DELETE", f"{SCHEDULES}/{quote(schedule_id, safe='')}")
        return self._read(answer, ScheduleView) if answer.is_success else self._fail(answer)

    def profiles(self, selection: dict[str, str | list[str]]) -> list[ProfileRow]:
        """Every stored profile of a selection, page after page."""
        rows: list[ProfileRow] = []
        cursor: str | None = ""
        while cursor is not None:
            page = self._get("/api/v1/profiles", ProfilePage, {**selection, "cursor": cursor, "limit": "1000"})
            rows += page.items
            cursor = page.next_cursor
        return rows

    def delete_profile(self, profile_id: str, service: str) -> DeletedProfile:
        """Delete a profile for good."""
        answer = self._send("DELETE", f"/api/v1/profiles/{quote(profile_id, safe='')}", params={"service": service})
        return self._read(answer, DeletedProfile) if answer.is_success else self._fail(answer)

    def tokens(self) -> list[TokenView]:
        """Every token of the tenant, page after page."""
        rows: list[TokenView] = []
        cursor: str | None = ""
        while cursor is not None:
            page = self._get(TOKENS, TokenPage, {"cursor": cursor, "limit": "1000"})
            rows += page.items
            cursor = page.next_cursor
        return rows

    def make_token(self, body: dict[str, Any]) -> NewToken:
        """Make a token; the API judges the body."""
        answer = self._send("POST", TOKENS, json=body)
        return self._read(answer, NewToken) if answer.is_success else self._fail(answer)

    def rotate_token(self, token_id: str, body: dict[str, Any]) -> NewToken:
        """Give a token another secret; the API judges the body."""
        answer = self._send("POST", f"{TOKENS}/{quote(token_id, safe='')}/rotate", json=body)
        return self._read(answer, NewToken) if answer.is_success else self._fail(answer)

    def revoke_token(self, token_id: str) -> TokenView:
        """Make a token worthless."""
        answer = self._send("DELETE", f"{TOKENS}/{quote(token_id, safe='')}")
        return self._read(answer, TokenView) if answer.is_success else self._fail(answer)

    def whose(self, secret: str) -> TokenView:
        """The token that has this secret."""
        answer = self._send("GET", f"{TOKENS}/self", headers={"Authorization": f"Bearer {secret}"})
        return self._read(answer, TokenView) if answer.is_success else self._fail(answer)

    def audit(self, query: dict[str, str]) -> AuditPage:
        """Who did what: a page."""
        return self._get("/api/v1/audit", AuditPage, query)

    def audit_chain(self, cursor: str | None) -> ChainPage:
        """A part of the chain of audit records, the oldest first."""
        return self._get("/api/v1/audit/chain", ChainPage, {"cursor": cursor} if cursor else {})

    def _get(self, path: str, model: type[Answer], query: Mapping[str, str | list[str]]) -> Answer:
        answer = self._send("GET", path, params=query)
        return self._read(answer, model) if answer.is_success else self._fail(answer)

    def _send(self, method: str, path: str, **content: object) -> httpx.Response:
        try:
            return self._http.request(method, path, **content)  # type: ignore[arg-type]  # params or json, as given above
        except httpx.HTTPError as error:
            raise Unreachable(f"{self._url} does not answer: {error or type(error).__name__}") from error

    def _read(self, answer: httpx.Response, model: type[Answer]) -> Answer:
        try:
            return model.model_validate_json(answer.content)
        except ValidationError as error:
            where = f"{answer.request.method} {answer.request.url.path}"
            raise Unreachable(f"{where} at {self._url} is no answer of this API: {error.errors()[0]['msg']}") from error

    def _fail(self, answer: httpx.Response) -> NoReturn:
        try:
            problem = Problem.model_validate_json(answer.content)
        except ValidationError:
            raise Refused(status=answer.status_code, code="unknown", detail=answer.reason_phrase) from None
        faults = "".join(f"\n  {fault.field}: {fault.message}" for fault in problem.errors[:MOST_FAULTS_SHOWN])
        raise Refused(status=problem.status, code=problem.code, detail=problem.detail + faults)


def is_loopback(url: str) -> bool:
    """Whether an address stays on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
