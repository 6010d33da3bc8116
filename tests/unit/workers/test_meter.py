"""What a role measures of itself."""

from workers.meter import Meter


def test_the_rate_is_that_of_the_last_minute() -> None:
    meter = Meter(started=0)
    meter.note(600, took=0.1, now=10)
    for second in range(60, 120):
        meter.note(3, took=0.25, now=second + 0.5)
    facts = meter.facts(now=119.9)
    assert facts == {"passes": 61, "items": 780, "items_per_second": 3.0, "last_pass_seconds": 0.25}


def test_a_young_role_is_measured_over_its_life() -> None:
    meter = Meter(started=100)
    meter.note(20, took=0.5, now=109)
    assert meter.facts(now=110)["items_per_second"] == 2.0


def test_an_idle_role_falls_to_nothing() -> None:
    meter = Meter(started=0)
    meter.note(20, took=0.5, now=1)
    meter.note(0, took=1.0, now=200)
    assert meter.facts(now=200) == {"passes": 2, "items": 20, "items_per_second": 0.0, "last_pass_seconds": 1.0}
