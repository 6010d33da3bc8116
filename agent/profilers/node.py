"""Node by its inspector: JavaScript functions by name, without the program having been started for it.

On demand alone: while it runs, the process's inspector is open on the loopback, where every user of the host can reach
it. A program started with `--perf-basic-prof` needs none of this: perf reads its functions' names.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agent.processes import Process, busiest
from agent.profilers.base import Available, Result, RunRequest, Scope, Started, Unavailable, Unit
from agent.profilers.node_target import network
from agent.stacks import v8
from protocol.commands import ProfilingMode

if TYPE_CHECKING:
    from agent.profilers.node_inspector import Session

MAX_TARGETS: Final = 16
SHORTEST: Final = timedelta(seconds=2)
"""Of a turn: processes that share a network take turns, as their inspectors share a port."""
BUSY_WINDOW: Final = timedelta(milliseconds=100)
HEAP_INTERVAL: Final = 128 * 1024
"""Bytes between two samples of the heap, on average."""
EVENTS: Final = {"cpu": "timer, V8 on the main thread", "allocation": "bytes allocated in V8's heap"}


@dataclass
class _Seen:
    stacks: dict[int, dict[str, int]] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)
    ended: float | None = None


class Node:
    """V8's own profilers, one process of each network at a time."""

    name = "node"
    scope: Scope = "process"
    modes: frozenset[ProfilingMode] = frozenset({"cpu", "allocation"})
    on_demand = True

    def __init__(self, *, max_targets: int = MAX_TARGETS) -> None:
        self._max_targets = max_targets

    def probe(self) -> Available | Unavailable:
        """It needs nothing that is not here."""
        return Available("by the inspector, where a command enables it")

    def match(self, process: Process) -> bool:
        """It speaks to Node, nothing else."""
        return process.runtime == "node"

    async def run(
        self,
        targets: Sequence[Process],
        request: RunRequest,
        work_dir: Path,  # noqa: ARG002 -- the interface's; nothing is written
        stop: asyncio.Event,
        started: Started,
    ) -> Result:
        """Sample each target; those that share a network share the time."""
        most = request.configs.max_targets or self._max_targets
        warnings: list[str] = []
        chosen = list(targets)
        if len(chosen) > most:
            chosen = await asyncio.to_thread(busiest, chosen, most, window=BUSY_WINDOW)
            warnings.append(f"node sampled the {most} busiest of {len(targets)} Node processes; name others by pid")
        seen = _Seen()
        fit = max(1, int(request.duration / SHORTEST))
        left_out: set[int] = set()
        async with asyncio.TaskGroup() as group:
            for sharing in (await asyncio.to_thread(_by_network, chosen)).values():
                turns = sharing
                if len(sharing) > fit:
                    turns = await asyncio.to_thread(busiest, sharing, fit, window=BUSY_WINDOW)
                    left_out |= {target.pid for target in sharing} - {target.pid for target in turns}
                group.create_task(_take_turns(turns, request, stop, started, seen))
        if left_out:
            warnings.append(f"node left out {len(left_out)} processes: inspectors of one network are open in turns")
        if request.mode == "cpu" and len(chosen) > 1:
            warnings.append("Node processes of one network took turns: each was sampled for a part of the time")
        unit: Unit = "bytes" if request.mode == "allocation" else "samples"
        return Result(
            stacks=seen.stacks,
            failures=seen.failures,
            skipped=frozenset({target.pid for target in targets} - {target.pid for target in chosen}) | left_out,
            warnings=warnings,
            event=EVENTS[request.mode],
            unit=unit,
            ended=seen.ended,
        )


def _by_network(targets: Sequence[Process]) -> dict[str, list[Process]]:
    """The targets of each network; one that has ended stands alone, and its turn will say so."""
    networks: dict[str, list[Process]] = {}
    for target in targets:
        try:
            where = network(target.pid)
        except OSError:
            where = f"of {target.pid}"
        networks.setdefault(where, []).append(target)
    return networks


async def _take_turns(
    targets: Sequence[Process], request: RunRequest, stop: asyncio.Event, started: Started, seen: _Seen
) -> None:
    """One after the other, each for its part of the time, and its samples multiplied to stand for all of it."""
    # not before it is needed: an agent that profiles no Node does without the library for websockets
    from agent.profilers.node_inspector import InspectorFailed, inspected  # noqa: PLC0415

    turn = request.duration / len(targets)
    for target in targets:
        if stop.is_set():
            return
        try:
            async with inspected(target, at_most=turn) as session:
                profile = _SAMPLE[request.mode]
                stacks = await profile(session, turn, request.frequency_hz, stop, started)
                seen.ended = time.monotonic()
        except InspectorFailed as problem:
            seen.failures[target.pid] = f"process {target.pid} ({target.name}) cannot be sampled by node: {problem}"
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as problem:  # it may answer anything
            seen.failures[target.pid] = (
                f"process {target.pid} ({target.name}): its inspector gave no profile that can be read: {problem!r}"
            )
        else:
            if stacks:
                seen.stacks[target.pid] = {stack: count * len(targets) for stack, count in stacks.items()}


async def _cpu(
    session: "Session", turn: timedelta, frequency_hz: int, stop: asyncio.Event, started: Started
) -> dict[str, int]:
    await session.call("Profiler.enable")
    await session.call("Profiler.setSamplingInterval", interval=1_000_000 // frequency_hz)
    asked = time.monotonic()
    await session.call("Profiler.start")
    heard = time.monotonic()
    started()
    await _wait(session, turn, stop)
    profile = (await session.call("Profiler.stop"))["profile"]
    began = v8.began(profile)
    if began is not None and asked <= began <= heard:  # else its clock is not ours, as in a time namespace
        started(began)
    return v8.cpu(profile)


async def _allocation(
    session: "Session",
    turn: timedelta,
    frequency_hz: int,  # noqa: ARG001 -- as the other; the heap is sampled by bytes
    stop: asyncio.Event,
    started: Started,
) -> dict[str, int]:
    collected = {"includeObjectsCollectedByMajorGC": True, "includeObjectsCollectedByMinorGC": True}
    await session.call("HeapProfiler.startSampling", samplingInterval=HEAP_INTERVAL, **collected)
    started()
    await _wait(session, turn, stop)
    return v8.allocated((await session.call("HeapProfiler.stopSampling"))["profile"])


_SAMPLE: Final[Mapping[str, Any]] = {"cpu": _cpu, "allocation": _allocation}


async def _wait(session: "Session", turn: timedelta, stop: asyncio.Event) -> None:
    """Until the turn is over, `stop` is set, or the process is gone."""
    waits = {asyncio.ensure_future(stop.wait()), asyncio.ensure_future(session.ended())}
    try:
        await asyncio.wait(waits, timeout=turn.total_seconds(), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
