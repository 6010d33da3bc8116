"""How perf follows stacks: one run by each mode over the same programs."""

import asyncio
import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.profilers.perf import Perf
from agent.profilers.perf_settings import PerfMode, PerfSettings
from agent.run_profile import Profile
from tests.support.targets import Run, built, hot_node, running, share_of, short_lived
from tests.support.tools import needs

pytestmark = [
    pytest.mark.needs_perf,
    needs("perf", "gcc", "node"),
    pytest.mark.skipif(os.geteuid() != 0, reason="perf needs root, or a setting that this host may not have"),
]

MODES: tuple[PerfMode, ...] = ("fp", "dwarf", "smart")
NOBODY = 65534
MAPPED = ("--perf-basic-prof", "--no-logfile-per-isolate", "--logfile=/dev/null")
PARSING = "const text = JSON.stringify([...Array(1000).keys()]); for (;;) JSON.parse(text)"
ENOUGH = 200
"""Samples of each program from which its shares are told to within a few points."""
SHARES = {"spin_much": 0.75, "spin_little": 0.25}


async def captured(folder: Path, pids: list[int]) -> dict[PerfMode, Profile]:
    """All modes over the same seconds; more of them on a machine that others keep busy, as few samples tell little."""
    for seconds in (6, 12, 24):
        perfs = {mode: Perf(settings=PerfSettings(mode=mode)) for mode in MODES}
        runs = [Run(folder / mode, pids=pids, seconds=seconds, profilers=[perf]) for mode, perf in perfs.items()]
        profiles = dict(zip(perfs, [await run.profile() for run in runs], strict=True))
        counts = [process.samples for profile in profiles.values() for process in profile.processes]
        if len(counts) == len(MODES) * len(pids) and min(counts) >= ENOUGH:
            break
    return profiles


@pytest.fixture(scope="module")
def profiles(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[PerfMode, Profile]]:
    """C with frame pointers and without, Node of another user with a perf map, and two mostly in C++ or the kernel."""
    folder = tmp_path_factory.mktemp("modes")
    (reader := folder / "reader").symlink_to(shutil.which("node") or "")  # not `node`: that name has known shares
    with contextlib.ExitStack() as programs:
        pids = [
            programs.enter_context(running(str(built(folder, name="pointers")))).pid,
            programs.enter_context(running(str(built(folder, name="bare", frame_pointers=False)))).pid,
            programs.enter_context(running(str(reader), "--jitless", "--eval", PARSING)).pid,
            programs.enter_context(running("dd", "if=/dev/zero", "of=/dev/null", "bs=4k")).pid,
            programs.enter_context(hot_node(*MAPPED, user=NOBODY)).pid,
        ]
        yield asyncio.run(captured(folder, pids))
    Path(f"/tmp/perf-{pids[-1]}.map").unlink(missing_ok=True)


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_has_the_true_shares_of_native_functions(profiles: dict[PerfMode, Profile], mode: PerfMode) -> None:
    assert profiles[mode].error is None
    for program in ("pointers", "bare"):
        for function, share in SHARES.items():
            assert share_of(profiles[mode], function, under=program) == pytest.approx(share, abs=0.1), (mode, program)


def test_callers_without_frame_pointers_are_named_by_unwinding_alone(profiles: dict[PerfMode, Profile]) -> None:
    assert share_of(profiles["fp"], "main", under="bare") < 0.1
    assert share_of(profiles["dwarf"], "main", under="bare") > 0.9
    assert share_of(profiles["smart"], "main", under="bare") > 0.9
    assert all(share_of(profiles[mode], "main", under="pointers") > 0.9 for mode in MODES)


@pytest.mark.parametrize("mode", ["fp", "smart"])
def test_functions_of_a_jit_compiler_are_named_by_the_map_of_another_user(
    profiles: dict[PerfMode, Profile], mode: PerfMode
) -> None:
    assert share_of(profiles[mode], "spinMuch", under="node") == pytest.approx(0.75, abs=0.1)
    assert share_of(profiles[mode], "spinLittle", under="node") == pytest.approx(0.25, abs=0.1)
    assert not any("[jit]" in stack.split(";")[-1] for stack in profiles[mode].stacks)


def test_no_sample_is_counted_twice_where_two_ways_saw_it(profiles: dict[PerfMode, Profile]) -> None:
    by_pointers = {process.pid: process.samples for process in profiles["fp"].processes}
    by_both = {process.pid: process.samples for process in profiles["smart"].processes}
    assert by_pointers.keys() == by_both.keys()
    for pid, samples in by_pointers.items():
        assert by_both[pid] == pytest.approx(samples, rel=0.3)


@pytest.mark.parametrize("mode", MODES)
def test_frames_are_readable_and_the_event_is_the_real_one(profiles: dict[PerfMode, Profile], mode: PerfMode) -> None:
    assert profiles[mode].events["perf"].partition(":")[0] in {"cycles", "cpu-clock"}
    frames = {frame for stack in profiles[mode].stacks for frame in stack.split(";")}
    assert not [frame for frame in frames if "@@" in frame or frame.startswith("_Z") or "perf-" in frame]
    assert any(frame.startswith("v8::internal::") for frame in frames)
    assert any(frame.endswith("_[k]") for frame in frames)


async def test_programs_that_end_before_the_run_does_are_seen_by_their_names(tmp_path: Path) -> None:
    with short_lived(tmp_path):
        profile = await Run(tmp_path / "work", pids=None, seconds=2, profilers=[Perf()]).profile()
    short = [process for process in profile.processes if process.name == "sha256sum"]
    assert len(short) > 3
    assert sum(count for stack, count in profile.stacks.items() if stack.startswith("sha256sum;")) > 20
