"""`capture` over profilers that are scripted, on real processes."""

import asyncio
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent import labels
from agent.beginning import Beginning, until
from agent.capture import PERF_BOUNDS, capture
from agent.inventory import Label
from agent.processes import Process
from agent.profiler_configs import ProfilerConfigs
from agent.profilers.base import Available, Result, RunRequest, Scope, Started, Unavailable
from agent.stacks.combine import ATTACH_FAILED
from protocol.commands import ProfilingMode
from tests.support.agents import soon
from tests.support.targets import Run


@dataclass
class Scripted:
    """Gives a result that was prepared, and notes what it was asked."""

    result: Result | Exception
    name: str = "scripted"
    scope: Scope = "process"
    modes: frozenset[ProfilingMode] = frozenset({"cpu"})
    missing: str | None = None
    matches: bool = True
    waits: bool = False
    prepares: bool = False
    asked: list[tuple[list[int], Path]] = field(default_factory=list)
    ended: bool = False
    began_ago: Sequence[float | None] = (None, None)
    """Seconds before each of its words that it samples, of which it says that it did already then."""

    def probe(self) -> Available | Unavailable:
        return Unavailable(self.missing) if self.missing else Available()

    def match(self, process: Process) -> bool:  # noqa: ARG002 -- the interface's
        return self.matches

    async def run(
        self,
        targets: Sequence[Process],
        request: RunRequest,  # noqa: ARG002 -- the interface's
        work_dir: Path,
        stop: asyncio.Event,
        started: Started,
    ) -> Result:
        self.asked.append((sorted(target.pid for target in targets), work_dir))
        if isinstance(self.result, Exception):
            raise self.result
        for ago in self.began_ago:
            started(None if ago is None else time.monotonic() - ago)
        try:
            if self.waits:
                await stop.wait()
        finally:
            self.ended = True
        return self.result


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def pid() -> Iterator[int]:
    child = subprocess.Popen(["sleep", "60"])
    yield child.pid
    child.kill()
    child.wait()


async def test_stacks_are_told_apart_by_the_container_they_ran_in(
    pid: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labels, "of", lambda pids: {one: Label("c" * 64, "app") for one in pids if one == pid})
    other = os.getppid()
    runtime = Scripted(Result(stacks={pid: {"f": 3}, other: {"f": 2}}))
    profile = await Run(tmp_path, pids=[pid, other], profilers=[runtime]).profile()
    assert {name: sum(stacks.values()) for name, stacks in profile.by_container.items()} == {"app": 3, "": 2}
    assert profile.samples == 5


async def test_only_a_profiler_that_prepares_is_run_ahead_of_the_moment(pid: int, tmp_path: Path) -> None:
    attaches, prepares = Scripted(Result(stacks={pid: {"f": 1}})), Scripted(Result(), scope="host")
    prepares.prepares = True
    moment = datetime.now(UTC) + timedelta(seconds=0.5)
    beginning = Beginning(moment)
    request = RunRequest(99, timedelta(seconds=1), "cpu", pids=None, beginning=beginning)
    run = asyncio.create_task(
        capture(
            request, work_dir=tmp_path, stop=asyncio.Event(), on_start=lambda: None, profilers=[attaches, prepares]
        )
    )  # fmt: skip
    await soon(lambda: prepares.asked)
    assert not attaches.asked
    await until(moment, asyncio.Event())
    assert not attaches.asked, "what ran until now has not let go"
    beginning.released.set()
    await run
    assert attaches.asked


async def test_a_profile_is_of_the_time_that_its_profilers_tell(pid: int, tmp_path: Path) -> None:
    asked, asked_at = time.monotonic(), datetime.now(UTC)
    early = Scripted(Result(stacks={pid: {"f": 1}}, ended=asked + 3), began_ago=(5, None, 7))
    late = Scripted(Result(stacks={1: {"init": 2}}, ended=asked - 1), name="host", scope="host", began_ago=(2,))
    profile = await Run(tmp_path, pids=None, profilers=[early, late]).profile()
    assert profile.elapsed_seconds == pytest.approx(7 + 3, abs=0.9)
    assert (asked_at - profile.started_at).total_seconds() == pytest.approx(7, abs=0.9)
    assert (profile.finished_at - asked_at).total_seconds() == pytest.approx(3, abs=0.9)


