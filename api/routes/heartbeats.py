"""`POST /api/metrics/heartbeat`: one step in the broker, held open where the agent prefers to wait."""

import asyncio
import re
import time
from collections.abc import Awaitable
from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from api.auth import require, require_service
from api.bodies import read_model
from api.deliveries import tell_delivered
from api.dependencies import CallerDep, Studio, StudioDep, peer_in
from api.documented import json_body, problems
from api.ownership import credential_of, spoken
from broker.codec import ms
from broker.host_registry import facts_of
from broker.inventory import packed
from broker.scripts import Beat, Contested, Credential, Delivered, Idle
from broker.token_store import Token, TokenKind
from protocol.commands import CommandReader
from protocol.heartbeats import RUNNING, Heartbeat, HeartbeatReply
from protocol.names import HostKey
from protocol.pacing import MAX_WAIT, stale_after

router = APIRouter(tags=["agents"])

WAIT: Final = re.compile(r"(?:^|,)\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?:$|[,;])", re.IGNORECASE)


def preferred_wait(request: Request) -> int:
    """Seconds the agent is ready to wait (RFC 7240), at most a minute; 0 without the preference."""
    found = WAIT.search(",".join(request.headers.getlist("prefer")))
    return min(int(found[1]), int(MAX_WAIT.total_seconds())) if found else 0


@router.post(
    "/api/metrics/heartbeat",
    response_model=HeartbeatReply,
    responses=problems(400, 401, 403, 413, 415, 422, 503),
    openapi_extra=json_body(Heartbeat),
    summary="An agent's heartbeat; the answer may carry a command",
)
async def beat(request: Request, caller: CallerDep, parts: StudioDep) -> Response:
    """Remember the host, take its acks, answer with what it has not acked.

    With `Prefer: wait=25` the answer is held until there is a command or 25 seconds have passed.
    """
    require(caller, [TokenKind.AGENT])
    heartbeat = await read_model(request, Heartbeat)
    require_service(caller, heartbeat.service_name)
    host = HostKey(caller.tenant, heartbeat.service_name, heartbeat.hostname)
    heard = Beat(
        host=host,
        last_command_id=heartbeat.last_command_id or "",
        has_begun=heartbeat.status == RUNNING,
        received_ids=heartbeat.received_command_ids,
        executed_ids=heartbeat.executed_command_ids,
        inventory=packed(heartbeat.containers),
        facts=facts_of(heartbeat, interval=parts.settings.heartbeat_interval),
        silent_after_ms=ms(stale_after(timedelta(seconds=parts.settings.heartbeat_interval)).total_seconds()),
        by=credential_of(caller, host, peer_in(request.scope, parts), host_id=heartbeat.host_id or ""),
    )
    wait = preferred_wait(request)
    if wait == 0:
        return _answer(await _exchange(heard, parts), parts)
    response = _answer(await _hold(request, caller, heard, wait, parts), parts)
    response.headers["Preference-Applied"] = f"wait={wait}"
    return response


async def _hold(request: Request, caller: Token, heard: Beat, wait: int, parts: Studio) -> Idle | Delivered:
    """Ask, and ask again at each nudge, until there is a command, time is up, we go down, or the agent is gone.

    Raises:
        Refusal: the token has ended meanwhile.
    """
    path = parts.broker.place(heard.host).path
    with parts.nudges.waiter(path) as woken, parts.authenticator.watch(caller, woken.set):
        # Registered first: a command that is installed after this question sets `woken`.
        outcome = await _exchange(heard, parts)
        if isinstance(outcome, Delivered):
            return outcome
        # uvicorn does not cancel a handler when its client goes away, and a command must not go into a dead socket.
        gone = asyncio.create_task(_disconnected(request))
        until = time.monotonic() + wait
        try:
            # The time bounds the waiting alone: a question to the broker that is cut short may have taken the command.
            while not parts.nudges.closing and (left := until - time.monotonic()) > 0:
                waking = asyncio.create_task(woken.wait())
                await asyncio.wait({waking, gone}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                waking.cancel()
                if gone.done() or not woken.is_set() or parts.nudges.closing:
                    break
                woken.clear()
                await parts.authenticator.identify(request.headers)  # refuses a token that has ended meanwhile
                outcome = await _exchange(heard, parts)
                if isinstance(outcome, Delivered):
                    break
        finally:
            gone.cancel()
    return outcome


async def _exchange(heard: Beat, parts: Studio) -> Idle | Delivered:
    """One heartbeat, as far as its token may speak for the host.

    Raises:
        Refusal: it may not.
        BrokerUnavailable: the server cannot be reached.
    """

    def say(by: Credential) -> Awaitable[Idle | Delivered | Contested]:
        return parts.command_store.exchange(replace(heard, by=by), now=time.time())

    return await spoken(say, heard.by, heard.host, parts.tokens)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _answer(outcome: Idle | Delivered, parts: Studio) -> Response:
    pace = parts.settings.heartbeat_interval
    match outcome:
        case Idle(generation, wanted):
            reply = HeartbeatReply(heartbeat_interval=pace, generation=generation or None, inventory_wanted=wanted)
        case Delivered(command_id, generation, _, command, wanted):
            tell_delivered(outcome)
            reply = HeartbeatReply(
                message="Heartbeat received. New profiling command available.",
                profiling_command=CommandReader.validate_json(command),
                command_id=command_id,
                generation=generation,
                heartbeat_interval=pace,
                inventory_wanted=wanted,
            )
    body = reply.model_dump(mode="json")
    if reply.profiling_command is not None:
        # Absent parts of a configuration are left out, as agents in the field expect.
        body["profiling_command"] = reply.profiling_command.model_dump(mode="json", exclude_none=True)
    return JSONResponse(body, HTTPStatus.OK)
