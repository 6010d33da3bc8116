"""py-spy on real Python processes."""

import time
from pathlib import Path

import pytest

from agent.profiler_configs import ProfilerConfigs
from agent.profilers.perf import Perf
from agent.profilers.py_spy import PySpy
from cli.sample import SHARES
from tests.support.targets import (
    Run,
    hashing,
    hot_python,
    idle_python,
    profilers_of_this_process,
    sample_program,
    sampling,
    share_of,
    stopped_early,
)

NO_PERF = Perf(Path("/nowhere/perf"))


async def test_the_shares_of_hot_functions_are_the_true_ones(tmp_path: Path) -> None:
    with sample_program() as target:
        profile = await Run(tmp_path, pids=[target.pid], seconds=8).profile()
    assert profile.error is None
    seen = {name: share_of(profile, name) for name in SHARES}
    assert sorted(seen, key=lambda name: -seen[name]) == sorted(SHARES, key=lambda name: -SHARES[name])
    for name, share in SHARES.items():
        assert seen[name] == pytest.approx(share, abs=0.1), (name, seen)


async def test_frequency_and_duration_are_honoured(tmp_path: Path) -> None:
    with hot_python("busy") as target:
        slow = await Run(tmp_path, pids=[target.pid], seconds=6, hz=100).profile()
        fast = await Run(tmp_path, pids=[target.pid], seconds=2, hz=400).profile()
    # By the time it really took: on a busy machine the end comes late, and samples are taken until then.
    # py-spy draws each gap at random: of so many samples a fifth is five standard deviations, of eighty less than two.
    assert 0.7 * 100 <= slow.samples / slow.elapsed_seconds <= 1.2 * 100
    assert 0.7 * 400 <= fast.samples / fast.elapsed_seconds <= 1.2 * 400
    assert 6.0 <= slow.elapsed_seconds < 7.5
    assert 2.0 <= fast.elapsed_seconds < 3.5
    assert (slow.frequency_hz, fast.frequency_hz) == (100, 400)
    assert (slow.finished_at - slow.started_at).total_seconds() == pytest.approx(slow.elapsed_seconds, abs=0.2)


async def test_only_the_named_processes_are_profiled(tmp_path: Path) -> None:
    with hot_python("wanted") as target, hot_python("unwanted") as other:
        profile = await Run(tmp_path, pids=[target.pid], seconds=1).profile()
        both = await Run(tmp_path, pids=[target.pid, other.pid], seconds=1).profile()
    assert share_of(profile, "wanted") > 0.9
    assert share_of(profile, "unwanted") == 0
    assert share_of(both, "wanted") > 0.2
    assert share_of(both, "unwanted") > 0.2
    assert {process.pid for process in both.processes} == {target.pid, other.pid}


async def test_a_stop_ends_the_run_within_a_second_and_keeps_what_was_sampled(tmp_path: Path) -> None:
    with hot_python("busy") as target:
        stopped = [await stopped_early(tmp_path, target.pid) for _ in range(3)]
    assert min(seconds for seconds, _ in stopped) < 1  # the best of three: other tests may have the CPUs
    for _, profile in stopped:
        assert profile.error is None
        assert profile.samples > 40
        assert share_of(profile, "busy") > 0.9
        assert profile.elapsed_seconds < 10


async def test_sampling_starts_soon_and_is_said_once(tmp_path: Path) -> None:
    with hot_python("busy") as target:
        run = Run(tmp_path, pids=[target.pid], seconds=0.5)
        profile = await run.profile()
    assert profile.error is None
    assert run.starts == 1
    assert run.start_latency is not None
    assert run.start_latency < 2


async def test_a_pid_that_is_gone_fails_the_run_and_says_so(tmp_path: Path) -> None:
    with hot_python("busy") as target:
        pid = target.pid
    run = Run(tmp_path, pids=[pid])
    profile = await run.profile()
    assert profile.error is not None
    assert f"no process {pid} on this host: it has ended" in profile.error
    assert (profile.stacks, run.starts) == ({}, 0)