async def test_what_a_profiler_does_after_it_has_sampled_is_none_of_the_profiles_time(pid: int, tmp_path: Path) -> None:
    """Also of one that failed: it took until its patience was over."""
    good = Scripted(Result(stacks={pid: {"f": 1}}, ended=time.monotonic() - 1), began_ago=(5,))
    failed = Scripted(Result(failures={1: "cannot attach"}), name="failed", scope="host", began_ago=())
    profile = await Run(tmp_path, pids=None, profilers=[good, failed]).profile()
    assert profile.elapsed_seconds == pytest.approx(4, abs=0.9)


async def test_a_named_process_goes_to_its_runtimes_profiler_alone(pid: int, tmp_path: Path) -> None:
    runtime = Scripted(Result(stacks={pid: {"f": 3}}, event="timer"))
    host = Scripted(Result(), name="host", scope="host")
    run = Run(tmp_path, pids=[pid], profilers=[runtime, host])
    profile = await run.profile()
    assert profile.stacks == {"sleep;f": 3}
    assert (profile.samples, profile.error, profile.warnings) == (3, None, [])
    assert profile.events == {"scripted": "timer"}
    assert [(one.pid, one.name, one.samples) for one in profile.processes] == [(pid, "sleep", 3)]
    assert (host.asked, run.starts) == ([], 1)
    assert names_in(tmp_path) == []


async def test_the_hosts_profiler_is_asked_for_all_named_when_one_has_no_runtime(pid: int, tmp_path: Path) -> None:
    runtime = Scripted(Result(), matches=False)
    host = Scripted(Result(stacks={pid: {"main": 5}}), name="host", scope="host")
    profile = await Run(tmp_path, pids=[pid], profilers=[runtime, host]).profile()
    assert profile.stacks == {"sleep;main": 5}
    assert [targets for targets, _ in host.asked] == [[pid]]
    assert runtime.asked == []


async def test_no_process_is_counted_twice(pid: int, tmp_path: Path) -> None:
    runtime = Scripted(Result(stacks={pid: {"f": 30, "g": 10}}))
    host = Scripted(Result(stacks={pid: {"_PyEval": 20}, 1: {"init": 2}}, names={1: "init"}), scope="host")
    profile = await Run(tmp_path, pids=None, profilers=[runtime, host]).profile()
    assert profile.samples == 22
    assert profile.stacks["sleep;f"] == 15
    assert profile.stacks["sleep;g"] == 5


async def test_a_hosts_profiler_that_was_stopped_before_it_began_takes_nothing_away(pid: int, tmp_path: Path) -> None:
    runtime = Scripted(Result(stacks={pid: {"f": 30}}))
    host = Scripted(Result(warnings=["stopped before it began"]), scope="host")
    profile = await Run(tmp_path, pids=None, profilers=[runtime, host]).profile()
    assert (profile.samples, profile.error, profile.warnings) == (30, None, ["stopped before it began"])


async def test_a_process_that_one_profiler_could_not_read_is_no_silent_hole(pid: int, tmp_path: Path) -> None:
    runtime = Scripted(Result(failures={pid: "cannot attach"}))
    host = Scripted(Result(stacks={pid: {"_PyEval": 20}}), scope="host")
    profile = await Run(tmp_path, pids=None, profilers=[runtime, host]).profile()
    assert profile.stacks == {f"sleep;{ATTACH_FAILED};_PyEval": 20}
    assert profile.warnings == ["cannot attach"]
    assert profile.error is None


async def test_when_every_target_fails_the_run_fails_with_each_reason(pid: int, tmp_path: Path) -> None:
    runtime = Scripted(Result(failures={pid: "cannot attach"}))
    profile = await Run(tmp_path, pids=[pid, 2**31 - 1], profilers=[runtime]).profile()
    assert profile.stacks == {}
    assert profile.error is not None
    assert "cannot attach" in profile.error
    assert "no process 2147483647 on this host" in profile.error


async def test_a_profiler_that_breaks_is_told_and_the_others_go_on(pid: int, tmp_path: Path) -> None:
    broken = Scripted(ZeroDivisionError("oops"), name="broken", scope="host")
    good = Scripted(Result(stacks={pid: {"f": 1}}))
    profile = await Run(tmp_path, pids=None, profilers=[broken, good]).profile()
    assert profile.error is None
    assert profile.samples == 1
    assert any("broken broke: ZeroDivisionError('oops')" in warning for warning in profile.warnings)


