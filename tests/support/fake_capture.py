"""Sampling without profilers: what a run makes of what `capture` and `save` give it."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agent.output import SavedProfile
from agent.profilers.base import RunRequest
from agent.run_profile import Profile, ProfiledProcess
from agent.runner import Tools

WORK = Path("/work")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def a_profile(samples: int = 3, *, error: str | None = None, warnings: list[str] | None = None) -> Profile:
    """A profile of one process and one stack."""
    return Profile(
        stacks={"python;main": samples} if samples else {},
        started_at=NOW,
        finished_at=NOW + timedelta(seconds=1),
        elapsed_seconds=1.0,
        warnings=warnings or [],
        error=error,
        frequency_hz=11,
        processes=(ProfiledProcess(1, "python", samples),) if samples else (),
    )


@dataclass
class FakeCapture:
    """Gives the profiles of `script` one by one; a missing one, or None, is sampled until stopped or out of time."""

    script: list[Profile | Exception | None] = field(default_factory=list)
    requests: list[RunRequest] = field(default_factory=list)
    sampling: asyncio.Event = field(default_factory=asyncio.Event)
    hold_start: asyncio.Event | None = None
    deaf_to_time: bool = False
    deaf_to_stop: bool = False
    cancelled: int = 0

    async def __call__(
        self, request: RunRequest, *, work_dir: Path, stop: asyncio.Event, on_start: Callable[[], None]
    ) -> Profile:
        assert work_dir == WORK
        self.requests.append(request)
        if request.beginning is not None and not await request.beginning.comes(stop):
            return a_profile(0)
        if self.hold_start is not None:
            await self.hold_start.wait()
        scripted = self.script.pop(0) if self.script else None
        if isinstance(scripted, Exception):
            raise scripted
        if scripted is not None and scripted.error is not None and not scripted.samples:
            return scripted
        on_start()
        self.sampling.set()
        if scripted is not None:
            return scripted
        began = time.monotonic()
        heard = asyncio.Event() if self.deaf_to_stop else stop
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(heard.wait(), None if self.deaf_to_time else request.duration.total_seconds())
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        self.sampling.clear()
        elapsed = time.monotonic() - began
        profile = a_profile()
        return Profile(
            stacks=profile.stacks, started_at=NOW, finished_at=NOW + timedelta(seconds=elapsed),
            elapsed_seconds=elapsed, warnings=[], error=None, frequency_hz=request.frequency_hz,
            processes=profile.processes,
        )  # fmt: skip


@dataclass
class FakeSave:
    """Remembers what it was to save."""

    saved: list[tuple[str, Profile]] = field(default_factory=list)
    error: OSError | None = None

    def __call__(self, profile: Profile, directory: Path, *, name: str, title: str) -> SavedProfile:
        assert title == "web on web-01"
        if self.error is not None:
            raise self.error
        self.saved.append((name, profile))
        return SavedProfile(collapsed=directory / f"{name}.col", flamegraph=directory / f"{name}.html")


def tools(capture: FakeCapture, save: FakeSave) -> Tools:
    """Both, with directories that nobody writes to."""
    return Tools(capture=capture, save=save, output_dir=Path("/profiles"), work_dir=WORK)
