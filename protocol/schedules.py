"""Schedules: a request that is submitted again and again. Bodies and answers of `/api/v1/schedules`."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, Strict, field_validator
from pydantic_core import PydanticCustomError

from protocol import cron
from protocol.names import Name
from protocol.requests import ProfileRequest

Overlap = Literal["skip", "allow"]
"""`skip`: no firing while the former one's request is open on a host. `allow`: hosts fold it into what they run."""
Outcome = Literal["submitted", "skipped", "missed", "refused", "failed"]
FAILURES: Final = frozenset({"refused", "failed"})
SHOWN_FIRINGS: Final = 5
MOST_REQUEST_BYTES: Final = 64 * 1024
"""Schedules stay: a thousand of a tenant's must not fill the broker. Many hosts are a service."""


class ScheduleWish(BaseModel):
    """A schedule as it is asked for. `catch_up` is in seconds; `pause_after` 0 means never."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    request: ProfileRequest
    timezone: Annotated[str, Strict()] = "UTC"
    cron: Annotated[str, Strict()]
    overlap: Overlap = "skip"
    catch_up: Annotated[int, Strict(), Field(ge=0, le=7 * 86_400)] = 300
    pause_after: Annotated[int, Strict(), Field(ge=0, le=1_000)] = 5
    enabled: Annotated[bool, Strict()] = True
    dry_run: Annotated[bool, Strict()] = False

    @field_validator("request")
    @classmethod
    def _is_meant(cls, value: ProfileRequest) -> ProfileRequest:
        if value.dry_run:
            raise PydanticCustomError("contradiction", "dry_run belongs beside the request: a schedule submits")
        size = len(value.model_dump_json(exclude_unset=True))
        if size > MOST_REQUEST_BYTES:
            told = {"size": size, "most": MOST_REQUEST_BYTES}
            raise PydanticCustomError("too_large", "is {size} bytes as JSON; a schedule keeps at most {most}", told)
        return value

    @field_validator("timezone")
    @classmethod
    def _is_a_zone(cls, value: str) -> str:
        if value not in cron.zones():
            raise PydanticCustomError("unknown_timezone", "is no time zone of the IANA database, such as Europe/Berlin")
        return value

    @field_validator("cron")
    @classmethod
    def _fires(cls, value: str) -> str:
        fault = cron.fault_of(value)
        if fault is not None:
            raise PydanticCustomError("cron", "{fault}", {"fault": fault})
        return " ".join(value.split())

    def next_firings(self, *, after: float) -> list[datetime]:
        """The first few firings after a moment (seconds since the epoch), in the schedule's zone."""
        return cron.next_firings(self.cron, self.timezone, after=after, count=SHOWN_FIRINGS)


class Firing(BaseModel):
    """One firing and what became of it. `fired_at` is when it was worked off, by the server's clock."""

    due_at: datetime
    fired_at: datetime
    outcome: Outcome
    request_id: str | None = None
    reason: str | None = None


class ScheduleRow(BaseModel):
    """A schedule as the list shows it. It fires with the rights of `owner`, the token that changed it last."""

    id: str
    name: str
    service_name: str
    state: Literal["active", "paused"]
    reason: str | None = None
    cron: str
    timezone: str
    overlap: Overlap
    catch_up: int
    pause_after: int
    next_fire_at: datetime | None = None
    failures_in_a_row: int = 0
    owner: str
    created_by: str
    created_at: datetime
    updated_at: datetime


class ScheduleView(ScheduleRow):
    """A schedule as one can follow it."""

    request: dict[str, Any]
    firings: list[Firing] = Field(default_factory=list)


class SchedulePlan(BaseModel):
    """What a schedule would do; nothing was changed."""

    dry_run: Literal[True] = True
    next_firings: list[datetime]
    warnings: list[str] = Field(default_factory=list)


class ScheduleStored(ScheduleView):
    """The answer to a change: the schedule, and when it fires next."""

    next_firings: list[datetime]
    warnings: list[str] = Field(default_factory=list)


class SchedulePage(BaseModel):
    """A page of schedules, oldest first; `next_cursor` asks for the next one, null on the last."""

    items: list[ScheduleRow]
    next_cursor: str | None = None