async def test_an_idle_process_is_a_good_run_with_a_word_about_it(pid: int, tmp_path: Path) -> None:
    profile = await Run(tmp_path, pids=[pid], profilers=[Scripted(Result())]).profile()
    assert (profile.samples, profile.error) == (0, None)
    assert profile.warnings == [f"process {pid} (sleep) used no CPU: no samples"]


@pytest.mark.parametrize("mode", ["wall", "allocation"])
async def test_a_mode_that_nothing_does_is_an_error(mode: ProfilingMode, pid: int, tmp_path: Path) -> None:
    run = Run(tmp_path, pids=[pid], mode=mode, profilers=[Scripted(Result())])
    profile = await run.profile()
    assert profile.error == f"no installed profiler does mode '{mode}' (installed are scripted: cpu)"
    assert run.starts == 0


async def test_mode_none_samples_nothing_and_succeeds(pid: int, tmp_path: Path) -> None:
    scripted = Scripted(Result())
    run = Run(tmp_path, pids=[pid], mode="none", profilers=[scripted])
    profile = await run.profile()
    assert (profile.error, profile.stacks, scripted.asked, run.starts) == (None, {}, [], 1)


async def test_an_excluded_process_is_neither_attached_to_nor_in_the_result(pid: int, tmp_path: Path) -> None:
    runtime = Scripted(Result())
    host = Scripted(Result(stacks={pid: {"main": 5}, 1: {"init": 1}}), scope="host")
    profile = await Run(tmp_path, pids=None, exclude=[pid], profilers=[runtime, host]).profile()
    assert profile.samples == 1
    assert pid not in runtime.asked[0][0]
    named = await Run(tmp_path, pids=[pid], exclude=[pid], profilers=[runtime]).profile()
    assert named.error == f"process {pid} is excluded: a stop took it out of profiling"


async def test_the_agent_does_not_profile_itself(tmp_path: Path) -> None:
    scripted = Scripted(Result())
    profile = await Run(tmp_path, pids=[os.getpid()], profilers=[scripted]).profile()
    assert profile.error == f"process {os.getpid()} is the agent itself, which does not profile itself"
    whole = Scripted(Result())
    await Run(tmp_path, pids=None, profilers=[whole]).profile()
    assert os.getpid() not in whole.asked[0][0]


async def test_without_the_hosts_profiler_a_process_of_no_known_runtime_says_what_to_install(
    pid: int, tmp_path: Path
) -> None:
    runtime = Scripted(Result(), matches=False)
    host = Scripted(Result(), name="host", scope="host", missing="perf is not installed: apt-get install linux-perf")
    profile = await Run(tmp_path, pids=[pid], profilers=[runtime, host]).profile()
    assert profile.error == (
        f"process {pid} (sleep) cannot be profiled: perf is not installed: apt-get install linux-perf"
    )


async def test_a_whole_host_run_without_the_hosts_profiler_is_partly_good(pid: int, tmp_path: Path) -> None:
    runtime = Scripted(Result(stacks={pid: {"f": 2}}))
    host = Scripted(Result(), name="host", scope="host", missing="perf is not installed")
    profile = await Run(tmp_path, pids=None, profilers=[runtime, host]).profile()
    assert (profile.samples, profile.error, profile.warnings) == (2, None, ["perf is not installed"])


async def test_a_whole_host_run_that_can_sample_nothing_is_an_error(tmp_path: Path) -> None:
    runtime = Scripted(Result(), matches=False)
    host = Scripted(Result(), name="host", scope="host", missing="perf is not installed")
    profile = await Run(tmp_path, pids=None, profilers=[runtime, host]).profile()
    assert profile.error == "nothing here that the installed profilers can sample in mode cpu; perf is not installed"


async def test_many_reasons_are_told_in_short(tmp_path: Path) -> None:
    top = 2**31 - 1
    profile = await Run(tmp_path, pids=range(top - 30, top), profilers=[Scripted(Result())]).profile()
    assert profile.error is not None
    assert profile.error.endswith("; and 20 more")
    assert len(profile.error) < 4_096


