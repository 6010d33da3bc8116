"""What a profile says of its time is when it was sampled, also where the agent hears of that late."""

import asyncio
import time
from datetime import timedelta
from pathlib import Path

import pytest

from agent.processes import ProcessTable
from agent.profilers.base import RunRequest
from agent.profilers.node import Node
from agent.profilers.perf import Perf
from agent.profilers.py_spy import PySpy
from agent.run_profile import Profile
from tests.support.agents import soon
from tests.support.targets import TARGETS, Run, hashing, hot_python, node_alone, profilers_of_this_process
from tests.support.tools import needs, needs_root

HZ = 200
LATE = 1.5
"""Seconds in which the agent hears nothing, from when its profiler is started."""


async def heard_late(run: Run) -> Profile:
    await soon(profilers_of_this_process)
    time.sleep(LATE)  # noqa: ASYNC251 -- that is what it is about
    return await run.profile()


async def test_py_spy_samples_for_the_duration_that_the_profile_tells(tmp_path: Path) -> None:
    rates: list[float] = []
    with hot_python("busy") as target:
        while len(rates) < 3 and max(rates, default=0.0) < 0.8 * HZ:  # py-spy may not get all its turns
            run = Run(tmp_path, pids=[target.pid], seconds=3, hz=HZ, profilers=[PySpy()])
            profile = await heard_late(run)
            assert profile.error is None
            assert 3 <= profile.elapsed_seconds < 4
            rates.append(profile.samples / profile.elapsed_seconds)
            assert rates[-1] <= 1.2 * HZ, "what it takes longer is told, too"
    assert max(rates) >= 0.8 * HZ


@needs("perf")
async def test_perf_samples_for_the_duration_that_the_profile_tells(tmp_path: Path) -> None:
    with hashing() as target:
        run = Run(tmp_path, pids=[target.pid], seconds=3, hz=HZ, profilers=[Perf()])
        profile = await heard_late(run)
    assert profile.error is None
    assert 3 <= profile.elapsed_seconds < 4
    assert profile.samples <= 1.1 * HZ * profile.elapsed_seconds  # fewer, where the target has not all of a CPU


@needs("node")
@needs_root
async def test_node_tells_when_it_began_by_our_clock(tmp_path: Path) -> None:
    told: list[float | None] = []
    heard: list[float] = []

    def started(at: float | None = None) -> None:
        told.append(at)
        heard.append(time.monotonic())

    with node_alone(str(TARGETS / "hot.js")) as node:
        target = ProcessTable().find(node.pid)
        request = RunRequest(99, timedelta(seconds=1), "cpu", pids=frozenset({node.pid}))
        result = await Node().run([target], request, tmp_path, asyncio.Event(), started)
    assert result.failures == {}
    first, began = told
    assert first is None
    assert began is not None
    assert 0 <= heard[0] - began < 1
    assert result.ended == pytest.approx(heard[1], abs=0.5)
