"""Uploads as agents and others make them, and what is asked of them then."""

import gzip
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx

from tests.support.api import Api
from tests.support.processes import eventually

UPLOAD: Final = "/api/v2/profiles"
START: Final = datetime(2026, 5, 4, 10, 15, tzinfo=UTC)
TIMES: Final = {"start": "2026-05-04T10:00:00Z", "end": "2026-05-04T12:00:00Z"}
STACKS: Final = {"web;main;work": 30, "web;main;rest": 10, "db;loop": 5}


def agent_body(
    hostname: str = "a", *, stacks: Mapping[str, int] | str = STACKS, start: datetime = START, **header: Any
) -> dict[str, Any]:
    """What agents of the field send."""
    lines = stacks if isinstance(stacks, str) else "\n".join(f"{stack} {n}" for stack, n in stacks.items())
    told = {"format": "collapsed", "metadata": {"hostname": hostname}, **header}
    return {
        "start_time": f"{start:%Y-%m-%dT%H:%M:%S}", "end_time": f"{start + timedelta(seconds=60):%Y-%m-%dT%H:%M:%S}",
        "hostname": hostname, "profile": f"# {json.dumps(told)}\n{lines}", "cpu_avg": None, "mem_avg": None,
        "spawn_time": "2026-05-04T09:00:00", "gpid": "",
    }  # fmt: skip


def send(
    api: Api, service: str, body: Mapping[str, Any], *, token: str | None = None, params: Any = None, **said: str
) -> httpx.Response:
    """Upload as an agent of the field does it."""
    headers = {
        "GPROFILER-SERVICE-NAME": service, "GPROFILER-API-KEY": token or api.agent, "Content-Encoding": "gzip",
        "Content-Type": "application/json", **said,
    }  # fmt: skip
    return api.http.post(UPLOAD, params=params, content=gzip.compress(json.dumps(body).encode()), headers=headers)


def asked(api: Api, what: str, service: str, **where: Any) -> Any:
    """What a route of stored profiles tells of a service."""
    return api.ok("GET", f"/api/v1/{what}", token=api.admin, params={"service": service, **TIMES, **where})


def indexed(api: Api, service: str, many: int) -> list[dict[str, Any]]:
    """The profiles of a service, once there are so many."""
    eventually(lambda: len(asked(api, "profiles", service)["items"]) >= many, within=60, what=f"{many} profiles")
    items: list[dict[str, Any]] = asked(api, "profiles", service)["items"]
    return items