async def test_cancelling_ends_the_profilers_and_leaves_no_file(pid: int, tmp_path: Path) -> None:
    waiting = Scripted(Result(), waits=True)
    run = Run(tmp_path, pids=[pid], profilers=[waiting])
    await run.started.wait()
    run.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run.task
    assert waiting.ended
    assert names_in(tmp_path) == []


async def test_a_work_directory_that_cannot_be_made_is_an_error_not_an_exception(pid: int, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    profile = await Run(tmp_path / "file" / "work", pids=[pid], profilers=[Scripted(Result())]).profile()
    assert profile.error is not None
    assert profile.error.startswith("cannot write to the agent's work directory")


async def test_a_process_that_two_profilers_understand_goes_to_the_first(pid: int, tmp_path: Path) -> None:
    first, second = Scripted(Result(stacks={pid: {"f": 3}})), Scripted(Result(stacks={pid: {"g": 5}}), name="second")
    profile = await Run(tmp_path, pids=[pid], profilers=[first, second]).profile()
    assert (profile.stacks, second.asked) == ({"sleep;f": 3}, [])


async def test_a_profiler_that_is_switched_off_is_not_run_and_the_next_one_has_its_processes(
    pid: int, tmp_path: Path
) -> None:
    off, host = Scripted(Result()), Scripted(Result(stacks={pid: {"main": 2}}), name="host", scope="host")
    configs = ProfilerConfigs(disabled=frozenset({"scripted"}))
    profile = await Run(tmp_path, pids=[pid], configs=configs, profilers=[off, host]).profile()
    assert (profile.stacks, profile.warnings, off.asked) == ({"sleep;main": 2}, [], [])
    none = await Run(tmp_path, pids=[pid], configs=configs, profilers=[off]).profile()
    assert none.error == "every profiler that does mode 'cpu' is disabled by the command"


async def test_what_the_command_says_of_profilers_and_cannot_be_followed_is_in_the_warnings(
    pid: int, tmp_path: Path
) -> None:
    configs = ProfilerConfigs(enabled=frozenset({"theirs"}), not_understood=("perf is not understood",))
    scripted = Scripted(Result(stacks={pid: {"f": 1}}))
    profile = await Run(tmp_path, pids=[pid], configs=configs, profilers=[scripted]).profile()
    assert profile.error is None
    assert profile.warnings == ["perf is not understood", "profiler_configs: this agent has no profiler 'theirs'"]


async def test_the_settings_of_java_can_make_a_run_one_of_allocations(pid: int, tmp_path: Path) -> None:
    bytes_of = Result(stacks={pid: {"f": 4096}}, unit="bytes")
    scripted = Scripted(bytes_of, modes=frozenset({"allocation"}))
    profile = await Run(
        tmp_path, pids=[pid], configs=ProfilerConfigs(mode="allocation"), profilers=[scripted]
    ).profile()
    assert (profile.stacks, profile.unit) == ({"sleep;f": 4096}, "bytes")


async def test_a_crowded_host_is_not_put_under_perf_that_is_restricted(
    pid: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PERF_BOUNDS, "restricted", 0)
    perf, runtime = Scripted(Result(), name="perf", scope="host"), Scripted(Result(stacks={pid: {"f": 1}}))
    configs = ProfilerConfigs(perf_bound="restricted")
    profile = await Run(tmp_path, pids=None, configs=configs, profilers=[runtime, perf]).profile()
    assert perf.asked == []
    assert profile.error is None
    assert any("perf was not run: the host has" in warning for warning in profile.warnings)


async def test_a_profiler_that_is_not_there_is_missed_only_where_it_had_something_to_do(
    pid: int, tmp_path: Path
) -> None:
    good = Scripted(Result(stacks={pid: {"f": 1}}))
    absent = Scripted(Result(), name="absent", missing="rbspy is not installed", matches=False)
    profile = await Run(tmp_path, pids=None, profilers=[good, absent]).profile()
    assert profile.warnings == []
    wanted = Scripted(Result(), name="wanted", missing="rbspy is not installed")
    host = Scripted(Result(stacks={pid: {"f": 1}}), name="host", scope="host")
    profile = await Run(tmp_path, pids=None, profilers=[wanted, host]).profile()
    assert profile.warnings == ["rbspy is not installed"]
