"""Which targets of a whole host are left alone, as they do nothing, and when one of them is not any more."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from agent.processes import Process
from agent.profilers import attached, idle
from agent.profilers.attached import AttachedProfiler, Sampler, Seen
from agent.profilers.base import Available, RunRequest
from tests.support.targets import unheard

MINUTE = RunRequest(11, timedelta(seconds=60), "cpu", None, seen_by_host=True)
SHORT = replace(MINUTE, frequency_hz=100, duration=timedelta(seconds=1.5))
DAY = 86_400.0


@pytest.mark.parametrize(
    ("used", "age", "request_of", "is_idle"),
    [
        (0.0, DAY, MINUTE, True),
        (5.0, DAY, MINUTE, True),  # what it took to start
        (0.002 * DAY, DAY, MINUTE, False),  # a fifth of a percent of a core is more than a sample
        (0.001 * DAY, DAY, MINUTE, True),
        (0.05, 0.5, MINUTE, False),  # just started: it may go on like that
        (0.002 * DAY, DAY, replace(MINUTE, duration=timedelta(seconds=10)), True),
    ],
)
def test_what_would_not_give_one_sample_is_idle(used: float, age: float, request_of: RunRequest, is_idle: bool) -> None:
    assert idle.is_idle(used, age, request_of) == is_idle


class Host:
    """Processes that have slept for a day, and the CPU seconds each has used."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
        self.processes = [Process(pid, 1.0, "p", "python") for pid in range(1, count + 1)]
        self.used: dict[Process, float | None] = dict.fromkeys(self.processes, 0.0)
        monkeypatch.setattr(idle, "used_by", self.used.get)
        monkeypatch.setattr(idle, "age_of", lambda _: DAY)
        monkeypatch.setattr(idle, "LOOK_EVERY", timedelta(milliseconds=5))
        monkeypatch.setattr(idle, "LOOKS_PER_SECOND", 10_000)
        monkeypatch.setattr(attached, "is_alive", lambda process: self.used[process] is not None)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(monkeypatch, 3)


def test_those_that_sleep_are_left_alone_where_another_sees_them(host: Host) -> None:
    busy, gone, asleep = host.processes
    host.used |= {busy: 900.0, gone: None}
    assert idle.idle_among(host.processes, MINUTE) == {asleep: 0.0}


@pytest.mark.parametrize(
    "request_of",
    [
        replace(MINUTE, seen_by_host=False),
        replace(MINUTE, mode="wall"),
        replace(MINUTE, mode="allocation"),
        replace(MINUTE, pids=frozenset({1, 2, 3})),
    ],
)
def test_none_is_left_alone_where_it_would_be_missed(request_of: RunRequest, host: Host) -> None:
    assert idle.idle_among(host.processes, request_of) == {}


async def test_one_that_begins_to_work_is_told_once_and_those_that_end_are_not(host: Host) -> None:
    first, second, _ = host.processes
    told = []
    async for process, left in idle.woken(dict.fromkeys(host.processes, 0.0), SHORT, asyncio.Event()):
        told.append(process)
        assert idle.LEAST_LEFT < left <= 1.5
        host.used[second] = None
    assert told == []
    host.used |= {first: 0.02, second: 0.005}
    async for process, _ in idle.woken(dict.fromkeys(host.processes, 0.0), SHORT, asyncio.Event()):
        told.append(process)
        host.used[second] = None
    assert told == [first], "0.005 s are half a sample"


async def test_a_stop_ends_the_watch(host: Host) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(0.02, stop.set)
    async with asyncio.timeout(30):
        told = [each async for each in idle.woken(dict.fromkeys(host.processes, 0.0), MINUTE, stop)]
    assert told == []


class Noting(AttachedProfiler):
    name = "noting"
    runtime = "python"
    label = "Python"
    max_targets = 2

    def __init__(self) -> None:
        self.attached: list[tuple[int, float]] = []

    def probe(self) -> Available:
        return Available()

    def sampler(self, targets: Sequence[Process], request: RunRequest) -> Sampler:  # noqa: ARG002 -- the base's
        return Sampler(self._sample, "noted")

    async def _sample(
        self,
        target: Process,
        request: RunRequest,
        work_dir: Path,  # noqa: ARG002 -- as of every profiler
        stop: asyncio.Event,  # noqa: ARG002 -- likewise
        started: Callable[[], None],
    ) -> Seen:
        started()
        self.attached.append((target.pid, request.duration.total_seconds()))
        return Seen({"here": 1})


async def test_it_is_attached_to_for_the_time_that_is_left(host: Host, tmp_path: Path) -> None:
    busy, wakes, sleeps = host.processes
    host.used[busy] = 900.0
    asyncio.get_running_loop().call_later(0.05, lambda: host.used.update({wakes: 0.5}))
    profiler = Noting()
    result = await profiler.run(host.processes, SHORT, tmp_path, asyncio.Event(), unheard)
    (first, whole), (second, rest) = profiler.attached
    assert (first, whole, second) == (busy.pid, 1.5, wakes.pid)
    assert idle.LEAST_LEFT < rest < 1.5
    assert result.skipped == {sleeps.pid}
    assert (result.asleep, list(result.warnings)) == (False, [])


async def test_more_that_wake_than_may_be_attached_to_are_told(host: Host, tmp_path: Path) -> None:
    asyncio.get_running_loop().call_later(0.02, lambda: host.used.update(dict.fromkeys(host.processes, 0.5)))
    profiler = Noting()
    result = await profiler.run(host.processes, SHORT, tmp_path, asyncio.Event(), unheard)
    assert len(profiler.attached) == 2
    assert "noting sampled the 2 busiest of 3 Python processes" in result.warnings[0]


async def test_where_all_sleep_nothing_was_sampled_and_nothing_has_failed(host: Host, tmp_path: Path) -> None:
    result = await Noting().run(
        host.processes, replace(SHORT, duration=timedelta(seconds=0.1)), tmp_path, asyncio.Event(), unheard
    )
    assert (result.asleep, result.stacks, result.failures, result.error) == (True, {}, {}, None)


async def test_one_whose_number_is_another_process_s_by_now_is_not_attached_to(host: Host, tmp_path: Path) -> None:
    host.used[host.processes[0]] = None
    profiler = Noting()
    request = replace(SHORT, pids=frozenset({1}))
    result = await profiler.run(host.processes[:1], request, tmp_path, asyncio.Event(), unheard)
    assert profiler.attached == []
    assert result.failures == {1: "process 1 (p) has ended"}
