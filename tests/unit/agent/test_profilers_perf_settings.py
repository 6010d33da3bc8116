from pathlib import Path

import pytest

from agent.profiler_configs import ProfilerConfigs
from agent.profilers.perf import usable_events
from agent.profilers.perf_settings import BadPerfSettings, PerfSettings, asked_for, event_options


def test_smart_is_two_named_events_in_one_recording() -> None:
    assert event_options("fp", "cycles:u", stack_size=8192) == ["-g", "-e", "cycles:u"]
    assert event_options("dwarf", "cycles", stack_size=4096) == ["--call-graph", "dwarf,4096", "-e", "cycles"]
    assert event_options("smart", "cycles:u", stack_size=8192) == [
        "-d",
        "-e",
        "cycles/call-graph=fp,name=cycles_fp/u",
        "-e",
        "cycles/call-graph=dwarf,stack-size=8192,name=cycles_dwarf/u",
    ]


@pytest.mark.parametrize("size", [0, -8, 4095, 65_536])
def test_a_stack_size_that_perf_does_not_take_is_refused(size: int) -> None:
    with pytest.raises(BadPerfSettings, match="multiple of 8"):
        PerfSettings(dwarf_stack_size=size)


@pytest.mark.parametrize("mode", ["fp", "dwarf", "smart"])
def test_the_mode_is_what_was_asked_for_where_the_disk_bears_it(mode: str) -> None:
    settings = PerfSettings(mode=mode)  # type: ignore[arg-type]  # the three of them
    assert settings.affordable(frequency_hz=11, cpus=64, seconds=5) == mode


def test_stacks_are_not_copied_where_that_is_too_much_or_not_wanted() -> None:
    assert PerfSettings(mode="dwarf").affordable(frequency_hz=1_000, cpus=64, seconds=5) == "fp"
    assert PerfSettings(restricted=True).affordable(frequency_hz=1, cpus=1, seconds=5) == "fp"


def test_cycles_are_counted_only_where_the_kernel_has_a_counter_of_them(tmp_path: Path) -> None:
    (tmp_path / "software" / "events").mkdir(parents=True)
    assert usable_events(tmp_path) == ["cpu-clock"]
    arm = tmp_path / "armv8_pmuv3_0" / "events"
    arm.mkdir(parents=True)
    (arm / "cpu_cycles").touch()
    assert usable_events(tmp_path) == ["cycles", "cpu-clock"]


def test_a_command_chooses_how_stacks_are_followed() -> None:
    configs = ProfilerConfigs(options={"perf": {"call_graph": "dwarf", "stack_size": 16384}})
    assert asked_for(PerfSettings(), configs) == (PerfSettings(mode="dwarf", dwarf_stack_size=16384), [])
    assert (
        asked_for(PerfSettings(mode="fp"), ProfilerConfigs(options={"perf": {"call_graph": "auto"}}))[0].mode == "smart"
    )
    assert asked_for(PerfSettings(), ProfilerConfigs(perf_bound="restricted"))[0].restricted
    assert asked_for(PerfSettings(mode="fp"), ProfilerConfigs()) == (PerfSettings(mode="fp"), [])


def test_what_makes_no_sense_is_told_and_left_out() -> None:
    configs = ProfilerConfigs(options={"perf": {"call_graph": "lbr", "stack_size": 7}})
    settings, problems = asked_for(PerfSettings(), configs)
    assert settings == PerfSettings()
    assert [text for text in problems if "lbr" in text]
    assert [text for text in problems if "'7' bytes" in text]


def test_an_event_with_parameters_is_left_as_it_is() -> None:
    assert event_options("smart", "cpu/event=0x3c/", stack_size=8192) == ["-g", "-e", "cpu/event=0x3c/"]
