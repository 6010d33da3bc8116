from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.guard_settings import Allowed, Budget
from agent.judgement import Reading, not_allowed, over_budget
from agent.profiler_configs import run_request_extras
from protocol.commands import StartConfig
from tests.support.agents import calm

MIB = 1024 * 1024


def at(second: float, *, cpu: float = 0.0, mib: float = 50, load: float = 0.5, free: int | None = None) -> Reading:
    return Reading(second, cpu, int(mib * MIB), load, {} if free is None else {"/profiles": free * MIB})


def asked(**config: Any) -> StartConfig:
    return StartConfig.model_validate({"duration": 60, "frequency": 11, **config})


def refused(allowed: Allowed, **config: Any) -> str | None:
    return not_allowed(asked(**config), run_request_extras(asked(**config)), allowed)


def test_within_its_budget_nothing_is_said() -> None:
    assert over_budget([], Budget()) is None
    assert over_budget([at(0), at(20, cpu=30, free=100)], Budget()) is None


def test_use_of_the_cpu_is_averaged_and_a_short_burst_is_none() -> None:
    budget = Budget(cpu_percent=100)
    assert over_budget([at(0), at(5, cpu=20)], budget) is None
    reason = over_budget([at(0), at(5, cpu=6), at(10, cpu=25)], budget)
    assert reason == (
        "over this host's budget: over 10 s the agent and its profilers used 250 % of a core, at most 100"
    )


def test_the_newest_span_counts_and_not_what_was_long_ago() -> None:
    budget = Budget(cpu_percent=100)
    readings = [at(second, cpu=min(second, 10) * 3) for second in range(31)]
    assert over_budget(readings[:12], budget) is not None
    assert over_budget(readings, budget) is None


def test_each_bound_is_named_with_its_numbers() -> None:
    budget = Budget(memory_bytes=100 * MIB, load_per_cpu=2.0, free_bytes=64 * MIB)
    assert over_budget([at(0, mib=512, load=3.25, free=3)], budget) == (
        "over this host's budget: the agent and its profilers take 512 MiB of memory, at most 100;"
        " the load for each CPU is 3.2, at most 2.0; 3 MiB are free in /profiles, at least 64 must be"
    )


def test_what_is_not_bounded_is_not_judged() -> None:
    nothing = Budget(cpu_percent=None, memory_bytes=None, load_per_cpu=None, free_bytes=None)
    assert over_budget([at(0), at(60, cpu=1e6, mib=1e6, load=1e3, free=0)], nothing) is None


@calm
@given(st.lists(st.tuples(st.floats(0.1, 5), st.floats(0, 2)), min_size=1, max_size=40))
def test_nobody_is_over_a_budget_that_they_never_exceed(steps: list[tuple[float, float]]) -> None:
    readings, now, cpu = [at(0)], 0.0, 0.0
    for seconds, cores in steps:
        now, cpu = now + seconds, cpu + seconds * cores
        readings.append(at(now, cpu=cpu))
    assert over_budget(readings, Budget(cpu_percent=200.1)) is None


def test_a_command_within_what_is_allowed_passes() -> None:
    allowed = Allowed(
        max_frequency_hz=11, max_duration=timedelta(minutes=1), modes=frozenset({"cpu"}),
        profilers=frozenset({"perf"}), continuous=False, only_pids=True,
    )  # fmt: skip
    assert refused(allowed, pids=[1]) is None
    assert refused(Allowed(), continuous=True, frequency=1000, duration=86_400) is None


def test_a_command_outside_is_refused_naming_each_field() -> None:
    allowed = Allowed(
        max_frequency_hz=10, max_duration=timedelta(seconds=30), modes=frozenset({"cpu"}),
        profilers=frozenset({"perf"}), continuous=False, only_pids=True,
    )  # fmt: skip
    reason = refused(allowed, continuous=True, profiling_mode="allocation", profiler_configs={"pyspy": "enabled"})
    assert reason == (
        "this host does not allow it: frequency: 11 Hz, at most 10; duration: 60 s, at most 30;"
        " profiling_mode: allocation, only cpu; continuous: not allowed;"
        " profiler_configs: py-spy, only perf; pids: the command must name processes"
    )


@pytest.mark.parametrize("mode", ["allocation", "wall", "none"])
def test_a_mode_that_the_profilers_settings_bring_in_is_judged_as_well(mode: str) -> None:
    assert refused(Allowed(modes=frozenset({"cpu"})), profiling_mode=mode) is not None
