"""From a validated request to entries in the hosts' streams. Whatever was submitted is stored by then.

The API submits what people ask for, the workers what a schedule asks for: both by these functions.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Self

from broker.connection import Broker
from broker.errors import NotSubmittable
from broker.host_registry import HostRegistry
from broker.request_log import RequestLog
from broker.request_store import RequestRecord, RequestStore
from protocol.pacing import stale_after
from protocol.problems import FieldFault
from protocol.requests import ProfileRequest

Targets = Mapping[str, Sequence[int] | None]

MOST_COPIED_BYTES: Final = 64 * 1024 * 1024
"""What a request may weigh once it stands on each of its hosts: a body of a mebibyte could make gigabytes of it."""
BYTES_OF_A_PID: Final = 12


@dataclass(frozen=True, slots=True)
class Intake:
    """What submitting needs. `fan_out_above`: a job appends for more hosts than this."""

    registry: HostRegistry
    request_store: RequestStore
    request_log: RequestLog
    heartbeat_interval: timedelta
    fan_out_above: int

    @classmethod
    def of(cls, broker: Broker, *, heartbeat_interval: timedelta, fan_out_above: int) -> Self:
        """Everything on one broker."""
        return cls(HostRegistry(broker), RequestStore(broker), RequestLog(broker), heartbeat_interval, fan_out_above)


async def targets_of(asked: ProfileRequest, tenant: str, parts: Intake) -> Targets:
    """The hosts that are meant, each with its pids; for the scope `service`, those that are live now.

    Raises:
        NotSubmittable: the service has no live host.
        BrokerUnavailable: the server cannot be reached.
    """
    if asked.target_scope == "host":
        return asked.targets()
    silence = stale_after(parts.heartbeat_interval)
    since = time.time() - silence.total_seconds()
    hosts = await parts.registry.live(tenant, asked.service_name, since=since)
    if not hosts:
        fault = FieldFault(
            field="target_scope",
            message=f"no host of this service has sent a heartbeat in the last {silence.total_seconds():.0f} s",
            code="no_live_host",
        )
        raise NotSubmittable("The service has no live host.", fault)
    return {host.host: asked.pids for host in hosts}


def check_weight(asked: ProfileRequest, targets: Targets) -> None:
    """Refuse a request whose copies, one for each host, would fill the broker: it serves all services.

    Raises:
        NotSubmittable: its additional_args and pids are too many for so many hosts.
    """
    args = len(targets) * len(json.dumps(asked.additional_args))
    pids = BYTES_OF_A_PID * sum(len(of_host) for of_host in targets.values() if of_host is not None)
    if args + pids > MOST_COPIED_BYTES:
        field = "additional_args" if args > pids else "pids"
        fault = FieldFault(
            field=field,
            message=f"is copied to {len(targets)} hosts, {args + pids} bytes in all; at most {MOST_COPIED_BYTES} are",
            code="too_large",
        )
        raise NotSubmittable("The request is too large for so many hosts.", fault)


async def submit(record: RequestRecord, parts: Intake) -> None:
    """Store a request and append it for its hosts; for very many of them a job does the latter.

    The record comes first: a crash in between leaves a request that nobody was told is accepted, and whoever repeats
    the call with the same identity goes on where it stopped.

    Raises:
        BrokerUnavailable: the server cannot be reached; the request may be half appended, and may be repeated.
    """
    await resume(await parts.request_store.put(record), parts)


async def resume(record: RequestRecord, parts: Intake) -> None:
    """Append a stored request for the hosts that it is not appended for yet.

    Raises:
        BrokerUnavailable: the server cannot be reached; may be repeated.
    """
    if record.hosts_appended == len(record.targets):
        return
    if len(record.targets) > parts.fan_out_above:
        await parts.request_store.ask_fan_out(record.request_id)
        return
    await parts.request_log.append(record.wishes())
    await parts.request_store.note_appended(record.request_id, len(record.targets))
