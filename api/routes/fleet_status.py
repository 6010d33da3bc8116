"""`profiling/host_status` and `profiling/workload_status`: the fleet as web pages and scripts of the field read it."""

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
from api.workload_span import MOST_HOSTS, span_of
from api.workloads import Table, Told, Wanted, told
from broker.breath import Breath
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
    after = _key_of(paging, scope)
    table = Table(scope, wanted, limit=paging.limit, after=after)
    live = await _live(caller, parts, wanted)
    seen = span_of([name for name, _ in live], scope, after, most=MOST_HOSTS)
    await _fill(table, [beat for _, beat in live[seen.first : seen.end]], wanted, parts)
    rows, last = table.page()
    last = last or seen.resume
    cursor = None if last is None else paging.cursor((scope, json.dumps(last)))
    return WorkloadPage(
        scope=scope, rows=rows, tab_counts=table.tab_counts, active_hosts=table.active_hosts,
        total_count=table.tab_counts[scope], is_partial=seen.end - seen.first < len(live), next_cursor=cursor,
    )  # fmt: skip


async def _live(caller: Token, parts: Studio, wanted: Wanted) -> list[tuple[tuple[str, str], tuple[Place, int]]]:
    """The live hosts that are asked for by name and that the caller may see, by service and name; each with both."""
    stale_before = _stale_before(parts).timestamp() * 1000
    breath = Breath()
    found = []
    seen: dict[str, bool] = {}
    for beat in await parts.registry.beats_of(caller.tenant):
        if beat[1] < stale_before:
            continue
        service, host = name = _by_name(beat)
        if service not in seen:
            seen[service] = caller.covers(service) and wanted.fits("service_name", service)
        if seen[service] and wanted.fits("hostname", host):
            found.append((name, beat))
        await breath.take()
    return sorted(found)


async def _fill(table: Table, beats: Sequence[tuple[Place, int]], wanted: Wanted, parts: Studio) -> None:
    """Put hosts into a table. What runs on a host is read where the host passes all that is known without it.

    Heartbeats are answered by the same loop: they have their turn after a few milliseconds, whatever a host costs.
    """
    breath = Breath()
    for first in range(0, len(beats), HOSTS_AT_ONCE):
        passed = []
        async for host, command in _with_commands(beats[first : first + HOSTS_AT_ONCE], parts):
            if wanted.passes(host, command):
                passed.append((host, command))
            await breath.take()
        inventories = parts.inventories.on([parts.broker.place(host.key) for host, _ in passed])
        waiting = iter(passed)
        async for containers in inventories:
            host, command = next(waiting)
            table.add(host, containers, command)
            await breath.take()


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
    if made_for != scope or not key or not isinstance(key, list) or not all(isinstance(part, str) for part in key):
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
