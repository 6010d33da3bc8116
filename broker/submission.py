"""From a validated request to entries in the hosts' streams. Whatever was submitted is stored by then.

The API submits what people ask for, the workers what a schedule asks for: both by these functions.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, Self

from broker import tracing
from broker.connection import Broker
from broker.errors import NotSubmittable
from broker.host_registry import HostRegistry
from broker.inventory import Inventories
from broker.request_log import RequestLog
from broker.request_record import RequestRecord
from broker.request_store import RequestStore
from broker.rollouts import Rollouts
from broker.samples import Samples
from broker.standing import StandingRequests
from broker.targeting import Selection
from protocol.pacing import stale_after
from protocol.problems import FieldFault
from protocol.requests import ProfileRequest
from protocol.shares import share_of

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
    samples: Samples
    rollouts: Rollouts
    standing: StandingRequests
    inventories: Inventories
    heartbeat_interval: timedelta
    fan_out_above: int

    @classmethod
    def of(cls, broker: Broker, *, heartbeat_interval: timedelta, fan_out_above: int) -> Self:
        """Everything on one broker."""
        return cls(
            HostRegistry(broker),
            RequestStore(broker),
            RequestLog(broker),
            Samples(broker),
            Rollouts(broker),
            StandingRequests(broker),
            Inventories(broker),
            heartbeat_interval,
            fan_out_above,
        )


@dataclass(frozen=True, slots=True)
class Meant:
    """What a request means as things are: each host with its pids, and what is to be said about it."""

    targets: Targets
    warnings: Sequence[str] = ()


async def targets_of(asked: ProfileRequest, tenant: str, parts: Intake) -> Meant:
    """The hosts that are meant, each with its pids; for other scopes than `host`, by those that are live now.

    Raises:
        NotSubmittable: the service has no live host, or something that is named does not run on any.
        BrokerUnavailable: the server cannot be reached.
    """
    if asked.target_scope == "host":
        return Meant(asked.targets())
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
    if not asked.is_resolved:
        return Meant({host.host: asked.pids for host in hosts})
    selection = Selection(asked.target_entities or [])
    named = {entity.hostname for entity in selection.entities}
    async for seen in parts.inventories.seen(host for host in hosts if None in named or host.host in named):
        selection.look_at(seen)
    if faults := selection.faults():
        raise NotSubmittable(f"{len(faults)} of the target_entities cannot be profiled as things are.", *faults)
    return Meant(selection.targets, selection.warnings())


async def sample_of(asked: ProfileRequest, targets: Targets, tenant: str, parts: Intake) -> Targets:
    """What the request's `sample` leaves of its targets: those that were sampled least recently; all, without one.

    Raises:
        BrokerUnavailable: the server cannot be reached.
    """
    if asked.sample is None:
        return targets
    count = share_of(asked.sample, len(targets), least=1)
    chosen = await parts.samples.choose(
        tenant, asked.service_name, targets, count, now=time.time(), dry_run=asked.dry_run
    )
    return {host: targets[host] for host in chosen}


def check_weight(asked: ProfileRequest, targets: Targets) -> None:
    """Refuse a request whose copies, one for each host, would fill the broker: it serves all services.

    Of a sample, the heaviest that could be chosen counts: a refused request takes no host's turn.

    Raises:
        NotSubmittable: its additional_args and pids are too many for so many hosts.
    """
    hosts = len(targets) if asked.sample is None else share_of(asked.sample, len(targets), least=1)
    args = hosts * len(json.dumps(asked.additional_args))
    counts = sorted((len(of_host or ()) for of_host in targets.values()), reverse=True)
    pids = BYTES_OF_A_PID * sum(counts[:hosts])
    if args + pids > MOST_COPIED_BYTES:
        field = "additional_args" if args > pids else "pids"
        fault = FieldFault(
            field=field,
            message=f"is copied to {hosts} hosts, {args + pids} bytes in all; at most {MOST_COPIED_BYTES} are",
            code="too_large",
        )
        raise NotSubmittable("The request is too large for so many hosts.", fault)


async def submit(record: RequestRecord, parts: Intake) -> RequestRecord:
    """Store a request and append it for its hosts; for very many of them a job does the latter. Gives it as stored.

    The record comes first: a crash in between leaves a request that nobody was told is accepted, and whoever repeats
    the call with the same identity goes on where it stopped.

    Raises:
        BrokerUnavailable: the server cannot be reached; the request may be half appended, and may be repeated.
    """
    with tracing.span("submit request", request_id=record.request_id, hosts=len(record.targets)) as traceparent:
        stored = await parts.request_store.put(replace(record, traceparent=traceparent))
        await resume(stored, parts)
    return stored


async def resume(record: RequestRecord, parts: Intake) -> None:
    """Append a stored request for the hosts that it is not appended for yet.

    Raises:
        BrokerUnavailable: the server cannot be reached; may be repeated.
    """
    if record.hosts_appended == len(record.targets):
        return
    if record.stops_the_service:
        await _end_what_would_start_later(record, parts)
    if record.is_standing:
        await parts.standing.open(record)
    if record.is_rollout:
        await parts.rollouts.open(record)  # the pacer appends it, host by host
        return
    if len(record.targets) > parts.fan_out_above:
        await parts.request_store.ask_for_job("fan_out", record.request_id)
        return
    await parts.request_log.append(record.wishes())
    await parts.request_store.note_appended(record.request_id, len(record.targets))


async def _end_what_would_start_later(stop: RequestRecord, parts: Intake) -> None:
    """Before a whole service is stopped: nobody may join its standing requests, nor get a turn in its rollouts.

    The tombstones come before the stop is appended: whatever start is on its way to a host arrives before the stop, and
    is stopped, or after the tombstone, and ends cancelled.
    """
    reason = f"the service was stopped by request {stop.request_id}"
    for stand in await parts.standing.all():
        if stand.is_of(stop.tenant, stop.service) and stand.accepted_at <= stop.accepted_at:
            await parts.standing.end(stand.request_id, reason=reason)
            await parts.request_log.cancel(stand.request_id, (), reason=reason)
    for request_id in await parts.rollouts.open_of(stop.tenant, stop.service, before=stop.accepted_at):
        await parts.rollouts.halt(request_id, reason=reason)
        await parts.request_log.cancel(request_id, (), reason=reason)
