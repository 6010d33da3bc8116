"""What the benchmark makes of its measurements; how large they are is another matter."""

from typing import Any

import pytest

from bench import agent


def one(rate: float, cpu_seconds: float = 1.0, seconds: float = 10.0) -> dict[str, float]:
    return {"rate": rate, "rate_of_cpu": rate / 2, "cpu_seconds": cpu_seconds, "seconds": seconds, "rss_mib": 50}


MEASURED: dict[str, Any] = {
    "machine": {
        "cpu": "a CPU", "cores": 2, "load_average": 0.1, "system": "Linux 6", "python": "3.11", "perf": "6.1",
        "packages": {"py-spy": "0.4"},
    },
    "idle": {
        name: {"cpu_percent": percent, "rss_mib": 51.0, "own_mib": 36.0, "beats": 2.0, "seconds": 60.0}
        for name, percent in (("held 25 s", 0.01), ("every 30 s", 0.02))
    },
    "busy": {
        "nothing": [one(100), one(200)], "gprofiler": [one(99, 2.0), one(196, 4.0)],
        "py-spy alone": [one(99), one(198)],
        "perf alone": [one(101), one(200)],
    },
    "seconds": 10.0,
}  # fmt: skip


def test_slower_is_told_against_nothing_in_the_same_round() -> None:
    assert agent.slowdowns(MEASURED["busy"])["gprofiler"] == pytest.approx([1.0, 2.0])
    assert agent.slowdowns(MEASURED["busy"])["perf alone"] == pytest.approx([-1.0, 0.0])


def test_the_table_has_a_row_for_each_way_and_says_what_was_asked() -> None:
    table = agent.told(MEASURED).splitlines()
    rows = [
        line.split("  ")[0] for line in table if line.startswith(("held", "every", "gprofiler", "py-spy", "perf a"))
    ]
    assert rows == ["held 25 s", "every 30 s", "gprofiler", "py-spy alone", "perf alone"]
    row = next(line for line in table if line.startswith("gprofiler"))
    assert row.split()[1:] == ["1.50%", "1.00%", "2.00%", "1.50%", "3.00", "15.00%"]
    assert "(0.02 %) and 60 MiB (51.0 MiB)" in table[-1]
