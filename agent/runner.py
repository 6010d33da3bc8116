"""One run: sample by a command's configuration, save what was seen, say how it ended."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Protocol

import structlog
from structlog.typing import FilteringBoundLogger

from agent import shelf
from agent.beginning import Beginning, lateness, until
from agent.output import SavedProfile
from agent.planner import RunView
from agent.profiler_configs import ProfilerConfigs, run_request_extras
from agent.profilers.base import RunRequest
from agent.reports import Ending
from agent.run_profile import Profile, joined
from agent.waiting import pause
from protocol.commands import StartConfig

log: FilteringBoundLogger = structlog.get_logger()

_SHORTEST: Final = timedelta(seconds=1)
"""What is left of a run after it was narrowed and is shorter than this is not sampled."""

_REST: Final = timedelta(minutes=1)
"""The longest pause of a continuous run after a window that failed."""

GRACE: Final = timedelta(seconds=25)
"""A server of ours waits 30 s for the completion of a run whose time is over: it is to hear why there is none."""
PATIENCE: Final = timedelta(seconds=40)

_FROZEN: Final = 2.0
"""Seconds by which a wait may last longer than it was to, however busy the host is."""
_WORD: Final = timedelta(seconds=2)
"""How long a completion waits for the server's word on where the profile is. A stop is to be over within a second."""
_WORD_OF_A_STOP: Final = timedelta(seconds=0.4)


class Capture(Protocol):
    """`agent.capture.capture`, or what takes its place in a test."""

    async def __call__(
        self, request: RunRequest, *, work_dir: Path, stop: asyncio.Event, on_start: Callable[[], None]
    ) -> Profile:
        """Sample until the duration is over or `stop` is set."""


class Save(Protocol):
    """`agent.output.save`, or what takes its place in a test."""

    def __call__(self, profile: Profile, directory: Path, *, name: str, title: str) -> SavedProfile:
        """Write the profile."""


class Upload(Protocol):
    """`agent.upload.Uploader`, or what takes its place in a test."""

    async def keep(self, profile: Profile, *, name: str) -> None:
        """Put a profile into the spool, on disk."""

    async def place_of(self, name: str, *, within: timedelta) -> str | None:
        """Where the server has it by now."""

    def news(self) -> tuple[str, ...]:
        """What was lost or refused since this was asked last."""


@dataclass(frozen=True)
class Tools:
    """With what to sample and save, and where.

    `keep` is how many profiles stay in the output directory; 0 is all. Without `upload` none is uploaded.
    `narrow` holds what a command says of profilers to what the host allows. `grace` is how much longer than asked for a
    capture may take, `patience` how long it may then take to end.
    """

    capture: Capture
    save: Save
    output_dir: Path
    work_dir: Path
    keep: int = 0
    upload: Upload | None = None
    narrow: Callable[[ProfilerConfigs], ProfilerConfigs] = lambda configs: configs
    grace: timedelta = GRACE
    patience: timedelta = PATIENCE


