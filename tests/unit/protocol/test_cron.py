"""When a schedule fires: Debian's rules, in a named time zone, through both changes of the clocks."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import cron

BERLIN = "Europe/Berlin"


def local(*parts: int, zone: str = BERLIN, fold: int = 0) -> float:
    year, month, day, hour, minute = parts
    return datetime(year, month, day, hour, minute, fold=fold, tzinfo=ZoneInfo(zone)).timestamp()


def firings(expression: str, after: float, count: int = 3, zone: str = BERLIN) -> list[str]:
    return [f"{at:%m-%d %H:%M%z}" for at in cron.next_firings(expression, zone, after=after, count=count)]


def test_a_local_time_that_does_not_exist_fires_at_the_first_moment_after_the_gap() -> None:
    after = local(2026, 3, 28, 12, 0)
    assert firings("30 2 * * *", after) == ["03-29 03:00+0200", "03-30 02:30+0200", "03-31 02:30+0200"]


def test_a_local_time_that_occurs_twice_fires_at_the_first() -> None:
    after = local(2026, 10, 24, 12, 0)
    assert firings("30 2 * * *", after) == ["10-25 02:30+0200", "10-26 02:30+0100", "10-27 02:30+0100"]


@pytest.mark.parametrize("minute", [0, 10, 30, 59])
def test_nothing_fires_in_the_past_from_within_the_hour_that_occurs_twice(minute: int) -> None:
    after = local(2026, 10, 25, 2, minute, fold=1)
    assert firings("30 2 * * *", after, 1) == ["10-26 02:30+0100"]
    assert cron.next_firing("30 2 * * *", BERLIN, after=after) > after


def test_what_fires_every_half_hour_goes_on_through_both_changes() -> None:
    assert firings("*/30 * * * *", local(2026, 10, 25, 1, 30), 5) == [
        "10-25 02:00+0200", "10-25 02:30+0200", "10-25 02:00+0100", "10-25 02:30+0100", "10-25 03:00+0100",
    ]  # fmt: skip
    assert firings("*/30 * * * *", local(2026, 3, 29, 1, 0)) == [
        "03-29 01:30+0100", "03-29 03:00+0200", "03-29 03:30+0200",
    ]  # fmt: skip


def test_the_zone_says_when_it_is_nine() -> None:
    after = datetime(2026, 7, 1, tzinfo=UTC).timestamp()
    for zone, told in (("UTC", "09:00+0000"), ("Asia/Kolkata", "09:00+0530"), ("America/New_York", "09:00-0400")):
        assert firings("0 9 * * 1-5", after, 1, zone) == [f"07-01 {told}"]


EXPRESSIONS = ("30 2 * * *", "0 */2 * * *", "15 2,3 * * *", "*/20 * * * *", "0 3 * * 0", "5 1-3 * * *", "0 0 29 2 *")


@given(
    st.sampled_from(EXPRESSIONS),
    st.sampled_from([BERLIN, "UTC", "Australia/Lord_Howe", "America/Sao_Paulo"]),
    st.integers(1_700_000_000, 1_900_000_000),
)
def test_nothing_fires_between_the_last_firing_and_the_next(expression: str, zone: str, now: int) -> None:
    after, last = (
        cron.next_firing(expression, zone, after=now),
        cron.last_firing(expression, zone, until=now),
    )
    assert last <= now < after
    assert cron.next_firing(expression, zone, after=now - 1) in {now, after}


@pytest.mark.parametrize("expression", ["* * * * *", "0 0 29 2 *", "*/5 8-18 * JAN-MAR MON-FRI", "0 0 L * *"])
def test_what_cron_takes_is_taken(expression: str) -> None:
    assert cron.fault_of(expression) is None


@pytest.mark.parametrize(
    "expression",
    ["", "0 0 31 2 *", "0 0 30 2 *", "61 * * * *", "* * * *", "0 0 0 * * *", "@daily", "a b c d e", "*/0 * * * *",
     "5-1 * * * *", "-1 * * * *", "0 0 * * 8", "1," * 60 + "1 * * * *", "0 0 31 4,6,9,11 *", "\0 * * * *"],
)  # fmt: skip
def test_what_never_fires_or_is_no_cron_has_its_fault_told(expression: str) -> None:
    assert cron.fault_of(expression)


def test_a_zone_is_there_or_is_not() -> None:
    assert cron.is_there(BERLIN)
    assert not cron.is_there("Europe/Atlantis")
