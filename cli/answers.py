"""What the API answers, as far as commands show it."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from protocol.lifecycle import State


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
    ip_address: str | None = None
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


class RequestRow(BaseModel):
    """A request in a list. `status`: the furthest open state, else the outcome that all hosts share, else `mixed`."""

    model_config = ConfigDict(extra="ignore")

    request_id: str
    status: str
    command_id: str | None = None
    service_name: str = ""
    command_type: str = "start"
    accepted_at: datetime | None = None
    submitted_by: str = ""
    hosts_total: int = 0
    counts: dict[str, int] = Field(default_factory=dict)
    standing: str | None = None


class RequestPage(BaseModel):
    """`GET /api/v1/requests`."""

    items: list[RequestRow]
    next_cursor: str | None = None


class Cancelled(BaseModel):
    """A cancel that was taken up; `hosts_open`: on how many hosts there was something to end."""

    message: str
    request_id: str
    hosts_open: int


class RequestProgress(RequestRow):
    """`GET /api/v1/requests/{request_id}`: the first hosts of it, each with how far it has come there."""

    hosts: list[HostProgress] = Field(default_factory=list)


class HostsOfRequest(BaseModel):
    """`GET /api/v1/requests/{request_id}/hosts`."""

    items: list[HostProgress]
    next_cursor: str | None = None


class EffectiveCommand(BaseModel):
    """What a host is to do, or what that was last."""

    model_config = ConfigDict(extra="ignore")

    command_id: str
    generation: int
    command_type: str
    state: State
    attempts: int
    request_ids: list[str] = Field(default_factory=list)
    combined_config: dict[str, Any] = Field(default_factory=dict)


class CommandRow(EffectiveCommand):
    """The same in a list."""

    service_name: str
    hostname: str


class CommandPage(BaseModel):
    """`GET /api/v1/commands`."""

    items: list[CommandRow]
    next_cursor: str | None = None


class EndedCommand(BaseModel):
    """A command of a host that has ended."""

    command_id: str
    generation: int
    command_type: str
    outcome: State
    ended_at: datetime
    request_ids: list[str] = Field(default_factory=list)


class HostShown(HostRow):
    """`GET /api/v1/hosts/{service_name}/{hostname}`: the last commands that have ended, newest first."""

    owner: str | None = None
    enrolled: bool = False
    command: EffectiveCommand | None = None
    open_requests: int = 0
    history: list[EndedCommand] = Field(default_factory=list)


class DeadLetter(BaseModel):
    """What was given up on."""

    id: str
    kind: str
    service_name: str | None = None
    hostname: str | None = None
    reason: str
    attempts: int
    at: datetime
    command_id: str | None = None
    request_ids: list[str] = Field(default_factory=list)


class DeadLetterPage(BaseModel):
    """`GET /api/v1/dead_letters`."""

    items: list[DeadLetter]
    next_cursor: str | None = None


class Replayed(BaseModel):
    """What a replay did: a command became a new request."""

    id: str
    kind: str
    request_id: str | None = None
    command_id: str | None = None
