"""A program that nobody waits for goes last, but not for ever."""

import asyncio
import os
from datetime import timedelta
from pathlib import Path

import pytest

from agent.profilers import background, spawn
from tests.support.agents import soon


@pytest.fixture(autouse=True)
def _root_may_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_may_raise", lambda: True)


async def test_it_goes_last_for_a_while_and_then_as_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "FOR_AT_MOST", timedelta(seconds=0.3))
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    sleep = spawn.running(["/bin/sleep", "60"], cwd=tmp_path)
    async with sleep as child, background.in_background(child, asyncio.Event()):
        assert os.getpriority(os.PRIO_PROCESS, child.pid) == background.LOWEST
        if os.geteuid() == 0:
            await soon(lambda: os.getpriority(os.PRIO_PROCESS, child.pid) == usual)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may raise a priority again")
async def test_a_stop_lets_it_hurry(tmp_path: Path) -> None:
    stop = asyncio.Event()
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    async with spawn.running(["/bin/sleep", "60"], cwd=tmp_path) as child:
        async with background.in_background(child, stop):
            stop.set()
            await soon(lambda: os.getpriority(os.PRIO_PROCESS, child.pid) == usual)
        async with background.in_background(child, stop):
            assert os.getpriority(os.PRIO_PROCESS, child.pid) == usual