class Run:
    """One execution of a start command. `view` is what it samples."""

    def __init__(
        self,
        command_id: str,
        config: StartConfig,
        *,
        title: str,
        tools: Tools,
        on_start: Callable[[], None],
        beginning: Beginning | None = None,
    ) -> None:
        self.beginning = beginning
        self.over = asyncio.Event()
        """Set once it was told to stop."""
        self.view = RunView.of(command_id, config)
        self._config = config
        self._title = title
        self._tools = tools
        self._on_start = on_start
        self._interrupt = asyncio.Event()
        self._go = asyncio.Event()
        self._go.set()
        self._rests = asyncio.Event()
        self._stopped = False
        self._told: str | None = None
        self._ended: str | None = None
        self._deadline: float | None = None
        self._ending = Ending()
        self._windows = 0
        self._spooled: str | None = None
        """The last profile that is to be uploaded."""

    def stop(self, *, told: str | None = None) -> None:
        """End the run and keep what was sampled. `told` goes into the completion, for the operator to read."""
        self._stopped = True
        self.over.set()
        self._told = self._told or told
        self._interrupt.set()
        self._go.set()

    def pause(self) -> None:
        """Rest until `resume`: what is left of the window is sampled then."""
        self._go.clear()
        self._interrupt.set()

    def resume(self) -> None:
        """Go on."""
        self._go.set()

    async def rests(self) -> None:
        """Wait until nothing of it samples after a `pause`."""
        await self._rests.wait()

    def end(self, why: str) -> None:
        """End the run for the host's sake: it keeps what was sampled, and has failed."""
        self._ended = self._ended or why
        self.stop()

    def narrow(self, *, pids: frozenset[int] | None, exclude_pids: frozenset[int]) -> None:
        """Go on without some processes, for the time that is left."""
        self.view = replace(self.view, pids=pids, exclude_pids=exclude_pids)
        self._interrupt.set()

    async def execute(self) -> Ending:
        """Sample and save until the time is over or the run is stopped. Trouble is told in the ending."""
        try:
            while not self._stopped:
                profile = await self._sample_window()
                if profile is None:
                    break
                await self._keep(profile)
                if not self._config.continuous or not await self._may_go_on(profile):
                    break
        except Exception as error:  # a defect of ours must not cost the windows that are saved already
            log.exception("the run broke off", command_id=self.view.command_id)
            self._ending = replace(self._ending, error=f"the run broke off: {type(error).__name__}: {error}")
        self._rests.set()
        return replace(await self._with_place(self._ending), interrupted=self._told, ended_by_guard=self._ended)

    async def _sample_window(self) -> Profile | None:
        """One window. Narrowing ends a capture, and another one samples the rest of the same window."""
        self._deadline = None
        parts: list[Profile] = []
        left: timedelta | None = timedelta(seconds=self._config.duration)
        while left is not None and not self._stopped:
            await self._rest()
            if self._stopped:
                break
            self._interrupt.clear()
            request = RunRequest(
                frequency_hz=self._config.frequency,
                duration=left,
                mode=self._config.profiling_mode,
                pids=self.view.pids,
                exclude_pids=self.view.exclude_pids,
                configs=self._tools.narrow(run_request_extras(self._config)),
                beginning=self.beginning if self._deadline is None and self._windows == 0 else None,
            )
            part = await self._captured(request)
            left = self._time_left() if self._interrupt.is_set() else None
            if request.beginning is None or self._deadline is not None or left is None or self._stopped:
                parts.append(part)  # else it was narrowed while it waited, and has seen nothing
        if not parts:
            return None
        profile = joined(parts)
        moment = self._config.start_at if self._windows == 0 else None
        late = lateness(profile.started_at, moment) if moment is not None else None
        return replace(
            profile,
            warnings=[*profile.warnings, *([late] if late else [])],
            capture_id=self._config.capture_id,
            command_id=self.view.command_id,
            start_at=moment,
        )

    async def _rest(self) -> None:
        """As long as it is paused; that time is none of the window's."""
        if self._go.is_set():
            return
        began = time.monotonic()
        self._rests.set()
        while not self._go.is_set():  # it may be told to rest again before it has got up
            await self._go.wait()
        self._rests.clear()
        if self._deadline is not None:
            self._deadline += time.monotonic() - began

    async def _captured(self, request: RunRequest) -> Profile:
        """One capture, which is ended when it outlives its time, and given up on when it does not heed that."""
        asked = datetime.now(UTC)
        capture = self._tools.capture(
            request, work_dir=self._tools.work_dir, stop=self._interrupt, on_start=self._begin
        )
        task = asyncio.create_task(capture, name=f"capture {self.view.command_id}")
        interrupted = asyncio.create_task(self._interrupt.wait())
        try:
            if request.beginning is not None:  # its time counts from then
                moment = asyncio.create_task(until(request.beginning.moment, self._interrupt))
                await asyncio.wait({task, moment}, return_when=asyncio.FIRST_COMPLETED)
                moment.cancel()
            await _until_one(
                task, interrupted, within=(request.duration + self._tools.grace).total_seconds(),
                again=self._tools.grace.total_seconds(),
            )  # fmt: skip
            if not task.done() and not self._interrupt.is_set():
                seconds = request.duration.total_seconds()
                self.end(f"it outlived its {seconds:.0f} s by {self._tools.grace.total_seconds():.0f} s and was ended")
            if not task.done():
                await asyncio.wait({task}, timeout=self._tools.patience.total_seconds())
            if not task.done():
                return _given_up_on(request, asked)
            return task.result()
        finally:
            for one in (task, interrupted):
                one.cancel()
            await asyncio.gather(task, interrupted, return_exceptions=True)

    def _begin(self) -> None:
        if self._deadline is not None:
            return
        self._deadline = time.monotonic() + self._config.duration
        if self._windows == 0:
            self._on_start()

    def _time_left(self) -> timedelta | None:
        if self._deadline is None:
            return timedelta(seconds=self._config.duration)
        left = timedelta(seconds=self._deadline - time.monotonic())
        return left if left >= _SHORTEST else None

    async def _keep(self, profile: Profile) -> None:
        """Save a window's profile and add its numbers to the ending."""
        self._windows += 1
        path, error, warnings = self._ending.results_path, profile.error, [*profile.warnings]
        if profile.samples or error is None:
            name = shelf.name_of(profile.started_at, self.view.command_id)
            warnings += await self._spool(profile, name)
            try:
                path = str(await asyncio.to_thread(self._save, profile, name))
            except OSError as failure:
                error = f"the profile could not be saved in {self._tools.output_dir}: {failure.strerror or failure}"
        before = self._ending
        self._ending = replace(
            before,
            samples=before.samples + profile.samples,
            elapsed_seconds=before.elapsed_seconds + profile.elapsed_seconds,
            started_at=before.started_at or profile.started_at,
            finished_at=profile.finished_at,
            results_path=path,
            warnings=tuple(dict.fromkeys((*before.warnings, *([before.error] if before.error else ()), *warnings))),
            error=error,
        )
        if error is not None:
            log.warning("a window of the run failed", command_id=self.view.command_id, reason=error)

    async def _spool(self, profile: Profile, name: str) -> list[str]:
        """Put the profile among what is to be uploaded, before anything else: a kill may follow. Gives the trouble."""
        if self._tools.upload is None:
            return []
        try:
            await self._tools.upload.keep(profile, name=name)
        except OSError as failure:
            return [f"the profile will not be uploaded: {failure.strerror or failure}"]
        self._spooled = name
        return []

    async def _with_place(self, ending: Ending) -> Ending:
        """Where the server has the last profile, if it says so soon, and what was lost of what waited for it."""
        upload = self._tools.upload
        if upload is None:
            return ending
        within = _WORD_OF_A_STOP if self._stopped else _WORD
        place = await upload.place_of(self._spooled, within=within) if self._spooled else None
        return replace(
            ending,
            results_path=place or ending.results_path,
            warnings=tuple(dict.fromkeys((*ending.warnings, *upload.news()))),
        )

    def _save(self, profile: Profile, name: str) -> Path:
        saved = self._tools.save(profile, self._tools.output_dir, name=name, title=self._title)
        if self._tools.keep:
            shelf.trim(self._tools.output_dir, keep=self._tools.keep)
        return saved.best

    async def _may_go_on(self, profile: Profile) -> bool:
        """Whether a continuous run takes another window. After a failed one it waits, so as not to spin."""
        if self._ending.error is None:
            return True
        if self._windows == 1 or (self.view.pids is not None and not profile.samples):
            return False
        window = timedelta(seconds=self._config.duration)
        await pause(min(window, _REST), self._interrupt)
        return not self._stopped


async def _until_one(*tasks: asyncio.Task[Any], within: float, again: float) -> None:
    """Wait for the first to end, so many seconds at most; so many more if the agent itself did not run meanwhile.

    After a SIGSTOP, or a suspension of the machine, all times are over at once, also those in which others were to end.
    """
    loop = asyncio.get_running_loop()
    due = loop.time() + within
    await asyncio.wait(tasks, timeout=within, return_when=asyncio.FIRST_COMPLETED)
    if loop.time() - due > _FROZEN:
        await asyncio.wait(tasks, timeout=again, return_when=asyncio.FIRST_COMPLETED)


def _given_up_on(request: RunRequest, asked: datetime) -> Profile:
    """What is left of a capture that would not end."""
    return Profile(
        stacks={}, started_at=asked, finished_at=max(datetime.now(UTC), asked), elapsed_seconds=0.0, warnings=[],
        error="the profilers did not end when they were told to, and were killed", frequency_hz=request.frequency_hz,
    )  # fmt: skip
