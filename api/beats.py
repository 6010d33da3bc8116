"""What a heartbeat is to the broker, and what the broker's answer is to the agent."""

import time
from datetime import timedelta
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from fastapi import Response
from fastapi.responses import JSONResponse
from msgspec import structs

from api.deliveries import tell_delivered
from api.limit_settings import Lane
from api.ownership import Peer, credential_of, insisted
from broker.codec import ms
from broker.host_registry import facts_of
from broker.inventory import packed
from broker.scripts import Beat, Contested, Credential, Delivered, Idle, New, Outcome
from broker.token_store import Token
from protocol.commands import CommandReader
from protocol.heartbeats import RUNNING, Heartbeat, HeartbeatReply
from protocol.names import HostKey
from protocol.pacing import stale_after

if TYPE_CHECKING:  # the parts hold what holds heartbeats, which asks here
    from api.dependencies import Studio


OF_MANY: Final = "s"
"""The claim of tokens that may speak for any number of hosts: how many new ones each brings in is counted."""


@lru_cache
def _silent_after_ms(interval: int) -> int:
    return ms(stale_after(timedelta(seconds=interval)).total_seconds())


def heard_of(heartbeat: Heartbeat, caller: Token, peer: Peer, *, interval: int) -> Beat:
    """A heartbeat of a host of the caller's tenant, and what the broker is to know of the caller.

    Args:
        heartbeat: what the agent says.
        caller: its token.
        peer: whose certificate the connection has.
        interval: the pace (s) that the answer asks for.
    """
    host = HostKey(caller.tenant, heartbeat.service_name, heartbeat.hostname)
    by = credential_of(caller, host, peer, host_id=heartbeat.host_id or "")
    return Beat(
        host=host,
        last_command_id=heartbeat.last_command_id or "",
        has_begun=heartbeat.status == RUNNING,
        received_ids=heartbeat.received_command_ids,
        executed_ids=heartbeat.executed_command_ids,
        facts=facts_of(heartbeat, interval=interval),
        inventory=packed(heartbeat.containers),
        silent_after_ms=_silent_after_ms(interval),
        agent_time=heartbeat.timestamp or "",
        by=by,
        may_join=by.claim != OF_MANY,
    )


async def exchange(heard: Beat, parts: "Studio") -> Idle | Delivered:
    """One heartbeat, as far as its token may speak for the host.

    Raises:
        Refusal: it may not, or has brought in too many hosts; nothing was done.
        BrokerUnavailable: the server cannot be reached.
    """
    return await settled(await parts.command_store.exchange(heard, now=time.time()), heard, parts)


async def settled(answer: Outcome | Exception, heard: Beat, parts: "Studio") -> Idle | Delivered:
    """What the broker answers in the end to a heartbeat, by what it answered at first.

    Raises:
        Refusal: its token may not speak for the host, or has brought in too many; nothing was done.
        BrokerUnavailable: the server cannot be reached.
    """
    if isinstance(answer, Exception):
        raise answer
    if not isinstance(answer, Contested | New):
        return answer  # nearly always

    async def say(by: Credential) -> Idle | Delivered | Contested:
        said = structs.replace(heard, by=by)
        return await _joined(await parts.command_store.exchange(said, now=time.time()), said, parts)

    answer = await _joined(answer, heard, parts)
    if not isinstance(answer, Contested):
        return answer
    return await insisted(answer, say, heard.by, heard.host, parts.tokens)


async def _joined(answer: Outcome, heard: Beat, parts: "Studio") -> Idle | Delivered | Contested:
    """What the broker answers to a heartbeat, once its host may be a new one.

    Raises:
        Refusal: its token has brought in too many; nothing was done.
        BrokerUnavailable: the server cannot be reached.
    """
    if not isinstance(answer, New):
        return answer
    await parts.limits.count(Lane.HOSTS, heard.by.token_id)
    answer = await parts.command_store.exchange(structs.replace(heard, may_join=True), now=time.time())
    assert not isinstance(answer, New), "it may join"
    return answer


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
