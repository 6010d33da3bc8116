"""Guards over the host: what profiling may cost, what a server may ask for, and a switch that turns it all off.

They look before a run and, once a second, during it. What they decide is in `judgement`; here is where the numbers come
from, and what is done about them.
"""

import asyncio
import os
import resource
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import psutil
import structlog
from structlog.typing import FilteringBoundLogger

from agent.deaths import Deaths
from agent.guard_settings import CPU_WINDOW, GuardSettings
from agent.judgement import Reading, not_allowed, over_budget
from agent.profiler_configs import ProfilerConfigs, run_request_extras
from agent.profilers import spawn
from protocol.commands import StartConfig

log: FilteringBoundLogger = structlog.get_logger()

_LOOK_EVERY: Final = timedelta(seconds=0.4)
_IDLE_EVERY: Final = timedelta(seconds=1)
_READ_EVERY: Final = 1.0
_MAX_WORDS: Final = 200
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class Guards:
    """Says whether a command may run, and ends what may not go on."""

    def __init__(
        self,
        settings: GuardSettings,
        deaths: Deaths,
        *,
        directories: Sequence[Path],
        running: Callable[[], bool],
        end: Callable[[str], None],
        announce: Callable[[], None],
        stopping: asyncio.Event,
    ) -> None:
        """Prepare; nothing is looked at yet.

        Args:
            settings: what is set.
            deaths: what the agent died of before.
            directories: where profiles and scratch files are written.
            running: whether a run is on.
            end: ends what runs, and reports it failed with the reason.
            announce: called when the switch has been turned.
            stopping: ends the watch.
        """
        self._settings = settings
        self._deaths = deaths
        self._directories = directories
        self._running = running
        self._end = end
        self._announce = announce
        self._stopping = stopping
        self._readings: deque[Reading] = deque(maxlen=int(2 * CPU_WINDOW / _READ_EVERY))
        self._off: str | None = None

    async def refusal(self, config: StartConfig) -> str | None:
        """Why a command may not start now; None when it may."""
        return await asyncio.to_thread(self._refusal, config)

    def begin(self, command_id: str, config: StartConfig) -> None:
        """A command is about to run."""
        self._deaths.begin(command_id, config)

    def finish(self, command_id: str) -> None:
        """It has ended, whatever became of it."""
        self._deaths.end(command_id)

    def narrowed(self, configs: ProfilerConfigs) -> ProfilerConfigs:
        """What a command says of profilers, within what this host allows."""
        return replace(configs, only=self._settings.allowed.profilers)

    def facts(self) -> dict[str, Any]:
        """What the server is told with the capabilities: that the host is switched off, and why."""
        return {"disabled": self._off} if self._off is not None else {}

    async def watch(self) -> None:
        """Look until the agent shuts down."""
        while not self._stopping.is_set():
            runs = self._running()
            reason = await asyncio.to_thread(self._look, runs=runs)
            if reason is not None and self._running():
                log.warning("what runs is ended", reason=reason)
                self._end(reason)
            # no `pause`: this is the thing that the agent does most often, and nobody waits for its end
            await asyncio.sleep((_LOOK_EVERY if runs else _IDLE_EVERY).total_seconds())

    def _look(self, *, runs: bool) -> str | None:
        off = switched_off(self._settings.kill_switch)
        if off != self._off:
            self._off = off
            log.warning("the kill switch is set: nothing is profiled" if off else "the kill switch is gone", reason=off)
            self._announce()
        if off is not None or not runs:
            return off
        if not self._readings or time.monotonic() - self._readings[-1].at >= _READ_EVERY:
            self._readings.append(read(self._directories))
            return over_budget([*self._readings], self._settings.budget)
        return None

    def _refusal(self, config: StartConfig) -> str | None:
        off = switched_off(self._settings.kill_switch)
        if off is not None:
            return off
        reason = not_allowed(config, run_request_extras(config), self._settings.allowed) or self._deaths.refusal(config)
        if reason is not None:
            return reason
        self._readings.append(read(self._directories))
        return over_budget([*self._readings], self._settings.budget)


def switched_off(switch: str | None) -> str | None:
    """Why nothing may be profiled on this host: a file that its owner has put there; None when there is none."""
    if switch is None or not os.path.lexists(switch):
        return None
    try:
        with Path(switch).open(encoding="utf-8", errors="replace") as file:
            words = file.read(_MAX_WORDS).strip().replace("\n", " ")
    except OSError:
        words = ""
    return f"profiling is switched off on this host by {switch}" + (f": {words}" if words else "")


def read(directories: Sequence[Path]) -> Reading:
    """How things stand now. Of processes only those that the agent has started are looked at: a host may have many."""
    cpu, memory = _of_the_agent()
    for pid in spawn.alive_pids():
        try:
            used, resident = _of_a_child(pid)
        except OSError:
            continue  # it has ended: its time is among that of ended children
        cpu += used
        memory += resident
    return Reading(
        at=time.monotonic(),
        cpu_seconds=cpu,
        memory_bytes=memory,
        load_per_cpu=os.getloadavg()[0] / (os.cpu_count() or 1),
        free_bytes={str(place): free for place in directories if (free := _free(place)) is not None},
    )


def _of_a_child(pid: int) -> tuple[float, int]:
    """Its CPU seconds and resident bytes, by one file of the kernel's: there may be many, and this is every second.

    Raises:
        OSError: it has ended.
    """
    fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS, int(fields[21]) * _PAGE


def _of_the_agent() -> tuple[float, int]:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime, psutil.Process().memory_info().rss


def _free(directory: Path) -> int | None:
    """Bytes that may be written there; None where that is not known. A directory that is to be is its parent's."""
    for place in (directory, *directory.parents):
        try:
            return psutil.disk_usage(str(place)).free
        except FileNotFoundError:
            continue
        except OSError:
            return None
    return None
