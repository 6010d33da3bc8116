import asyncio
import contextlib
import json
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent import guards
from agent.deaths import Deaths, digest
from agent.guard_settings import Allowed, Budget, GuardSettings
from agent.guards import Guards, switched_off
from agent.profiler_configs import NO_CONFIGS
from agent.profilers import spawn
from protocol.commands import StartConfig
from tests.support.agents import soon

CONFIG = StartConfig(duration=60, frequency=11)


class Case:
    def __init__(self, path: Path, **settings: Any) -> None:
        self.switch = path / "disabled"
        self.ended: list[str] = []
        self.announced = 0
        self.busy = False
        self.stopping = asyncio.Event()
        self.guards = Guards(
            GuardSettings(**{"kill_switch": str(self.switch), **settings}),
            Deaths(path / "deaths.json", most=3),
            directories=[path],
            running=lambda: self.busy,
            end=self._end,
            announce=self._announce,
            stopping=self.stopping,
        )

    def _end(self, why: str) -> None:
        self.busy = False
        self.ended.append(why)

    def _announce(self) -> None:
        self.announced += 1


@contextlib.asynccontextmanager
async def watching(case: Case) -> AsyncIterator[Case]:
    task = asyncio.create_task(case.guards.watch())
    try:
        yield case
    finally:
        case.stopping.set()
        await asyncio.wait_for(task, 5)


async def test_while_the_switch_is_there_nothing_starts_and_its_text_is_the_reason(tmp_path: Path) -> None:
    case = Case(tmp_path)
    assert await case.guards.refusal(CONFIG) is None
    case.switch.write_text("ask the database team\nfirst\n")
    reason = await case.guards.refusal(CONFIG)
    assert reason == f"profiling is switched off on this host by {case.switch}: ask the database team first"


async def test_the_switch_ends_what_runs_and_the_server_is_told(tmp_path: Path) -> None:
    async with watching(Case(tmp_path)) as case:
        case.busy = True
        await asyncio.sleep(0.6)
        assert (case.ended, case.announced, case.guards.facts()) == ([], 0, {})
        case.switch.touch()
        await soon(lambda: case.ended)
        assert case.ended == [f"profiling is switched off on this host by {case.switch}"]
        assert case.guards.facts() == {"disabled": case.ended[0]}
        case.switch.unlink()
        await soon(lambda: case.announced == 2)
        assert case.guards.facts() == {}


def test_a_link_that_leads_nowhere_is_a_switch_as_well(tmp_path: Path) -> None:
    (tmp_path / "off").symlink_to(tmp_path / "nowhere")
    assert switched_off(str(tmp_path / "off")) is not None
    assert switched_off(str(tmp_path / "on")) is None
    assert switched_off(None) is None


async def test_a_run_over_budget_is_ended_with_the_numbers(tmp_path: Path) -> None:
    case = Case(tmp_path, budget=Budget(memory_bytes=1024 * 1024))
    async with watching(case):
        case.busy = True
        await soon(lambda: case.ended)
    assert "MiB of memory, at most 1" in case.ended[0]


async def test_nothing_starts_over_budget_or_beyond_what_is_allowed(tmp_path: Path) -> None:
    full = Case(tmp_path, budget=Budget(free_bytes=2**60))
    assert "must be" in (await full.guards.refusal(CONFIG) or "")
    narrow = Case(tmp_path, allowed=Allowed(max_frequency_hz=1))
    assert "frequency: 11 Hz, at most 1" in (await narrow.guards.refusal(CONFIG) or "")


async def test_what_the_agents_children_use_counts(tmp_path: Path) -> None:
    before = guards.read([])
    program = [sys.executable, "-c", "import time\nx = bytearray(60 << 20)\nprint('up', flush=True)\nwhile 1: pass"]
    async with spawn.running(program, stdout=subprocess.PIPE, cwd=tmp_path) as child:
        await child.stdout.readline()
        await soon(lambda: guards.read([]).cpu_seconds > before.cpu_seconds + 0.2, within=20)
        assert guards.read([]).memory_bytes > before.memory_bytes + 50 * 1024 * 1024
    after = guards.read([])
    assert after.cpu_seconds > before.cpu_seconds + 0.2, "also once they have ended"
    assert after.memory_bytes < before.memory_bytes + 50 * 1024 * 1024


def test_the_host_narrows_which_profilers_run(tmp_path: Path) -> None:
    case = Case(tmp_path, allowed=Allowed(profilers=frozenset({"perf"})))
    assert case.guards.narrowed(NO_CONFIGS) == replace(NO_CONFIGS, only=frozenset({"perf"}))


def test_a_command_that_the_agent_died_of_is_refused_whatever_its_id(tmp_path: Path) -> None:
    for life in range(3):
        deaths = Deaths(tmp_path / "deaths.json", most=3)
        assert deaths.refusal(CONFIG) is None
        deaths.begin(f"c{life}", CONFIG)
    reason = Deaths(tmp_path / "deaths.json", most=3).refusal(CONFIG)
    assert reason == "the agent died 3 times while it ran this command: it is not started on this host any more"
    assert Deaths(tmp_path / "deaths.json", most=0).refusal(CONFIG) is None
    assert Deaths(tmp_path / "deaths.json", most=3).refusal(StartConfig(duration=60, frequency=12)) is None


def test_to_live_through_a_command_clears_its_name(tmp_path: Path) -> None:
    for _ in range(5):
        Deaths(tmp_path / "deaths.json", most=3).begin("c", CONFIG)
        deaths = Deaths(tmp_path / "deaths.json", most=9)
        deaths.begin("d", CONFIG)
        deaths.end("d")
    assert Deaths(tmp_path / "deaths.json", most=2).refusal(CONFIG) is None
    assert stat.S_IMODE((tmp_path / "deaths.json").stat().st_mode) == 0o600


def test_when_and_with_whom_it_runs_does_not_make_it_another_command() -> None:
    assert digest(CONFIG) == digest(CONFIG.model_copy(update={"capture_id": "together"}))
    assert digest(CONFIG) != digest(CONFIG.model_copy(update={"pids": [1]}))


@pytest.mark.parametrize("content", ["", "[]", "{", json.dumps({"deaths": [], "in_hand": 7})])
def test_a_count_that_cannot_be_read_begins_anew(tmp_path: Path, content: str) -> None:
    (tmp_path / "deaths.json").write_text(content)
    assert Deaths(tmp_path / "deaths.json", most=1).refusal(CONFIG) is None


def test_a_disk_that_is_full_costs_the_count_and_nothing_else(tmp_path: Path) -> None:
    deaths = Deaths(tmp_path / "nowhere" / "deaths.json", most=3)
    deaths.begin("c", CONFIG)
    deaths.end("c")
