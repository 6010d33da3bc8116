from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.acks import Acks
from agent.history import Finished, History, Received, Settled
from agent.planner import (
    Acknowledge,
    Fail,
    Finish,
    Ignore,
    NarrowRun,
    PauseRun,
    Receive,
    ReportAgain,
    RunView,
    StartRun,
    StopRun,
    plan,
)
from agent.replies import Defaults, Reply
from protocol.commands import StartConfig
from protocol.completions import Completion
from tests.support.agents import calm

NOW = datetime(2026, 1, 2, tzinfo=UTC)
WHOLE_HOST = RunView("r", pids=None)


def planned(
    command: dict[str, Any],
    *,
    history: History | None = None,
    run: RunView | None = None,
    beside: RunView | None = None,
    generation: int | None = 1,
) -> tuple[Any, ...]:
    reply = Reply(command_id="new", command=command, generation=generation)
    return plan(
        reply,
        history=history or History(),
        runs=[one for one in (run, beside) if one is not None],
        hostname="web-01",
        defaults=Defaults(),
        profilers_of=used,
    )


def used(config: StartConfig) -> frozenset[str]:
    return frozenset({"cpu": {"perf", "py-spy"}, "allocation": {"memray"}}.get(config.profiling_mode, set()))


def start(**config: Any) -> dict[str, Any]:
    return {"command_type": "start", "combined_config": {"duration": 5, "frequency": 11, **config}}


def stop(**config: Any) -> dict[str, Any]:
    return {"command_type": "stop", "combined_config": config}


def json_values() -> st.SearchStrategy[Any]:
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
    )


def commands() -> st.SearchStrategy[dict[str, Any]]:
    """Anything that could be in a reply, near to right."""
    keys = st.sampled_from(["duration", "frequency", "pids", "exclude_pids", "stop_level", "continuous", "x"])
    return st.fixed_dictionaries(
        {},
        optional={
            "command_type": st.sampled_from(["start", "stop"]) | json_values(),
            "combined_config": st.dictionaries(keys, json_values() | st.lists(st.integers(1, 9))) | json_values(),
        },
    )


def runs() -> st.SearchStrategy[RunView | None]:
    return st.none() | st.builds(RunView, st.just("r"), st.none() | st.frozensets(st.integers(1, 9), min_size=1))


@calm
@given(commands(), runs())
def test_a_command_in_the_ledger_is_never_carried_out_again(command: dict[str, Any], run: RunView | None) -> None:
    history = History.of([Received(command_id="new", kind="start", at=NOW)])
    assert planned(command, history=history, run=run) == (Acknowledge("new"),)


@calm
@given(commands(), runs())
def test_a_new_command_is_written_down_first_and_ends_in_one_way(command: dict[str, Any], run: RunView | None) -> None:
    first, *rest = planned(command, run=run)
    assert isinstance(first, Receive)
    assert first.command_id == "new"
    *before, last = rest
    assert isinstance(last, StartRun | Finish | Fail)
    assert last.command_id == "new"
    assert len(before) <= 1
    assert all(isinstance(action, StopRun | NarrowRun) and action.command_id == "r" for action in before)


@calm
@given(commands(), runs())
def test_nothing_starts_beside_a_run(command: dict[str, Any], run: RunView | None) -> None:
    actions = planned(command, run=run)
    if run is not None and isinstance(actions[-1], StartRun):
        assert actions[-2] == StopRun("r", superseded_by="new")


def test_no_command_is_nothing_to_do() -> None:
    (action,) = plan(Reply(), history=History(), runs=[], hostname="h", defaults=Defaults(), profilers_of=used)
    assert isinstance(action, Ignore)


def test_a_settled_command_offered_again_is_reported_again() -> None:
    done = Completion(command_id="new", hostname="h", status="completed")
    history = History.of([Finished(command_id="new", completion=done), Settled(command_id="new")])
    assert planned(start(), history=history) == (Acknowledge("new"), ReportAgain("new"))


def test_a_host_stop_ends_the_run() -> None:
    assert planned(stop(), run=WHOLE_HOST)[1:] == (StopRun("r"), Finish("new"))


def test_a_stop_with_nothing_to_stop_is_carried_out() -> None:
    assert planned(stop())[1:] == (Finish("new"),)


@pytest.mark.parametrize(
    ("run", "pids", "expected"),
    [
        (RunView("r", frozenset({1, 2})), [1], NarrowRun("r", frozenset({2}), frozenset())),
        (RunView("r", frozenset({1, 2})), [1, 2, 3], StopRun("r")),
        (RunView("r", None, frozenset({7})), [1], NarrowRun("r", None, frozenset({1, 7}))),
    ],
)
def test_a_process_stop_takes_its_processes_out(run: RunView, pids: list[int], expected: object) -> None:
    assert planned(stop(stop_level="process", pids=pids), run=run)[1:] == (expected, Finish("new"))


def test_a_stop_of_processes_that_are_not_sampled_leaves_the_run_alone() -> None:
    run = RunView("r", frozenset({1}))
    assert planned(stop(stop_level="process", pids=[9]), run=run)[1:] == (Finish("new"),)


def test_a_stop_with_pids_and_no_level_is_one_of_processes() -> None:
    assert planned(stop(pids=[1]), run=RunView("r", frozenset({1, 2})))[1] == NarrowRun(
        "r", frozenset({2}), frozenset()
    )


