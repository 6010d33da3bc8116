"""Java through a stand-in for async-profiler's command: see tests/support/stand_ins.py."""

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.profiler_configs import JavaClock, ProfilerConfigs
from agent.profilers.base import Available
from agent.profilers.java import NO_WALL, Java
from protocol.commands import ProfilingMode
from tests.support.jvms import left_in_tmp
from tests.support.stand_ins import process_named
from tests.support.targets import Run, sampling

COLLAPSED = """\
java/lang/Thread.run;com/x/App$$Lambda+0x00007f0c3c000a00.run;com/x/App.work 30
java/lang/Thread.run;com/x/App$$Lambda+0x00007f0c3c111100.run;com/x/App.work 12
start_thread;JavaThread::run;com/x/App.work;java/lang/String[] 3
"""
PROGRAM = f"""#!{sys.executable}
import pathlib, sys
said = pathlib.Path(sys.argv[0] + ".said")
with said.open("a") as log:
    log.write(" ".join(sys.argv[1:]) + "\\n")
words = sys.argv[1:]
file = pathlib.Path(words[words.index("-f") + 1])
if pathlib.Path(sys.argv[0] + ".taken").exists() and words[0] == "start":
    sys.exit("[ERROR] Profiler already started")
if words[0] == "stop":
    file.write_text({COLLAPSED!r})
print("Profiling started" if words[0] == "start" else "Profiling stopped")
"""


@pytest.fixture
def asprof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stand-in, on PATH."""
    (folder := tmp_path / "bin").mkdir()
    tool = folder / "asprof"
    tool.write_text(PROGRAM)
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return tool


@pytest.fixture
def jvm(tmp_path: Path) -> Iterator[int]:
    with process_named("java", tmp_path) as pid:
        yield pid


def said_to(asprof: Path) -> list[list[str]]:
    """The words of each call."""
    return [line.split() for line in asprof.with_name("asprof.said").read_text().splitlines()]


async def test_it_is_used_where_the_host_has_it_and_its_stacks_are_in_our_words(
    asprof: Path, jvm: int, tmp_path: Path
) -> None:
    assert Java().probe() == Available(f"async-profiler by {asprof}")
    run = Run(tmp_path / "work", pids=[jvm], seconds=0.2, hz=100, profilers=[Java()])
    profile = await run.profile()
    assert (profile.error, profile.warnings, run.starts) == (None, [], 1)
    assert profile.stacks == {
        "java;java.lang.Thread.run;com.x.App$$Lambda.run;com.x.App.work": 42,
        "java;start_thread;JavaThread::run;com.x.App.work;java.lang.String[]": 3,
    }
    start, stop = said_to(asprof)
    assert start[:7] == ["start", "-e", "cpu", "-i", "10000000", "--timeout", "31"]
    assert (stop[0], "--total" in stop) == ("stop", False)
    assert start[-1] == stop[-1] == str(jvm)
    assert left_in_tmp(jvm) == []


async def test_allocations_are_asked_for_in_bytes(asprof: Path, jvm: int, tmp_path: Path) -> None:
    configs = ProfilerConfigs(java_alloc_interval=512_000)
    run = Run(tmp_path / "work", pids=[jvm], seconds=0.2, mode="allocation", configs=configs, profilers=[Java()])
    profile = await run.profile()
    assert (profile.error, profile.unit, profile.samples) == (None, "bytes", 45)
    start, stop = said_to(asprof)
    assert start[1:5] == ["-e", "alloc", "--alloc", "512000"]
    assert "--total" in stop


@pytest.mark.parametrize(("mode", "clock"), [("wall", "cpu"), ("cpu", "wall")])
async def test_a_wall_clock_is_asked_for_by_the_mode_or_by_the_settings_of_java(
    mode: ProfilingMode, clock: JavaClock, asprof: Path, jvm: int, tmp_path: Path
) -> None:
    configs = ProfilerConfigs(java_clock=clock)
    run = Run(tmp_path / "work", pids=[jvm], seconds=0.2, mode=mode, configs=configs, profilers=[Java()])
    assert (await run.profile()).error is None
    assert said_to(asprof)[0][1:3] == ["-e", "wall"]


async def test_somebody_elses_session_is_neither_disturbed_nor_ended(asprof: Path, jvm: int, tmp_path: Path) -> None:
    asprof.with_name("asprof.taken").touch()
    profile = await Run(tmp_path / "work", pids=[jvm], seconds=0.2, profilers=[Java()]).profile()
    assert profile.error is not None
    assert "somebody else's async-profiler is at work in it" in profile.error
    assert [words[0] for words in said_to(asprof)] == ["start"]


async def test_a_run_that_is_cancelled_ends_the_session(asprof: Path, jvm: int, tmp_path: Path) -> None:
    async with sampling(Run(tmp_path / "work", pids=[jvm], seconds=60, profilers=[Java()])):
        await asyncio.sleep(0)
    assert [words[0] for words in said_to(asprof)] == ["start", "stop"]
    assert left_in_tmp(jvm) == []


async def test_without_it_a_wall_clock_for_java_says_what_is_missing(
    jvm: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    profile = await Run(tmp_path / "work", pids=[jvm], seconds=0.2, mode="wall", profilers=[Java()]).profile()
    assert profile.error is not None
    assert NO_WALL in profile.error
