"""What audit records tell of requests and schedules. Pure.

Not everything that somebody sends: free arguments may hold a secret and lists of hosts are long, so of these the digest
is told, which still says whether two were the same.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from protocol.requests import ProfileRequest

BY_DIGEST: Final = ("additional_args", "target_hosts", "target_hostnames", "pids")
WHERE: Final = frozenset({"service_name", "target_hosts", "target_hostnames", "dry_run"})
"""Fields of a request that a record has in places of their own."""


def wish_told(asked: ProfileRequest) -> dict[str, Any]:
    """What a request asks for, where it says anything but the defaults; whom it is for is told beside it."""
    body = asked.model_dump(mode="json", exclude_defaults=True, exclude=set(WHERE))
    return {"command_type": asked.command_type, **request_told(body)}


def request_told(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a request, with digests in place of what is not told."""
    told = {name: value for name, value in body.items() if value is not None and name not in BY_DIGEST}
    return told | {f"{name}_sha256": _digest(body[name]) for name in BY_DIGEST if body.get(name)}


def schedule_told(wish: Mapping[str, Any]) -> dict[str, Any]:
    """A schedule as it is wished for."""
    return {**wish, "request": request_told(wish["request"])}


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The facts that differ, as they were and as they are to be."""
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return {name: before.get(name) for name in names}, {name: after.get(name) for name in names}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
