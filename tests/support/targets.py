"""Programs to profile, and the run of a profiler over them."""

import asyncio
import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import psutil

from agent.capture import capture
from agent.profiler_configs import NO_CONFIGS, ProfilerConfigs
from agent.profilers.base import Profiler, RunRequest
from agent.run_profile import Profile
from protocol.commands import ProfilingMode
from tests.support.agents import soon
from tests.support.processes import ROOT, eventually

TARGETS = ROOT / "tests" / "targets"


@contextlib.contextmanager
def running(*command: str, user: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A program, running and past its start-up; killed on the way out."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, user=user)

    def is_at_work() -> bool:
        assert process.poll() is None, f"{command} ended with {process.returncode}"
        return sum(psutil.Process(process.pid).cpu_times()[:2]) > 0.1

    try:
        eventually(is_at_work, within=60, what=f"the start of {command}")
        yield process
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def saying_when_ready(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program that says itself when it is past its start-up: what it takes to start counts for nothing then."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n", f"{command} did not start"
        yield process
    finally:
        process.kill()
        process.communicate()


def sample_program() -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    """The program with the known split."""
    return running(sys.executable, "-m", "cli.sample")


def hot_python(function: str, *, threads: int = 1) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    """A Python program whose one hot function has this name."""
    return saying_when_ready(sys.executable, str(TARGETS / "two_functions.py"), function, str(threads))


def idle_python() -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    """A Python program that sleeps."""
    program = "import time; print('ready', flush=True); time.sleep(600)"
    return saying_when_ready(sys.executable, "-c", program)


def hashing() -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    """A busy program that is no Python."""
    return running("sha256sum", "/dev/zero")


@contextlib.contextmanager
def short_lived(folder: Path) -> Iterator[None]:
    """One `sha256sum` after the other, none of which lasts."""
    zeros = folder / "zeros"
    with zeros.open("wb") as file:
        file.truncate(8 * 2**20)
    process = subprocess.Popen(["sh", "-c", 'while :; do sha256sum "$0" >/dev/null; done', str(zeros)])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def built(folder: Path, *, name: str = "hot", frame_pointers: bool = True) -> Path:
    """The C target, compiled with frame pointers or without."""
    program = folder / name
    compiler = shutil.which("gcc")
    assert compiler is not None, "the test that needs it skips without"
    pointers = "-fno-omit-frame-pointer" if frame_pointers else "-fomit-frame-pointer"
    subprocess.run(
        [compiler, "-O1", "-g", pointers, "-o", str(program), str(TARGETS / "hot.c")], check=True, timeout=60
    )
    return program


def hot_node(*options: str, user: int | None = None) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    """The Node target, as another user if need be."""
    return running("node", *options, str(TARGETS / "hot.js"), user=user)


def alone(*command: str) -> list[str]:
    """The command, in a network of its own."""
    return [sys.executable, str(TARGETS / "own_network.py"), *command]


@contextlib.contextmanager
def node_alone(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Node with these arguments in a network of its own, so that its inspector's port is nobody else's."""
    with running(*alone("node", *arguments)) as process:
        wait_for_node(process.pid)
        yield process


def wait_for_node(pid: int) -> None:
    """Return when the process has become Node and runs the program: before, it is what started it."""
    node = psutil.Process(pid)
    eventually(lambda: Path(node.exe()).name.startswith("node"), within=60, what="Node's start")
    before = node.cpu_times().user
    eventually(lambda: node.cpu_times().user > before + 0.2, within=60, what="the program's start")


def unheard(at: float | None = None) -> None:
    """For a profiler whose word that it samples nobody waits for."""


class Run:
    """One capture under way."""

    def __init__(
        self,
        work_dir: Path,
        *,
        pids: Sequence[int] | None,
        seconds: float = 2.0,
        hz: int = 99,
        mode: ProfilingMode = "cpu",
        exclude: Sequence[int] = (),
        configs: ProfilerConfigs = NO_CONFIGS,
        profilers: Sequence[Profiler] | None = None,
    ) -> None:
        self.stop = asyncio.Event()
        self.started = asyncio.Event()
        self.starts = 0
        self.asked = time.monotonic()
        self.start_latency: float | None = None
        request = RunRequest(
            frequency_hz=hz,
            duration=timedelta(seconds=seconds),
            mode=mode,
            pids=None if pids is None else frozenset(pids),
            exclude_pids=frozenset(exclude),
            configs=configs,
        )
        self.task = asyncio.create_task(
            capture(request, work_dir=work_dir, stop=self.stop, on_start=self._note_start, profilers=profilers)
        )

    def _note_start(self) -> None:
        self.starts += 1
        self.start_latency = time.monotonic() - self.asked
        self.started.set()

    async def profile(self) -> Profile:
        """What it leaves."""
        return await self.task


@contextlib.asynccontextmanager
async def sampling(run: Run) -> AsyncIterator[Run]:
    """A run that has begun to sample; cancelled on the way out if it still goes on."""
    try:
        async with asyncio.timeout(20):
            await run.started.wait()
        yield run
    finally:
        run.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await run.task


async def stopped_early(work_dir: Path, pid: int) -> tuple[float, Profile]:
    """A run that is stopped when its target has had a second of a CPU: how long the end took, and what it left."""
    async with sampling(Run(work_dir, pids=[pid], seconds=90)) as run:
        enough = cpu_seconds(pid) + 1
        await soon(lambda: cpu_seconds(pid) >= enough, within=60)
        asked = time.monotonic()
        run.stop.set()
        profile = await run.profile()
        return time.monotonic() - asked, profile


def cpu_seconds(pid: int) -> float:
    """What a process has had of the CPUs so far."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def share_of(profile: Profile, function: str, *, under: str | None = None) -> float:
    """Which part of all samples has the function on its stack: of those whose root is `under`, where that is given."""
    stacks = {
        stack: count for stack, count in profile.stacks.items() if under is None or stack.partition(";")[0] == under
    }
    total = sum(stacks.values())
    hits = sum(
        count for stack, count in stacks.items() if any(frame.startswith(f"{function} (") for frame in stack.split(";"))
    )
    return hits / total if total else 0.0


def is_sampled(pid: int, *, by: int) -> bool:
    """Whether a process's own py-spy has taken some dozens of samples of another: it sleeps after each.

    Agents of other tests may sample it, too.
    """
    with contextlib.suppress(psutil.Error):
        for process in psutil.Process(by).children(recursive=True):
            if process.name() == "py-spy" and process.cmdline()[-2:] == ["-p", str(pid)]:
                return bool(process.num_ctx_switches().voluntary > 60)
    return False


def profilers_of_this_process() -> list[str]:
    """The command lines of every profiler, and of its helpers, that runs below this process."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            line = " ".join(child.cmdline())
            if child.status() != psutil.STATUS_ZOMBIE and ("py-spy" in line or "perf " in line or "leash" in line):
                found.append(line)
    return found
