import asyncio
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent import runner
from agent.output import SavedProfile
from agent.reports import Ending, Reporter, of_run
from agent.run_profile import Profile, joined
from agent.runner import Run, Tools
from protocol.commands import StartConfig
from tests.support.agents import soon
from tests.support.fake_capture import WORK, FakeCapture, FakeSave, a_profile, tools

REPORTER = Reporter(hostname="web-01", service_name="web")


class Case:
    """A run with fakes around it."""

    def __init__(self, *script: Any, command_id: str = "c", **config: Any) -> None:
        self.capture = FakeCapture(script=list(script))
        self.save = FakeSave()
        self.starts = 0
        self.run = Run(
            command_id,
            StartConfig.model_validate({"duration": 60, "frequency": 11, **config}),
            title="web on web-01",
            tools=tools(self.capture, self.save),
            on_start=self._count,
        )

    def hurry(self, *, grace: float, patience: float) -> None:
        """The same run, whose patience is shorter."""
        tools = replace(self.run._tools, grace=timedelta(seconds=grace), patience=timedelta(seconds=patience))
        self.run._tools = tools

    def _count(self) -> None:
        self.starts += 1

    async def begun(self) -> "asyncio.Task[Ending]":
        task = asyncio.create_task(self.run.execute())
        await asyncio.wait_for(self.capture.sampling.wait(), 5)
        return task

    async def sampling_again(self) -> None:
        count = len(self.capture.requests)
        await soon(lambda: len(self.capture.requests) > count and self.capture.sampling.is_set())


async def test_a_run_ends_with_true_numbers_and_the_flame_graph() -> None:
    case = Case(a_profile(7))
    ending = await case.run.execute()
    assert (ending.samples, ending.elapsed_seconds, ending.error) == (7, 1.0, None)
    assert ending.results_path == "/profiles/20260102T030405Z-c.html"
    assert case.starts == 1


async def test_a_stop_ends_a_run_at_once_and_keeps_its_samples() -> None:
    case = Case()
    task = await case.begun()
    case.run.stop()
    ending = await asyncio.wait_for(task, 5)
    assert ending.samples == 3
    assert ending.elapsed_seconds < 1
    assert len(case.save.saved) == 1


async def test_a_stop_before_the_start_samples_nothing() -> None:
    case = Case()
    case.run.stop(told="superseded by d")
    assert await case.run.execute() == Ending(interrupted="superseded by d")
    assert case.capture.requests == []


async def test_a_narrowed_run_goes_on_without_the_process_for_the_time_that_is_left() -> None:
    case = Case(pids=[1, 2])
    task = await case.begun()
    await asyncio.sleep(0.1)
    again = asyncio.create_task(case.sampling_again())
    await asyncio.sleep(0)
    case.run.narrow(pids=frozenset({2}), exclude_pids=frozenset())
    await asyncio.wait_for(again, 5)
    first, second = case.capture.requests
    assert (first.pids, second.pids) == (frozenset({1, 2}), frozenset({2}))
    assert second.duration.total_seconds() == pytest.approx(59.9, abs=0.5)
    case.run.stop()
    ending = await task
    assert ending.samples == 6
    assert len(case.save.saved) == 1
    assert case.starts == 1


async def test_a_run_narrowed_at_its_very_end_is_not_stretched() -> None:
    case = Case(duration=1, pids=[1, 2])
    task = await case.begun()
    await asyncio.sleep(0.1)
    case.run.narrow(pids=frozenset({2}), exclude_pids=frozenset())
    await asyncio.wait_for(task, 5)
    assert len(case.capture.requests) == 1


async def test_a_continuous_run_saves_window_after_window_until_stopped() -> None:
    case = Case(a_profile(1), a_profile(2), continuous=True)
    task = await case.begun()
    await case.sampling_again() if len(case.capture.requests) < 3 else None
    case.run.stop()
    ending = await asyncio.wait_for(task, 5)
    assert [profile.samples for _, profile in case.save.saved][:2] == [1, 2]
    assert ending.samples == sum(profile.samples for _, profile in case.save.saved)
    assert case.starts == 1


async def test_a_continuous_run_that_cannot_begin_fails_instead_of_spinning() -> None:
    case = Case(a_profile(0, error="no perf here"), continuous=True)
    ending = await asyncio.wait_for(case.run.execute(), 5)
    assert ending.error == "no perf here"
    assert len(case.capture.requests) == 1


async def test_a_continuous_run_survives_a_window_that_fails() -> None:
    case = Case(a_profile(2), a_profile(0, error="perf broke"), None, duration=1, continuous=True)
    task = await case.begun()
    await soon(lambda: len(case.capture.requests) == 3)
    case.run.stop()
    ending = await asyncio.wait_for(task, 5)
    assert ending.samples == 5
    assert (ending.error, ending.warnings) == (None, ("perf broke",))


async def test_a_run_of_processes_that_are_gone_does_not_go_on() -> None:
    case = Case(a_profile(2), a_profile(0, error="pid 7 is gone"), duration=1, continuous=True, pids=[7])
    ending = await asyncio.wait_for(case.run.execute(), 5)
    assert (ending.samples, ending.error) == (2, "pid 7 is gone")
    assert of_run("c", ending, REPORTER).status == "completed"


async def test_no_samples_for_an_error_is_a_failure_with_the_reason() -> None:
    case = Case(a_profile(0, error="no permission"))
    completion = of_run("c", await case.run.execute(), REPORTER)
    assert (completion.status, completion.error_message, completion.results_path) == ("failed", "no permission", None)
    assert case.save.saved == []
    assert case.starts == 0


