"""A profile as it is uploaded: the body of `POST /api/v2/profiles`, as agents of the field send it. Pure.

The body is JSON: `start_time` and `end_time` (UTC, whole seconds, without an offset), `hostname`, `profile`, `cpu_avg`,
`mem_avg`, `spawn_time`, `gpid`. `profile` is collapsed stacks below a line `# {json}`, in which servers of the field
look for `metadata` with `hostname` and `agent_version`, and for `containers`. They take the first frame of every stack
for the container's name, be it empty, and the second for the process.
"""

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True)
class Sender:
    """Who uploads. `spawned_at` is when the agent was started."""

    hostname: str
    service_name: str
    agent_version: str
    spawned_at: datetime


def pack(
    facts: Mapping[str, Any],
    stacks: str,
    *,
    sender: Sender,
    started_at: datetime,
    finished_at: datetime,
    containers: Sequence[str] = (),
) -> bytes:
    """The gzipped body.

    Args:
        facts: what the profile's first line says of it; servers of ours read that.
        stacks: collapsed, a line each, with a column for the container.
        sender: who uploads.
        started_at: when sampling began.
        finished_at: when it ended.
        containers: the names in that column.
    """
    body = {
        "start_time": _whole_seconds(started_at),
        "end_time": _whole_seconds(finished_at),
        "hostname": sender.hostname,
        "profile": f"# {json.dumps(_first_line(facts, sender, containers), separators=(',', ':'))}\n{stacks}",
        "cpu_avg": None,
        "mem_avg": None,
        "spawn_time": _whole_seconds(sender.spawned_at),
        "gpid": "",
    }
    # mtime: the same profile is the same bytes, however often it is packed
    return gzip.compress(json.dumps(body, separators=(",", ":")).encode(), compresslevel=6, mtime=0)


def _first_line(facts: Mapping[str, Any], sender: Sender, containers: Sequence[str]) -> dict[str, Any]:
    # On the host's disk a profile has no column for the container, and its `format` says so.
    told = {name: value for name, value in facts.items() if name != "format"}
    metadata = {
        "hostname": sender.hostname,
        "agent_version": sender.agent_version,
        "kernel_release": told.get("kernel"),
        "spawn_time": sender.spawned_at.astimezone(UTC).isoformat(),
    }
    known = told.get("metadata")
    return {
        "containers": list(containers),
        "container_names_enabled": bool(containers),
        "application_metadata": [None],
        "application_metadata_enabled": False,
        "profiling_mode": "cpu",
        **told,
        "hostname": sender.hostname,
        "service_name": sender.service_name,
        "metadata": {**metadata, **(known if isinstance(known, Mapping) else {})},
    }


def _whole_seconds(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat()
