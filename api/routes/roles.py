"""`GET /api/v1/roles`: the worker roles, each instance with what it has measured of itself."""

import time
from datetime import UTC, datetime
from typing import Final

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.dependencies import CallerDep, StudioDep
from api.documented import problems
from api.rights import require_the_installation
from broker.roster import Instance

router = APIRouter(prefix="/api/v1/roles", tags=["operations"])

MEASURED: Final = ("last_pass_seconds", "passes", "items", "items_per_second", "behind", "oldest_seconds")
"""The facts of the roster that are shown."""


class RoleView(BaseModel):
    """One instance of a worker role. What a role cannot measure is null."""

    role: str
    instance: str
    present: bool = Field(description="Made a pass within the last 15 s")
    last_pass_at: datetime
    last_pass_age: float = Field(description="Seconds")
    last_pass_seconds: float | None = Field(None, description="What it took, the wait for work included")
    passes: int | None = Field(None, description="Since it started")
    items: int | None = Field(None, description="Worked off since it started")
    items_per_second: float | None = Field(None, description="Over the last minute")
    behind: int | None = Field(None, description="Entries that its group has not done; the same for each instance")
    oldest_seconds: float | None = Field(None, description="Since when the oldest of them waits")


class RoleList(BaseModel):
    """Every instance that made a pass within the last hour, by role."""

    items: list[RoleView]


@router.get("", responses=problems(401, 403, 503), summary="The worker roles: lag, throughput and last pass")
async def index(caller: CallerDep, parts: StudioDep) -> RoleList:
    """Each instance is a row: of every role any number may be at work.

    They work for all tenants, so it is for those who run the system: an admin's token of every service of `default`.
    """
    require_the_installation(caller)
    now = time.time()
    return RoleList(items=[view(instance, now=now) for instance in await parts.roster.instances()])


def view(instance: Instance, *, now: float) -> RoleView:
    """One instance as the list shows it."""
    return RoleView(
        role=instance.role,
        instance=instance.name,
        present=instance.is_present(now=now),
        last_pass_at=datetime.fromtimestamp(instance.passed_at, UTC),
        last_pass_age=round(max(0.0, now - instance.passed_at), 3),
        **{name: instance.facts.get(name) for name in MEASURED},
    )
