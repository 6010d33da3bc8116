"""Reading a recording back where somebody holds perf up. perf is a script that waits as perf does: see the traps."""

import asyncio
import os
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from agent.profilers import perf_maps, perf_reading
from agent.profilers.perf_recording import Recording
from agent.stacks.perf_script import PerfSamples

CAUGHT = "perf would read {} as the names of a program's functions, which is no plain file of a usual size"
SAMPLE = "hot 7/7 cpu-clock:\n\t 1080 main (/bin/hot)\n\n"


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pipe, at which the script in perf's place waits after its first sample."""
    pipe = tmp_path / "perf-7.map"
    os.mkfifo(pipe)
    perf = tmp_path / "perf"
    perf.write_text(f"#!/bin/sh\nprintf '{SAMPLE}'\nread line < {pipe}\nprintf '{SAMPLE}'\n")
    perf.chmod(0o755)
    monkeypatch.setattr(perf_reading, "SUSPICIOUS", timedelta(seconds=1))
    monkeypatch.setattr(perf_maps, "traps", lambda: frozenset({pipe}))
    return pipe


def read(folder: Path) -> tuple[dict[str, int], str | None]:
    """What is read with the script in perf's place, and the problem."""
    (folder / "perf-0.data").touch()
    recording = Recording(folder / "perf-0.data", "", 1, 0)

    async def reading() -> tuple[PerfSamples, str | None]:
        async with asyncio.timeout(60):
            return await perf_reading.read_back(folder / "perf", recording, asyncio.Event())

    samples, problem = asyncio.run(reading())
    assert sorted(path.name for path in folder.iterdir()) == ["perf", "perf-7.map"], "both files are gone"
    return samples.stacks.get(7, {}), problem


def let_go(pipe: Path) -> None:
    """Write a line to the script, once it has come to the pipe: it goes last, and may take its time to that."""
    pipe.write_text("on\n")


def test_a_pipe_that_nobody_writes_to_is_sprung(trap: Path) -> None:
    assert read(trap.parent) == ({"main (hot)": 2}, None)


def test_one_that_perf_comes_to_late_is_sprung_then(trap: Path) -> None:
    """A pipe that only lies there holds nobody up: perf is slow, as on a busy host, where it goes last."""
    perf = trap.with_name("perf")
    perf.write_text(perf.read_text().replace("read line", "sleep 1.5\nread line"))
    assert read(trap.parent) == ({"main (hot)": 2}, None)


def test_one_that_somebody_keeps_open_ends_the_reading_and_what_was_read_is_kept(trap: Path) -> None:
    held = os.open(trap, os.O_RDWR)
    try:
        assert read(trap.parent) == ({"main (hot)": 1}, CAUGHT.format(trap))
    finally:
        os.close(held)


def test_what_is_no_pipe_is_never_opened_neither_by_us_nor_by_perf(trap: Path) -> None:
    trap.unlink()
    trap.symlink_to("/dev/zero")
    assert read(trap.parent) == ({}, CAUGHT.format(trap))


def test_one_that_is_slow_without_a_trap_is_waited_for(trap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perf_maps, "traps", frozenset)
    later = threading.Timer(1, let_go, [trap])
    later.start()
    assert read(trap.parent) == ({"main (hot)": 2}, None)
    later.join()


def test_a_folder_that_does_not_answer_costs_one_thread_and_no_profile(
    trap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()
    looks: list[int] = []

    def hang() -> frozenset[Path]:
        looks.append(1)
        answers.wait(60)
        return frozenset()

    monkeypatch.setattr(perf_maps, "traps", hang)
    monkeypatch.setattr(perf_reading, "LOOK_WITHIN", timedelta(seconds=0.2))
    try:
        for _ in range(2):
            later = threading.Timer(1, let_go, [trap])
            later.start()
            assert read(trap.parent) == ({"main (hot)": 2}, None)
            later.join()
    finally:
        answers.set()
    assert looks == [1]
