"""Local mode: profile now, without a server, and say where the flame graph is."""

import asyncio
import contextlib
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Final

import click

from agent import logs
from agent.host_capture import HostCapture
from agent.output import OutputSettings, save
from agent.profilers.base import RunRequest
from agent.run_profile import Profile
from agent.sending import uploading
from agent.settings import LocalSettings
from agent.state_dir import StateDir
from agent.upload import Uploader
from agent.waiting import pause

FAILED: Final = 1
INTERRUPTED: Final = 130
TERMINATED: Final = 143
_BAR: Final = 30
_TICK: Final = timedelta(milliseconds=200)


def run(settings: LocalSettings) -> int:
    """Profile once, or over and over, until done or interrupted; give back the exit code."""
    try:
        file = logs.open_log_file(settings.logs.file, max_bytes=settings.logs.max_bytes, backups=settings.logs.backups)
    except OSError as error:
        click.echo(f"gprofiler: the log file {settings.logs.file} cannot be written: {error.strerror}", err=True)
        return FAILED
    logs.configure(at_least="debug" if settings.logs.verbose else "warning", also=file)
    for notice in settings.notices:
        click.echo(f"gprofiler: {notice}", err=True)
    try:
        settings.output.directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        click.echo(f"gprofiler: {settings.output.directory} cannot be created: {error.strerror}", err=True)
        return FAILED
    try:
        return asyncio.run(_run(settings))
    except OSError as error:  # of the spool, or of a certificate
        click.echo(f"gprofiler: {error.filename or 'upload'}: {error.strerror or error}", err=True)
        return FAILED


async def _run(settings: LocalSettings) -> int:
    stop = asyncio.Event()
    interrupted = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, _set_both, interrupted, stop)
    with tempfile.TemporaryDirectory(prefix="gprofiler-") as work:
        async with _uploading(settings) as uploader:
            good = await _profile_once(settings, Path(work), stop, uploader)
            while settings.profiling.continuous and not stop.is_set():
                if not good:
                    await pause(min(settings.profiling.duration, timedelta(minutes=1)), stop)
                if not stop.is_set():
                    good = await _profile_once(settings, Path(work), stop, uploader)
    if interrupted.is_set():
        return INTERRUPTED
    if stop.is_set() and not settings.profiling.continuous:
        return TERMINATED
    return 0 if good else FAILED


def _set_both(one: asyncio.Event, other: asyncio.Event) -> None:
    one.set()
    other.set()


@contextlib.asynccontextmanager
async def _uploading(settings: LocalSettings) -> AsyncIterator[Uploader | None]:
    """Who uploads, if anybody is to; what could not be uploaded by the end is said."""
    address, server, host = settings.upload.address, settings.server, settings.on_host
    if address is None or server is None or host is None:
        yield None
        return
    spool = StateDir(host.state_dir).spool_local
    async with uploading(
        address, server, settings.tls, settings.upload.limits, hostname=host.hostname, spool=spool
    ) as uploader:
        yield uploader
    for text in uploader.news():
        click.echo(f"gprofiler: {text}", err=True)
    if left := uploader.left():
        click.echo(f"gprofiler: {left} not uploaded yet; the next run with -u tries again", err=True)


async def _profile_once(settings: LocalSettings, work: Path, stop: asyncio.Event, uploader: Uploader | None) -> bool:
    request = RunRequest(
        frequency_hz=settings.profiling.frequency_hz,
        duration=settings.profiling.duration,
        mode=settings.profilers.mode,
        pids=settings.profiling.pids,
    )
    begun = asyncio.Event()
    progress = (
        asyncio.create_task(_show_progress(settings.profiling.duration, begun, stop)) if sys.stderr.isatty() else None
    )
    try:
        profile = await HostCapture(settings.profilers)(request, work_dir=work, stop=stop, on_start=begun.set)
    finally:
        if progress is not None:
            progress.cancel()
            await asyncio.gather(progress, return_exceptions=True)
            click.echo("\r\x1b[K", nl=False, err=True)
    for warning in profile.warnings:
        click.echo(f"gprofiler: {warning}", err=True)
    if profile.error is not None:
        click.echo(f"gprofiler: {profile.error}", err=True)
    if profile.error is not None and not profile.samples:
        return False
    name = f"profile-{profile.started_at:%Y%m%dT%H%M%SZ}"
    if uploader is not None:
        try:
            await uploader.keep(profile, name=name)
        except OSError as error:
            click.echo(f"gprofiler: the profile will not be uploaded: {error.strerror or error}", err=True)
    return await asyncio.to_thread(_save, settings, profile, name)


def _save(settings: LocalSettings, profile: Profile, name: str) -> bool:
    try:
        saved = save(
            profile,
            settings.output.directory,
            name=name,
            title="local profile",
            settings=OutputSettings(settings.output.formats, settings.output.rotating),
        )
    except OSError as error:
        click.echo(f"gprofiler: the profile could not be saved: {error}", err=True)
        return False
    count = len(profile.processes)
    of = f"{count} process" if count == 1 else f"{count} processes"
    click.echo(f"{profile.samples} samples of {of} in {profile.elapsed_seconds:.1f} s at {profile.frequency_hz} Hz")
    if saved.flamegraph is not None:
        click.echo(f"flame graph       {saved.flamegraph.with_name('last_flamegraph.html')}")
    for what, file in (
        ("collapsed stacks", saved.collapsed),
        ("pprof", saved.pprof),
        ("speedscope", saved.speedscope),
    ):
        if file is not None:
            click.echo(f"{what:<16}  {file}")
    return True


async def _show_progress(duration: timedelta, begun: asyncio.Event, stop: asyncio.Event) -> None:
    await begun.wait()
    since, seconds = time.monotonic(), duration.total_seconds()
    while True:
        done = min((time.monotonic() - since) / seconds, 1.0)
        bar = "━" * int(done * _BAR)
        word = "saving" if stop.is_set() or done >= 1.0 else "profiling"
        click.echo(f"\r\x1b[K{word} {bar:<{_BAR}} {done * seconds:.0f}/{seconds:.0f} s", nl=False, err=True)
        await asyncio.sleep(_TICK.total_seconds())
