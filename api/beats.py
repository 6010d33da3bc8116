"""What a heartbeat is to the broker, and what the broker's answer is to the agent."""

from datetime import timedelta
from functools import lru_cache
from http import HTTPStatus

from fastapi import Response
from fastapi.responses import JSONResponse

from api.deliveries import tell_delivered
from broker.codec import ms
from broker.host_registry import facts_of
from broker.inventory import packed
from broker.scripts import Beat, Delivered, Idle
from protocol.commands import CommandReader
from protocol.heartbeats import RUNNING, Heartbeat, HeartbeatReply
from protocol.names import HostKey
from protocol.pacing import stale_after


@lru_cache
def _silent_after_ms(interval: int) -> int:
    return ms(stale_after(timedelta(seconds=interval)).total_seconds())


def heard_of(heartbeat: Heartbeat, *, tenant: str, interval: int) -> Beat:
    """A heartbeat of a tenant's host; `interval` (s) is the pace that the answer asks for."""
    return Beat(
        host=HostKey(tenant, heartbeat.service_name, heartbeat.hostname),
        last_command_id=heartbeat.last_command_id or "",
        has_begun=heartbeat.status == RUNNING,
        received_ids=heartbeat.received_command_ids,
        executed_ids=heartbeat.executed_command_ids,
        facts=facts_of(heartbeat, interval=interval),
        inventory=packed(heartbeat.containers),
        silent_after_ms=_silent_after_ms(interval),
        agent_time=heartbeat.timestamp or "",
    )


def reply_of(outcome: Idle | Delivered, *, interval: int) -> Response:
    """The answer to the agent, and a line in the log for a command that is handed out."""
    match outcome:
        case Idle(generation, wanted):
            reply = HeartbeatReply(heartbeat_interval=interval, generation=generation or None, inventory_wanted=wanted)
        case Delivered(command_id, generation, _, command, wanted):
            tell_delivered(outcome)
            reply = HeartbeatReply(
                message="Heartbeat received. New profiling command available.",
                profiling_command=CommandReader.validate_json(command),
                command_id=command_id,
                generation=generation,
                heartbeat_interval=interval,
                inventory_wanted=wanted,
            )
    body = reply.model_dump(mode="json")
    if reply.profiling_command is not None:
        # Absent parts of a configuration are left out, as agents in the field expect.
        body["profiling_command"] = reply.profiling_command.model_dump(mode="json", exclude_none=True)
    return JSONResponse(body, HTTPStatus.OK)
