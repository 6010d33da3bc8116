"""Node processes that share a network, and take turns."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from agent.processes import Process
from agent.profilers import node
from agent.profilers.base import RunRequest
from tests.support.targets import unheard

PROFILE = {"nodes": [{"id": 1, "hitCount": 2, "callFrame": {"functionName": "sum", "url": "", "lineNumber": 0}}]}


class Inspector:
    """Answers with one thing; a text is JSON that is still to be read."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    async def call(self, method: str, /, **_: Any) -> Any:
        if method != "Profiler.stop":
            return {}
        return json.loads(self._answer) if isinstance(self._answer, str) else self._answer

    async def ended(self) -> None:
        await asyncio.Event().wait()


@pytest.mark.parametrize("answer", [[], {}, {"profile": []}, {"profile": {"nodes": ["x"]}}, "[" * 100_000])
async def test_one_whose_inspector_answers_nonsense_costs_the_others_nothing(
    monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    good, bad = Process(7, 0, "good", "node"), Process(8, 0, "bad", "node")

    @contextlib.asynccontextmanager
    async def inspected(target: Process, **_: Any) -> AsyncIterator[Inspector]:
        yield Inspector({"profile": PROFILE} if target is good else answer)

    monkeypatch.setattr("agent.profilers.node_inspector.inspected", inspected)
    stop, seen = asyncio.Event(), node._Seen()
    request = RunRequest(frequency_hz=11, duration=timedelta(seconds=0.02), mode="cpu", pids=None)
    await node._take_turns([bad, good], request, stop, unheard, seen)
    assert seen.stacks == {7: {"sum": 4}}
    assert "gave no profile that can be read" in seen.failures[8]
