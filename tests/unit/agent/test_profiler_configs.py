"""`profiler_configs` in the words of this field's agents and consoles."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.profiler_configs import (
    MOST_TOLD,
    NO_CONFIGS,
    ProfilerConfigs,
    named,
    run_request_extras,
    size_in_bytes,
)
from protocol.commands import StartConfig


def told(**extra: Any) -> ProfilerConfigs:
    """What a start with these keys beside the usual ones says."""
    return run_request_extras(StartConfig.model_validate({"duration": 60, "frequency": 11, **extra}))


def configs(**profilers: Any) -> ProfilerConfigs:
    return told(profiler_configs=profilers)


def test_a_start_that_says_nothing_of_profilers_uses_them_all() -> None:
    assert told() == NO_CONFIGS
    assert configs() == NO_CONFIGS
    assert told(profiler_configs=None) == NO_CONFIGS


def test_what_a_console_sends_by_default_is_understood_whole() -> None:
    said = configs(
        perf="enabled_restricted",
        async_profiler={"enabled": True, "time": "cpu"},
        pyperf="enabled",
        pyspy="enabled_fallback",
        rbspy="enabled",
        phpspy="enabled",
        dotnet_trace="enabled",
        nodejs_perf="enabled",
    )
    assert (said.not_understood, said.disabled, said.perf_bound) == ((), frozenset(), "restricted")
    assert said.enabled == {"perf", "java", "py-spy", "rbspy", "phpspy", "dotnet-trace", "node"}


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("perf", "perf"),
        ("async_profiler", "java"),
        ("pyspy", "py-spy"),
        ("py_spy", "py-spy"),
        ("rbspy", "rbspy"),
        ("phpspy", "phpspy"),
        ("dotnet_trace", "dotnet-trace"),
        ("nodejs_perf", "node"),
        ("memray", "memray"),
        ("Their_Own", "their-own"),
    ],
)
@pytest.mark.parametrize("off", ["disabled", "DISABLED", False, {"enabled": False}, {"mode": "disabled"}])
def test_each_profiler_is_switched_off_by_its_name_in_the_field(key: str, name: str, off: Any) -> None:
    said = configs(**{key: off})
    assert (sorted(said.disabled), sorted(said.enabled), list(said.not_understood)) == ([name], [], [])
    assert named(key) == name


@pytest.mark.parametrize(
    ("pyperf", "pyspy", "off"),
    [
        ("enabled", "enabled_fallback", False),
        ("disabled", "enabled", False),
        ("disabled", None, False),
        ("disabled", "disabled", True),
        (None, "disabled", True),
    ],
)
def test_the_two_switches_of_python_make_one(pyperf: str | None, pyspy: str | None, *, off: bool) -> None:
    said = configs(pyperf=pyperf, pyspy=pyspy)
    assert ("py-spy" in said.disabled, said.not_understood) == (off, ())


def test_pyperf_alone_leaves_python_without_a_profiler_and_says_so() -> None:
    said = configs(pyperf="enabled", pyspy="disabled")
    assert said.disabled == {"py-spy"}
    assert "this agent has no pyperf" in said.not_understood[0]


def test_perf_takes_a_bound_and_events() -> None:
    said = configs(perf={"mode": "enabled_aggressive", "events": ["cycles", "cache-misses", "cycles"]})
    assert (said.perf_bound, said.perf_events) == ("aggressive", ("cycles", "cache-misses"))
    assert configs(perf={"events": "instructions"}).perf_events == ("instructions",)
    assert configs(perf={"mode": "dwarf"}).options == {"perf": {"call_graph": "dwarf"}}


@pytest.mark.parametrize("events", [["-a"], ["cycles; rm"], [7], {}, ["x" * 200], ["\n"]])
def test_an_event_that_is_none_never_reaches_a_command_line(events: Any) -> None:
    said = configs(perf={"events": events})
    assert said.perf_events == ()
    assert said.not_understood[0].startswith("profiler_configs.perf.events is not understood")


@pytest.mark.parametrize(
    ("value", "clock", "mode"),
    [
        ({"enabled": True, "time": "cpu"}, "cpu", None),
        ({"time": "auto"}, "cpu", None),
        ({"time": "itimer"}, "itimer", None),
        ({"time": "wall"}, "wall", None),
        ("enabled_wall", "wall", None),
        ({"time": "alloc"}, "cpu", "allocation"),
        ("enabled_alloc", "cpu", "allocation"),
        ("enabled", "cpu", None),
    ],
)
def test_java_takes_the_clock_that_async_profiler_is_told(value: Any, clock: str, mode: str | None) -> None:
    said = configs(async_profiler=value)
    assert (said.java_clock, said.mode, said.not_understood) == (clock, mode, ())


def test_java_takes_the_bytes_between_two_samples_of_allocations() -> None:
    assert configs(async_profiler={"time": "alloc", "alloc_interval": "2MB"}).java_alloc_interval == 2_000_000
    said = configs(async_profiler={"time": "alloc", "alloc_interval": "plenty"})
    assert (said.java_alloc_interval, len(said.not_understood)) == (None, 1)


@pytest.mark.parametrize(
    ("text", "size"),
    [("512KiB", 524_288), ("2 mb", 2_000_000), ("1.5k", 1_536), ("100", 100), (4096, 4096), ("0", None), ("1TB", None),
     ("", None), (True, None), (-1, None), (None, None)],
)  # fmt: skip
def test_a_size_is_read_as_people_write_it(text: Any, size: int | None) -> None:
    assert size_in_bytes(text) == size


def test_the_number_of_processes_is_bounded() -> None:
    assert told(max_processes=10).max_targets == 10
    assert told(max_processes=0).max_targets == 1_000, "0 is no bound but ours"
    assert told(max_processes=10**9).max_targets == 1_000
    for bad in (-1, "10", True, 1.5):
        said = told(max_processes=bad)
        assert (said.max_targets, len(said.not_understood)) == (None, 1)


def test_what_is_not_understood_is_told_and_the_rest_holds() -> None:
    said = configs(
        perf="enabled_somehow", rbspy=["what"], async_profiler={"time": "sundial", "x": 1}, phpspy="disabled"
    )
    assert said.disabled == {"phpspy"}
    assert said.not_understood == (
        "profiler_configs.async_profiler.time is not understood and was left out: 'sundial'",
        "profiler_configs.async_profiler.x is not understood and was left out: 1",
        "profiler_configs.perf is not understood and was left out: 'enabled_somehow'",
        "profiler_configs.rbspy is not understood and was left out: ['what']",
    )
    assert told(profiler_configs="all").not_understood == (
        "profiler_configs is not understood and was left out: 'all'",
    )


def test_a_profiler_that_is_not_installed_is_told_unless_the_field_knows_it_and_it_is_off() -> None:
    said = configs(pref="disabled", theirs="enabled", nodejs_perf="disabled", perf="enabled")
    assert said.unknown(frozenset({"perf"})) == [
        "profiler_configs: this agent has no profiler 'pref'",
        "profiler_configs: this agent has no profiler 'theirs'",
    ]
    assert configs(nodejs_perf="enabled").unknown(frozenset({"perf"})) == [
        "profiler_configs: this agent has no profiler 'node'"
    ]


def test_a_plug_in_gets_the_keys_that_are_its_own() -> None:
    said = configs(my_gpu={"enabled": True, "device": 1}, other="loud")
    assert said.options == {"my-gpu": {"device": 1}, "other": {"mode": "loud"}}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(["perf", "async_profiler", "pyspy", "pyperf", "rbspy", "nodejs_perf", "mine"]) | st.text(
    max_size=9
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine draws slowly
@given(said=st.dictionaries(KEYS, JSON, max_size=5) | JSON, most=JSON)
def test_nothing_that_a_server_may_send_breaks_a_run(said: Any, most: Any) -> None:
    read = told(profiler_configs=said, max_processes=most)
    assert len(read.not_understood) <= MOST_TOLD + 1
    assert all(len(text) < 250 for text in read.not_understood)
    assert hash(read) == hash(read)
