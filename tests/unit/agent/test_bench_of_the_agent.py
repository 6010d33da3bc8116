"""What the benchmark makes of its measurements; how large they are is another matter."""

import random
from typing import Any

import pytest

from bench import agent
from bench.slowdown import Window, estimate, order, slower


def window(way: str, *, speed: float = 100.0, share: float = 1.0, spent: float = 0.0, stolen: float = 0.0) -> Window:
    """Ten seconds of two cores in which the workload got that share of them, and went that fast."""
    used = share * (20.0 - stolen)
    return Window(way, seconds=10.0, cores=2, done=round(speed * used), used=used, stolen=stolen, spent=spent)


def test_a_window_is_compared_with_the_two_of_nothing_around_it() -> None:
    windows = [
        window("nothing", speed=100), window("x", speed=108.9), window("nothing", speed=120),
        window("x", speed=128.7), window("nothing", speed=140),
    ]  # fmt: skip
    assert slower(windows, "x", lambda one: one.rate) == pytest.approx([1.0, 1.0])
    with pytest.raises(ValueError, match=r"window 0 \(x\) does not stand between two"):
        slower(windows[1:], "x", lambda one: one.rate)


def test_what_the_machine_below_has_taken_is_no_slowness() -> None:
    windows = [window("nothing"), window("x", stolen=10, share=0.98), window("nothing", stolen=3)]
    assert slower(windows, "x", lambda one: one.share) == pytest.approx([2.0])
    assert slower(windows, "x", lambda one: one.speed) == pytest.approx([0.0], abs=0.01)
    assert windows[1].rate == pytest.approx(windows[1].share * windows[1].speed)


def test_the_estimate_is_as_wide_as_the_noise_and_says_what_it_cannot_say() -> None:
    dice = random.Random(3)
    quiet = estimate([1.0 + dice.gauss(0, 0.2) for _ in range(20)])
    loud = estimate([1.0 + dice.gauss(0, 9.0) for _ in range(20)])
    assert quiet.low < quiet.median < quiet.high
    assert loud.high - loud.low > 5 * (quiet.high - quiet.low)
    assert (quiet.within(2.0), loud.within(2.0), estimate([3.0, 3.1]).within(2.0)) == ("kept", "open", "missed")
    with pytest.raises(ValueError, match="no windows"):
        estimate([])


def test_every_way_stands_between_windows_of_nothing_once_a_round() -> None:
    sequence = order(["a", "b", "c"], 4, seed=1)
    assert set(sequence[::2]) == {"nothing"}
    assert len(sequence) == 2 * 12 + 1
    rounds = [sequence[start : start + 6 : 2] for start in range(1, 24, 6)]
    assert all(sorted(each) == ["a", "b", "c"] for each in rounds)
    assert len({tuple(each) for each in rounds}) > 1, "in another order now and then"
    assert order(["a"], 0, seed=1) == []


def measured(**more: Any) -> dict[str, Any]:
    names = ("held 25 s", "every 30 s")
    return {
        "machine": {
            "cpu": "a CPU", "cores": 2, "load_average": 0.1, "system": "Linux 6", "python": "3.11", "perf": "6.1",
            "packages": {"py-spy": "0.4"},
        },
        "idle": {
            name: {"cpu_percent": percent, "rss_mib": 51.0, "own_mib": 36.0, "beats": 2.0, "seconds": 60.0}
            for name, percent in zip(names, (0.01, 0.02), strict=True)
        },
        "windows": [], "magnified": [], "times": 20, "seconds": 10.0, **more,
    }  # fmt: skip


def test_the_table_has_a_row_for_each_way_and_says_what_was_asked() -> None:
    windows = [
        window("nothing"), window("gprofiler", share=0.99, spent=0.2),
        window("nothing"), window("perf", share=0.97, spent=0.6), window("nothing", speed=110),
    ]  # fmt: skip
    magnified = [window("nothing"), window("gprofiler", speed=96), window("nothing")]
    table = agent.told(measured(windows=windows, magnified=magnified)).splitlines()
    rows = [line.split() for line in table if line.startswith(("gprofiler", "perf", "held", "every"))]
    assert [row[0] for row in rows] == ["held", "every", "gprofiler", "perf", "gprofiler"]
    assert rows[2][1:8] == ["1", "0.20", "1.00%", "1.00%", "(1.00", "to", "1.00)"]
    assert rows[4][1:] == ["0.20%", "(0.20", "to", "0.20)"]
    assert any("(0.02 %) and 60 MiB (51.0 MiB)" in line for line in table)
    assert "asked: slower by at most 2 %: kept; of the cores alone: kept" in table
    assert "with nothing the processor's own speed went from +0.0 % to +10.0 % of its median" in table


def test_where_nothing_was_measured_nothing_is_told() -> None:
    assert len(agent.told(measured(idle={})).splitlines()) == 2
