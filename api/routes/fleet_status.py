"""`profiling/host_status` and `profiling/workload_status`: the fleet as web pages and scripts of the field read it."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query

from api.dependencies import CallerDep, Studio, StudioDep
from api.documented import problems
from api.paging import Paging, in_order, paged
from api.problems import invalid
from api.rights import require
from api.workloads import Table, Told, Wanted, told
from broker.host_registry import KnownHost
from broker.keys import Place
from broker.token_store import Token, TokenKind
from protocol.field_status import HostStatus, HostStatusPage, Scope, WorkloadPage
from protocol.names import MAX_NAME
from protocol.pacing import stale_after
from protocol.problems import FieldFault

router = APIRouter(prefix="/api/metrics/profiling", tags=["hosts"])

MOST_VALUES: Final = 100
HOSTS_AT_ONCE: Final = 200
Text = Annotated[str, Query(min_length=1, max_length=MAX_NAME)]
Texts = Annotated[list[Text] | None, Query(max_length=MOST_VALUES, description="May be given several times")]
Pids = Annotated[list[int] | None, Query(max_length=MOST_VALUES, description="May be given several times")]
Exact = Annotated[bool, Query(description="Whole names in their case, rather than parts of names in any")]
BY_NAME: Final = {"service_name": (str, str)}
BY_ROW: Final = {"name": (str, str)}


@router.get("/host_status", responses=problems(401, 403, 422, 503), summary="Hosts and what each is told to do")
async def host_status(
    caller: CallerDep,
    parts: StudioDep,
    paging: Annotated[Paging, Depends(paged(BY_NAME, limit=10_000, most=10_000))],
    service_name: Texts = None,
    hostname: Texts = None,
    ip_address: Texts = None,
    profiling_status: Texts = None,
    command_type: Texts = None,
    pids: Pids = None,
    exact_match: Exact = False,
) -> HostStatusPage:
    """Every known host, those that have been silent for long too, by service and name."""
    require(caller, [TokenKind.OPERATOR, TokenKind.VIEWER])
    wanted = Wanted(
        exact_match,
        {
            "service_name": service_name or (), "hostname": hostname or (), "ip_address": ip_address or (),
            "profiling_status": profiling_status or (), "command_type": command_type or (),
        },
        frozenset(pids or ()),
    )  # fmt: skip
    beats = await _beats(caller, parts, wanted)
    live = sum(beat >= _stale_before(parts).timestamp() * 1000 for _, beat in beats)
    after = paging.after

    def is_wanted(row: tuple[KnownHost, Told]) -> bool:
        host, command = row
        return (
            wanted.fits("ip_address", host.facts.get("ip_address", ""))
            and wanted.is_one_of("profiling_status", command.status)
            and wanted.is_one_of("command_type", command.command_type)
            and (not wanted.pids or bool(wanted.pids & set(command.pids)))
        )

    behind = [
        each
        for each in beats
        if wanted.fits("hostname", each[0].host_key.host) and (after is None or _by_name(each) > after)
    ]
    rows = _with_commands(behind, parts)
    page = await in_order(rows, paging, lambda row: (row[0].key.service, row[0].key.host), is_wanted)
    return HostStatusPage(
        hosts=[_host_status(host, command, parts) for host, command in page.items],
        active_count=live, total_count=len(beats), next_cursor=page.next_cursor,
    )  # fmt: skip


@router.get("/workload_status", responses=problems(401, 403, 422, 503), summary="What runs in the fleet, by scope")
async def workload_status(
    caller: CallerDep,
    parts: StudioDep,
    paging: Annotated[Paging, Depends(paged(BY_ROW, limit=1_000, most=10_000))],
    scope: Scope = "host",
    service_name: Texts = None,
    hostname: Texts = None,
    ip_address: Texts = None,
    namespace: Texts = None,
    pod_name: Texts = None,
    container_name: Texts = None,
    workload_name: Texts = None,
    process_name: Texts = None,
    profiling_status: Texts = None,
    command_type: Texts = None,
    pids: Pids = None,
    exact_match: Exact = False,
) -> WorkloadPage:
    """Live hosts and what runs on them, as their heartbeats tell it: a row for each thing of the scope."""
    require(caller, [TokenKind.OPERATOR, TokenKind.VIEWER])
    wanted = Wanted(
        exact_match,
        {
            "service_name": service_name or (), "hostname": hostname or (), "ip_address": ip_address or (),
            "namespace": namespace or (), "pod_name": pod_name or (), "container_name": container_name or (),
            "workload_name": workload_name or (), "process_name": process_name or (),
            "profiling_status": profiling_status or (), "command_type": command_type or (),
        },
        frozenset(pids or ()),
    )  # fmt: skip
    table = Table(scope, wanted, limit=paging.limit, after=_key_of(paging, scope))
    stale_before = _stale_before(parts).timestamp() * 1000
    live = [each for each in await _beats(caller, parts, wanted) if each[1] >= stale_before]
    for first in range(0, len(live), HOSTS_AT_ONCE):
        some = live[first : first + HOSTS_AT_ONCE]
        inventories = iter(await parts.inventories.on([at for at, _ in some]))
        async for host, command in _with_commands(some, parts):
            table.add(host, next(inventories), command)
        await asyncio.sleep(0)  # heartbeats are answered by the same loop
    rows, last = table.page()
    cursor = None if last is None else paging.cursor((scope, json.dumps(last)))
    return WorkloadPage(
        scope=scope, rows=rows, tab_counts=table.tab_counts, active_hosts=table.active_hosts,
        total_count=table.tab_counts[scope], next_cursor=cursor,
    )  # fmt: skip


def _key_of(paging: Paging, scope: Scope) -> tuple[str, ...] | None:
    """The row behind which the page begins.

    Raises:
        Refusal: the cursor is of another scope, or none of ours.
    """
    if paging.after is None:
        return None
    made_for, text = map(str, paging.after)
    try:
        key = json.loads(text)
    except (ValueError, RecursionError):
        key = None
    if made_for != scope or not isinstance(key, list) or not all(isinstance(part, str) for part in key):
        raise invalid(more=[FieldFault(field="cursor", message="is no cursor of this scope", code="cursor")])
    return tuple(key)


def _stale_before(parts: Studio) -> datetime:
    return datetime.now(UTC) - stale_after(timedelta(seconds=parts.settings.heartbeat_interval))


async def _beats(caller: Token, parts: Studio, wanted: Wanted) -> list[tuple[Place, int]]:
    """The hosts of the services that are asked for and that the caller may see, by service and name."""
    beats = await parts.registry.beats_of(caller.tenant)
    services = {at.host_key.service for at, _ in beats}
    seen = {each for each in services if caller.covers(each) and wanted.fits("service_name", each)}
    return sorted((each for each in beats if each[0].host_key.service in seen), key=_by_name)


def _by_name(beat: tuple[Place, int]) -> tuple[str, str]:
    key = beat[0].host_key
    return key.service, key.host


async def _with_commands(beats: Sequence[tuple[Place, int]], parts: Studio) -> AsyncIterator[tuple[KnownHost, Told]]:
    for first in range(0, len(beats), HOSTS_AT_ONCE):
        some = beats[first : first + HOSTS_AT_ONCE]
        commands = await parts.command_store.commands([at for at, _ in some])
        for host, command in zip(await parts.registry.known(some), commands, strict=True):
            yield host, told(command)


def _host_status(host: KnownHost, command: Told, parts: Studio) -> HostStatus:
    path = parts.broker.place(host.key).path
    return HostStatus(
        id=int.from_bytes(hashlib.blake2b(path.encode(), digest_size=6).digest()),
        service_name=host.key.service,
        hostname=host.key.host,
        ip_address=host.facts.get("ip_address", ""),
        pids=list(command.pids),
        command_type=command.command_type,
        profiling_status=command.status,
        heartbeat_timestamp=host.last_beat,
    )
