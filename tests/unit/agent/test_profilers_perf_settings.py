from pathlib import Path

import pytest

from agent.profilers.perf import usable_events
from agent.profilers.perf_settings import BadPerfSettings, PerfSettings, event_options


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