def test_what_a_start_does_not_say_is_filled_in_and_what_is_unknown_is_kept() -> None:
    action = planned({"command_type": "start", "combined_config": {"max_processes": 3, "duration": None}})[-1]
    assert isinstance(action, StartRun)
    assert (action.config.duration, action.config.frequency) == (60, 11)
    assert action.config.model_extra == {"max_processes": 3}


def test_pids_as_older_servers_write_them() -> None:
    action = planned(start(pids="12, 7"))[-1]
    assert isinstance(action, StartRun)
    assert action.config.pids == [7, 12]


@pytest.mark.parametrize(
    ("command", "word"),
    [
        (start(frequency=10**9), "frequency"),
        (start(duration=10**9), "duration"),
        (start(duration=0), "duration"),
        (start(duration="x"), "duration"),
        (start(profiling_mode="dream"), "profiling_mode"),
        (start(pids=[]), "pids"),
        (start(pids=""), "pids"),
        (start(pids=["x"]), "pids"),
        (start(pids=[0]), "pids"),
        (start(target_hostnames=["web-02"]), "other hosts"),
        (stop(stop_level="process"), "without pids"),
        ({"command_type": "dance"}, "dance"),
        ({"command_type": "start", "combined_config": [1]}, "combined_config"),
    ],
)
def test_a_command_that_makes_no_sense_fails_with_a_reason(command: dict[str, Any], word: str) -> None:
    received, failed = planned(command)
    assert received == Receive("new", "unreadable")
    assert isinstance(failed, Fail)
    assert word in failed.reason


def test_a_start_for_this_host_among_others_runs() -> None:
    assert isinstance(planned(start(target_hostnames=["web-01", "web-02"]))[-1], StartRun)


def test_an_ack_is_named_until_the_server_has_answered_it() -> None:
    acks = Acks().with_received("a")
    told = acks
    acks = acks.with_received("b").with_executed("a")
    assert acks.without(told) == Acks(received=("b",), executed=("a",))


def test_after_a_restart_everything_that_is_not_settled_is_named() -> None:
    done = Completion(command_id="b", hostname="h", status="completed")
    history = History.of(
        [
            Received(command_id="a", kind="start", at=NOW),
            Settled(command_id="a"),
            Finished(command_id="b", completion=done),
            Received(command_id="c", kind="start", at=NOW),
        ]
    )
    assert Acks.after_restart(history) == Acks(received=("b", "c"), executed=("b",))


def test_a_start_carries_its_configuration() -> None:
    action = planned(start(pids=[5], exclude_pids=[6], continuous=True))[-1]
    assert action == StartRun("new", StartConfig(duration=5, frequency=11, continuous=True, pids=[5], exclude_pids=[6]))


ONE_OFF = RunView("one-off", pids=None, profilers=frozenset({"perf", "py-spy"}))
CONTINUOUS = RunView("continuous", pids=None, continuous=True, profilers=frozenset({"perf", "py-spy"}))


def test_a_server_that_counts_generations_has_one_command_and_it_takes_the_place_of_all() -> None:
    _, *rest = planned(start(), run=CONTINUOUS, beside=ONE_OFF, generation=7)
    assert rest[:-1] == [StopRun("continuous", superseded_by="new"), StopRun("one-off", superseded_by="new")]
    assert isinstance(rest[-1], StartRun)
    assert not rest[-1].waits


def test_without_generations_a_one_off_run_lets_the_continuous_one_rest() -> None:
    _, *rest = planned(start(), run=CONTINUOUS, generation=None)
    assert rest[0] == PauseRun("continuous")
    assert isinstance(rest[1], StartRun)


def test_runs_that_share_no_profiler_go_side_by_side() -> None:
    _, *rest = planned(start(profiling_mode="allocation"), run=CONTINUOUS, generation=None)
    assert [type(action) for action in rest] == [StartRun]
    _, *rest = planned(start(profiling_mode="allocation", continuous=True), run=ONE_OFF, generation=None)
    assert [type(action) for action in rest] == [StartRun]
    assert not rest[0].waits


def test_a_continuous_run_waits_for_the_one_off_run_that_is_under_way() -> None:
    _, *rest = planned(start(continuous=True), run=ONE_OFF, generation=None)
    assert [type(action) for action in rest] == [StartRun]
    assert rest[0].waits


def test_a_run_takes_the_place_of_one_of_its_own_kind_alone() -> None:
    _, *rest = planned(start(continuous=True), run=CONTINUOUS, beside=ONE_OFF, generation=None)
    assert rest[0] == StopRun("continuous", superseded_by="new")
    assert rest[1].waits
    _, *rest = planned(start(), run=CONTINUOUS, beside=ONE_OFF, generation=None)
    assert rest[:-1] == [StopRun("one-off", superseded_by="new"), PauseRun("continuous")]


def test_a_stop_reaches_both_runs() -> None:
    assert planned(stop(), run=CONTINUOUS, beside=ONE_OFF)[1:] == (
        StopRun("continuous"), StopRun("one-off"), Finish("new"),
    )  # fmt: skip
    narrowed = planned(stop(pids=[5]), run=CONTINUOUS, beside=RunView("one-off", frozenset({5})))[1:]
    assert narrowed == (
        NarrowRun("continuous", pids=None, exclude_pids=frozenset({5})), StopRun("one-off"), Finish("new"),
    )  # fmt: skip
