"""Java by Flight Recorder, on real JVMs."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.profiler_configs import ProfilerConfigs
from agent.profilers import jfr_settings
from agent.profilers.java import Java
from agent.run_profile import Profile
from agent.stacks import java
from protocol.commands import ProfilingMode
from tests.integration.agent.test_profilers_orphans import AGENT
from tests.support.jvms import hot_java, jcmd, left_in_tmp, recordings
from tests.support.private_host import seeing_us
from tests.support.processes import ROOT, eventually
from tests.support.targets import Run, sampling
from tests.support.tools import needs

pytestmark = needs("java", "jcmd", "jfr")

THEIRS = "theirs"


@pytest.fixture(scope="module")
def jvm() -> Iterator[int]:
    with hot_java() as process:
        yield process.pid


@pytest.fixture(scope="module")
def first(jvm: int, tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """A run on a JVM that has never recorded before."""
    return profile_of(jvm, tmp_path_factory.mktemp("first"), seconds=8)


def profile_of(pid: int, folder: Path, *, seconds: float, mode: ProfilingMode = "cpu") -> Profile:
    async def run() -> Profile:
        return await Run(folder, pids=[pid], seconds=seconds, mode=mode, profilers=[Java()]).profile()

    return asyncio.run(run())


def share(profile: Profile, method: str) -> float:
    hits = sum(count for stack, count in profile.stacks.items() if method in stack.split(";"))
    return hits / max(sum(profile.stacks.values()), 1)


def test_the_shares_of_hot_methods_are_the_true_ones(first: Profile) -> None:
    assert (first.error, first.warnings, first.unit) == (None, [], "samples")
    assert first.samples > 80, "99 Hz for eight seconds, on a machine that may be busy"
    assert share(first, "HotJava.spinMuch") == pytest.approx(0.75, abs=0.1)
    assert share(first, "HotJava.spinLittle") == pytest.approx(0.25, abs=0.1)
    assert first.events == {"java": "timer of the JVM, threads that run"}


def test_threads_that_wait_are_not_in_it_and_symbols_are_readable(first: Profile) -> None:
    assert share(first, "HotJava.idleInTheKernel") == 0
    assert share(first, "HotJava.idleParked") == 0
    assert share(first, "HotJava.main") > 0.9
    assert share(first, "[unknown]") < 0.05


def test_a_run_leaves_nothing_in_the_jvm(jvm: int, first: Profile) -> None:
    assert first.samples
    assert recordings(jvm) == []
    assert left_in_tmp(jvm) == []


def test_a_recording_of_somebody_else_stays_untouched(jvm: int, first: Profile, tmp_path: Path) -> None:
    assert first.samples
    jcmd(jvm, "JFR.start", f"name={THEIRS}", "settings=default")
    try:
        profile = profile_of(jvm, tmp_path, seconds=1)
        assert profile.error is None
        assert profile.samples
        check = jcmd(jvm, "JFR.check")
        assert f"name={THEIRS}" in check
        assert "(running)" in check
        assert recordings(jvm) == []
    finally:
        jcmd(jvm, "JFR.stop", f"name={THEIRS}")


def test_the_reader_agrees_with_the_jdks_own(jvm: int, first: Profile, tmp_path: Path) -> None:
    assert first.samples, "the JVM's stack depth is ours by now"
    settings, recording = tmp_path / "s.jfc", tmp_path / "r.jfr"
    tmp_path.chmod(0o755)
    settings.write_bytes(jfr_settings.for_cpu(99))
    jcmd(jvm, "JFR.start", "name=both", f"settings={settings}")
    eventually(lambda: jcmd(jvm, "JFR.dump", "name=both", f"filename={recording}") and printed(recording), within=60)
    jcmd(jvm, "JFR.stop", "name=both")
    ours = java.ran(recording.read_bytes())
    assert dict(ours.stacks) == printed(recording)
    assert ours.lost_bytes == 0


def printed(recording: Path) -> dict[str, int]:
    """Stacks by `jfr print`, without those of threads that wait in native code."""
    command = ["jfr", "print", "--stack-depth", "256", "--events", ",".join(java.SAMPLES), str(recording)]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    stacks: dict[str, int] = {}
    for event in text.split("\n}"):
        _, found, trace = event.partition("stackTrace = [")
        frames = [line.strip().partition("(")[0] for line in trace.splitlines() if "(" in line]
        if found and not ("NativeMethodSample" in event and frames[0] in java.WAITING):
            stack = ";".join(reversed(frames))
            stacks[stack] = stacks.get(stack, 0) + 1
    return stacks


def test_allocations_are_told_in_bytes_by_who_made_them(tmp_path: Path) -> None:
    with hot_java("allocate") as process:
        profile = profile_of(process.pid, tmp_path, seconds=3, mode="allocation")
    assert (profile.error, profile.unit) == (None, "bytes")
    assert share(profile, "HotJava.fillMuch") == pytest.approx(0.9, abs=0.1)
    assert share(profile, "HotJava.fillLittle") == pytest.approx(0.1, abs=0.1)
    assert share(profile, "byte[]") > 0.9


async def test_a_stop_keeps_what_was_sampled(jvm: int, tmp_path: Path) -> None:
    async with sampling(Run(tmp_path, pids=[jvm], seconds=60, profilers=[Java()])) as run:
        await asyncio.sleep(1.5)
        run.stop.set()
        profile = await run.profile()
    assert profile.error is None
    assert share(profile, "HotJava.spinMuch") > 0.5
    assert profile.elapsed_seconds < 50
    assert left_in_tmp(jvm) == []


async def test_a_run_that_is_cancelled_leaves_nothing_in_the_jvm(jvm: int, tmp_path: Path) -> None:
    async with sampling(Run(tmp_path, pids=[jvm], seconds=60, profilers=[Java()])):
        assert len(left_in_tmp(jvm)) == 1
    assert left_in_tmp(jvm) == []
    assert recordings(jvm) == []


def test_what_an_agent_that_was_killed_has_left_is_removed_by_the_next_run(jvm: int, tmp_path: Path) -> None:
    agent = subprocess.Popen([sys.executable, "-c", AGENT, str(tmp_path), str(jvm)], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert agent.stdout is not None
        assert any(line == b"started\n" for line in agent.stdout), "it may say before what it found and cleared up"
    finally:
        agent.kill()
        agent.communicate()
    (left,) = left_in_tmp(jvm, agent=agent.pid)
    (recording,) = recordings(jvm, agent=agent.pid)
    assert left in recording
    assert "duration=90s" in recording, "it would end by itself"
    profile = profile_of(jvm, tmp_path, seconds=1)
    assert profile.error is None
    for agent_pid in (agent.pid, os.getpid()):
        assert left_in_tmp(jvm, agent=agent_pid) == []
        assert recordings(jvm, agent=agent_pid) == []


async def test_what_flight_recorder_cannot_do_is_told(jvm: int, tmp_path: Path) -> None:
    configs = ProfilerConfigs(java_clock="wall")
    profile = await Run(tmp_path, pids=[jvm], seconds=1, configs=configs, profilers=[Java()]).profile()
    assert profile.error is None
    assert any("Flight Recorder has no wall clock" in warning for warning in profile.warnings)


async def test_a_jvm_that_sigquit_would_end_is_profiled_without_it_and_lives(tmp_path: Path) -> None:
    """With `-Xrs` SIGQUIT, by which a JVM is told to listen, would end it; but then it listens from the start."""
    with hot_java(options=["-Xrs"]) as process:
        profile = await Run(tmp_path, pids=[process.pid], seconds=1, profilers=[Java()]).profile()
        assert profile.error is None
        assert profile.samples
        assert process.poll() is None


@pytest.mark.parametrize("safemode", [True, False])
async def test_after_a_jvm_crashed_under_it_no_other_of_its_user_is_attached_to_unless_the_host_wants_that(
    tmp_path: Path, *, safemode: bool
) -> None:
    profiler, configs = Java(), ProfilerConfigs(java_safemode=safemode)
    (there := tmp_path / "there").mkdir()
    with hot_java(options=["-XX:-CreateCoredumpOnCrash"], cwd=there) as process:
        run = Run(tmp_path / "work", pids=[process.pid], seconds=60, configs=configs, profilers=[profiler])
        async with sampling(run):
            process.send_signal(signal.SIGSEGV)
            profile = await run.profile()
    assert profile.error is not None
    assert "it has ended" in profile.error
    with hot_java() as another:
        run = Run(tmp_path / "another", pids=[another.pid], seconds=1, configs=configs, profilers=[profiler])
        profile = await run.profile()
    assert (profile.error is not None) is safemode
    assert bool(profile.samples) is not safemode
    if profile.error is not None:
        assert "crashed while it was profiled: no JVM of its user is attached to until" in profile.error


async def test_a_crash_says_nothing_of_the_jvms_of_other_users(tmp_path: Path, another_user: list[str]) -> None:
    """Any user can run something called java, write the report of a crash, and end."""
    profiler = Java()
    with hot_java(options=["-XX:-CreateCoredumpOnCrash"], before=another_user) as process:
        async with sampling(Run(tmp_path / "work", pids=[process.pid], seconds=60, profilers=[profiler])) as run:
            process.send_signal(signal.SIGSEGV)
            await run.profile()
    assert list(profiler._crashed) == [65534]
    with hot_java() as ours:
        profile = await Run(tmp_path / "ours", pids=[ours.pid], seconds=1, profilers=[profiler]).profile()
    assert profile.error is None
    assert profile.samples


async def test_a_jvm_that_is_killed_while_it_is_profiled_leaves_nothing_of_it(tmp_path: Path) -> None:
    with hot_java() as process:
        run = Run(tmp_path, pids=[process.pid], seconds=60, profilers=[Java()])
        async with sampling(run):
            repositories = named_in_tmp(f"2*_{process.pid}")
            process.kill()
            await run.profile()
        assert len(repositories) == 1
        assert named_in_tmp(f"2*_{process.pid}") == named_in_tmp(f"gprofiler-{os.getpid()}-*-{process.pid}-*") == []


def named_in_tmp(pattern: str) -> list[Path]:
    return [*Path("/tmp").glob(pattern)]


@pytest.fixture
def another_user() -> list[str]:
    """What a command begins with to run as somebody else, with a `/tmp` of its own: as in a container."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("a mount namespace needs root")
    mounted = seeing_us("mount -t tmpfs -o mode=1777 tmpfs /tmp", "/tmp")
    script = f'{mounted} && exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@"'
    before = ["unshare", "--mount", "sh", "-c", script, "sh"]
    if subprocess.run([*before, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no mount namespace can be made here")
    return before


def test_a_jvm_of_another_user_with_files_of_its_own_is_profiled_like_any(
    tmp_path: Path, another_user: list[str]
) -> None:
    """What the JVM writes to its `/tmp` is in nobody else's."""
    with hot_java(before=another_user) as process:
        profile = profile_of(process.pid, tmp_path, seconds=2)
        assert profile.error is None
        assert share(profile, "HotJava.spinMuch") > 0.5
        assert left_in_tmp(process.pid) == []
        assert not named_in_tmp(f"gprofiler-*-{process.pid}-*")
