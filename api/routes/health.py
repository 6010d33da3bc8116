"""`/healthz` (this process serves) and `/readyz` (what it needs is there). Neither needs a token."""

import time
from http import HTTPStatus
from typing import Final, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel

from api.dependencies import StudioDep
from broker.errors import BrokerError
from protocol.pacing import RETRY_AFTER

router = APIRouter(tags=["operations"])

NEEDED_ROLES: Final = (
    "merger", "recoverer", "projector", "janitor", "dispatcher", "pacer", "greeter", "scheduler", "jobs",
)  # fmt: skip


class Check(BaseModel):
    """One thing that was looked at."""

    ok: bool
    detail: str


class Readiness(BaseModel):
    """`degraded`: requests are accepted and kept, and wait for the role that is missing."""

    status: Literal["ready", "degraded", "unavailable"]
    checks: dict[str, Check]


class Liveness(BaseModel):
    """This process serves."""

    status: Literal["alive"] = "alive"


@router.get("/healthz", summary="Whether this process serves")
async def healthz() -> Liveness:
    """Always 200: a process that cannot answer does not."""
    return Liveness()


@router.get("/api/v1/health_check", summary="Whether this process serves, as agents of the field ask")
async def health_check() -> Liveness:
    """Always 200. What such an agent says beside it, its key among that, is not read."""
    return Liveness()


@router.get("/readyz", responses={503: {"model": Readiness}}, summary="Whether what it needs is there")
async def readyz(response: Response, parts: StudioDep) -> Readiness:
    """503 while the broker is away; 200 and `degraded` while a worker role is."""
    try:
        await parts.broker.ping()
        present = await parts.roster.present(now=time.time())
    except BrokerError as error:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
        response.headers["Retry-After"] = str(int(RETRY_AFTER.total_seconds()))
        return Readiness(status="unavailable", checks={"broker": Check(ok=False, detail=str(error))})
    checks = {"broker": Check(ok=True, detail="answers")}
    if not parts.is_set_up:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
        response.headers["Retry-After"] = str(int(RETRY_AFTER.total_seconds()))
        checks["setup"] = Check(ok=False, detail="the first tokens are not registered yet")
        return Readiness(status="unavailable", checks=checks)
    for role in (*NEEDED_ROLES, *filter(None, parts.settings.expected_roles.split(","))):
        count = present.get(role, 0)
        checks[role] = Check(ok=count > 0, detail=f"{count} at work")
    ready = all(check.ok for check in checks.values())
    return Readiness(status="ready" if ready else "degraded", checks=checks)