async def test_a_profile_that_is_good_in_part_is_completed_with_its_warnings() -> None:
    case = Case(a_profile(4, warnings=["pid 9 is gone"]))
    completion = of_run("c", await case.run.execute(), REPORTER)
    assert (completion.status, completion.error_message, completion.samples) == ("completed", "pid 9 is gone", 4)


async def test_a_profile_that_cannot_be_saved_is_a_failure_that_names_the_place() -> None:
    case = Case(a_profile(4))
    case.save.error = OSError(28, "No space left on device")
    completion = of_run("c", await case.run.execute(), REPORTER)
    assert completion.status == "failed"
    assert completion.error_message == "the profile could not be saved in /profiles: No space left on device"


async def test_a_defect_of_the_profilers_is_told_and_costs_no_saved_window() -> None:
    case = Case(a_profile(4), ValueError("oops"), continuous=True)
    completion = of_run("c", await case.run.execute(), REPORTER)
    assert (completion.status, completion.samples) == ("completed", 4)
    assert "ValueError: oops" in (completion.error_message or "")


def test_warnings_are_told_once_and_not_without_end() -> None:
    ending = Ending(samples=1, results_path="p", warnings=tuple(f"w{number}" for number in range(5_000)))
    completion = of_run("c", ending, REPORTER)
    assert (completion.error_message or "").endswith("; and 4980 more")


def test_profiles_join_into_one() -> None:
    whole = joined([a_profile(2, warnings=["a"]), a_profile(0, error="late"), a_profile(3, warnings=["a"])])
    assert (whole.samples, whole.elapsed_seconds, whole.warnings, whole.error) == (5, 3.0, ["a"], "late")
    assert [process.samples for process in whole.processes] == [5]


def test_profiles_join_container_by_container() -> None:
    in_one = replace(a_profile(2), by_container={"c": {"python;main": 1}, "": {"python;main": 1}})
    whole = joined([in_one, a_profile(3), in_one])
    assert whole.apart == {"c": {"python;main": 2}, "": {"python;main": 5}}
    assert joined([a_profile(2), a_profile(3)]).apart == {"": {"python;main": 5}}


def names_in(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


async def test_old_profiles_make_room_for_new_ones(tmp_path: Path) -> None:
    old = tmp_path / "20250102T030405Z-old.html"
    old.touch()

    def save(profile: Profile, directory: Path, *, name: str, title: str) -> SavedProfile:
        saved = SavedProfile(directory / f"{name}.col", directory / f"{name}.html")
        saved.best.write_text(f"{title}: {profile.samples}")
        return saved

    run = Run(
        "c",
        StartConfig(duration=1, frequency=11),
        title="web on web-01",
        tools=Tools(FakeCapture(script=[a_profile(1)]), save, tmp_path, WORK, keep=1),
        on_start=lambda: None,
    )
    ending = await run.execute()
    assert names_in(tmp_path) == [Path(ending.results_path or "").name]


async def test_a_profile_carries_the_capture_id_of_its_command() -> None:
    case = Case(a_profile(7), capture_id="r-1")
    await case.run.execute()
    assert [profile.capture_id for _, profile in case.save.saved] == ["r-1"]


async def test_a_run_that_outlives_its_time_is_ended_keeps_what_it_has_and_has_failed() -> None:
    case = Case(duration=1)
    case.hurry(grace=0.1, patience=5)
    case.capture.deaf_to_time = True
    ending = await asyncio.wait_for(case.run.execute(), 10)
    assert ending.samples == 3
    completion = of_run("c", ending, REPORTER)
    assert (completion.status, completion.samples) == ("failed", 3)
    assert completion.error_message == "it outlived its 1 s by 0 s and was ended"
    assert completion.results_path is not None


async def test_an_agent_that_was_stopped_meanwhile_does_not_blame_its_profilers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runner, "_FROZEN", 0.2)
    case = Case(duration=1)
    case.hurry(grace=0.1, patience=5)
    task = await case.begun()
    time.sleep(1.6)  # noqa: ASYNC251 -- as SIGSTOP does
    ending = await asyncio.wait_for(task, 5)
    assert (ending.samples, ending.error, ending.ended_by_guard) == (3, None, None)


async def test_profilers_that_will_not_end_are_given_up_on() -> None:
    case = Case(duration=60)
    case.hurry(grace=60, patience=0.1)
    case.capture.deaf_to_time = case.capture.deaf_to_stop = True
    task = await case.begun()
    case.run.stop()
    ending = await asyncio.wait_for(task, 5)
    assert ending.error == "the profilers did not end when they were told to, and were killed"
    assert case.capture.cancelled == 1


async def test_a_run_that_the_host_ends_has_failed_and_keeps_its_samples() -> None:
    case = Case()
    task = await case.begun()
    case.run.end("over this host's budget: too much")
    completion = of_run("c", await asyncio.wait_for(task, 5), REPORTER)
    assert (completion.status, completion.samples) == ("failed", 3)
    assert completion.error_message == "over this host's budget: too much"
    assert completion.results_path is not None


async def test_what_a_command_says_of_profilers_reaches_them_and_what_it_says_amiss_is_told() -> None:
    case = Case(a_profile(7), profiler_configs={"pyspy": "disabled", "perf": "sometimes"}, max_processes=3)
    await case.run.execute()
    (request,) = case.capture.requests
    assert (list(request.configs.disabled), request.configs.max_targets) == (["py-spy"], 3)
    assert request.configs.not_understood == ("profiler_configs.perf is not understood and was left out: 'sometimes'",)