async def test_what_could_be_sampled_is_kept_when_another_pid_is_gone(tmp_path: Path) -> None:
    with hot_python("gone") as other:
        gone = other.pid
    with hot_python("busy") as target:
        profile = await Run(tmp_path, pids=[target.pid, gone], seconds=1).profile()
    assert profile.error is None
    assert share_of(profile, "busy") > 0.9
    assert any(f"no process {gone}" in warning for warning in profile.warnings)


async def test_a_process_that_ends_during_the_run_leaves_its_samples(tmp_path: Path) -> None:
    with hot_python("short") as target:
        async with sampling(Run(tmp_path, pids=[target.pid], seconds=30)) as run:
            time.sleep(1)  # noqa: ASYNC251 -- the profiler is another process: it samples on
            target.kill()
            profile = await run.profile()
    assert profile.error is None
    assert share_of(profile, "short") > 0.9
    assert profile.elapsed_seconds < 15


async def test_an_idle_process_is_no_failure(tmp_path: Path) -> None:
    with idle_python() as target:
        run = Run(tmp_path, pids=[target.pid], seconds=1)
        profile = await run.profile()
    assert (profile.error, profile.samples, run.starts) == (None, 0, 1)
    assert profile.warnings == [f"process {target.pid} (python) used no CPU: no samples"]


async def test_a_wall_clock_sees_what_waits(tmp_path: Path) -> None:
    with idle_python() as target:
        profile = await Run(tmp_path, pids=[target.pid], seconds=1, mode="wall").profile()
    assert profile.error is None
    assert profile.samples > 20
    assert profile.events == {"py-spy": "timer, every thread"}


async def test_a_command_bounds_how_many_processes_are_attached_to(tmp_path: Path) -> None:
    configs = ProfilerConfigs(max_targets=1)
    with idle_python() as idle, hot_python("busy") as target:
        profile = await Run(tmp_path, pids=[idle.pid, target.pid], seconds=1, configs=configs).profile()
    assert [process.pid for process in profile.processes] == [target.pid]
    assert any("the 1 busiest of 2 Python processes" in warning for warning in profile.warnings)


async def test_only_the_busiest_are_sampled_when_there_are_too_many(tmp_path: Path) -> None:
    with idle_python() as idle, hot_python("busy") as target:
        profile = await Run(
            tmp_path, pids=[idle.pid, target.pid], seconds=1, profilers=[PySpy(max_targets=1), NO_PERF]
        ).profile()
    assert [process.pid for process in profile.processes] == [target.pid]
    assert profile.warnings == ["py-spy sampled the 1 busiest of 2 Python processes; name others by pid"]


async def test_without_perf_a_whole_host_run_still_profiles_python_and_warns(tmp_path: Path) -> None:
    with hot_python("busy", threads=1) as target:
        run = Run(tmp_path, pids=None, seconds=1, profilers=[PySpy(max_targets=200), NO_PERF])  # however many there are
        profile = await run.profile()
    assert profile.error is None
    assert target.pid in {process.pid for process in profile.processes}
    assert share_of(profile, "busy") > 0
    assert any("perf is not installed: apt-get install linux-perf" in warning for warning in profile.warnings)


async def test_without_perf_a_process_that_is_no_python_fails_with_what_to_install(tmp_path: Path) -> None:
    with hashing() as target:
        profile = await Run(tmp_path, pids=[target.pid], seconds=1, profilers=[PySpy(), NO_PERF]).profile()
    assert profile.error is not None
    assert f"process {target.pid} (sha256sum) cannot be profiled: perf is not installed" in profile.error


async def test_a_cancelled_run_leaves_no_profiler_and_no_file(tmp_path: Path) -> None:
    with hot_python("busy") as target:
        async with sampling(Run(tmp_path, pids=[target.pid], seconds=60)):
            assert len(profilers_of_this_process()) == 1
        assert profilers_of_this_process() == []
    assert not any(tmp_path.iterdir())  # noqa: ASYNC240 -- a test may block


async def test_a_run_that_is_stopped_before_it_begins_ends_at_once(tmp_path: Path) -> None:
    with hot_python("busy") as target:
        run = Run(tmp_path, pids=[target.pid], seconds=60)
        run.stop.set()
        profile = await run.profile()
    assert profile.elapsed_seconds < 2
    assert profile.error is None
