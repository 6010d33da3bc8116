"""Hosts whose agent is offered a command again and again and never says that it has it: what makes a dead letter."""

from typing import Any

from broker.scripts import MOST_ATTEMPTS
from tests.support.api import HEARTBEAT
from tests.support.processes import eventually
from tests.support.system import System


def beat(system: System, host: str, *, service: str = "") -> bool:
    """One heartbeat that acks nothing, by default of the system's service; whether it brought a command."""
    answer = system.http.post(
        f"{system.url}{HEARTBEAT}",
        headers={"Authorization": f"Bearer {system.tokens['agent']}"},
        json={
            "ip_address": "192.168.1.100", "hostname": host, "service_name": service or system.service,
            "last_command_id": None, "status": "active", "timestamp": "2025-01-08T11:00:00Z",
        },
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    return answer.json()["profiling_command"] is not None


def given_up_on(system: System, host: str, **asked: Any) -> str:
    """The id of a request that the server gave up on, on a host that takes nothing."""
    beat(system, host)
    request_id = str(system.submit(**{"target_hostnames": [host], **asked})["request_id"])
    eventually(lambda: beat(system, host), within=30, what=f"the command for {host}")
    for _ in range(MOST_ATTEMPTS):
        beat(system, host)

    def is_told() -> bool:
        status = system.status(request_id)
        return status is not None and status["counts"].get("undeliverable") == 1

    eventually(is_told, within=30, what=f"the end of {request_id} on {host}")
    return request_id
