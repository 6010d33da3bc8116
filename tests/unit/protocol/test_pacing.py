"""When to beat next: spread out, within bounds, also at the cap."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.pacing import (
    JITTER,
    MAX_INTERVAL,
    MAX_WAIT,
    MIN_INTERVAL,
    next_beat,
    retry_pause,
    stale_after,
)

SPREAD = st.floats(0, 1, exclude_max=True)
SECONDS = st.integers(0, 100_000).map(lambda seconds: timedelta(seconds=seconds))
A_BIT_LESS_THAN_ONE = 0.999999


@given(SECONDS, SPREAD)
def test_the_next_beat_is_the_interval_give_or_take_a_tenth(interval: timedelta, spread: float) -> None:
    held = min(max(interval, MIN_INTERVAL), MAX_INTERVAL)
    assert held * (1 - JITTER) <= next_beat(interval, spread=spread) <= held * (1 + JITTER)


def test_beats_are_spread_evenly_around_the_interval() -> None:
    interval = timedelta(seconds=30)
    assert next_beat(interval, spread=0) == timedelta(seconds=27)
    assert next_beat(interval, spread=0.5) == interval
    assert next_beat(interval, spread=A_BIT_LESS_THAN_ONE) > timedelta(seconds=32.9)


@pytest.mark.parametrize("interval", [timedelta(0), timedelta(seconds=-5), timedelta(milliseconds=1)])
def test_no_interval_makes_an_agent_beat_without_a_pause(interval: timedelta) -> None:
    assert next_beat(interval, spread=0) >= MIN_INTERVAL * (1 - JITTER)


def test_no_interval_makes_an_agent_fall_silent() -> None:
    assert next_beat(timedelta(days=365), spread=A_BIT_LESS_THAN_ONE) <= MAX_INTERVAL * (1 + JITTER)


@given(st.integers(1, 10_000), SECONDS.filter(lambda cap: cap >= timedelta(seconds=1)), SPREAD)
def test_a_retry_waits_at_least_half_its_base_and_never_more_than_the_cap(
    attempt: int, cap: timedelta, spread: float
) -> None:
    base = min(timedelta(seconds=2 ** min(attempt - 1, 20)), cap)
    assert base / 2 <= retry_pause(attempt, cap=cap, spread=spread) <= cap


@pytest.mark.parametrize("attempt", [1, 7, 12, 10_000])
def test_jitter_survives_the_cap(attempt: int) -> None:
    cap = timedelta(seconds=30)
    pauses = {retry_pause(attempt, cap=cap, spread=number / 100) for number in range(100)}
    assert len(pauses) == 100, "a fleet at the cap comes back in step"
    base = min(timedelta(seconds=2 ** min(attempt - 1, 20)), cap)
    assert max(pauses) - min(pauses) > 0.49 * base


def test_pauses_double_until_the_cap() -> None:
    cap = timedelta(seconds=60)
    pauses = [retry_pause(attempt, cap=cap, spread=0) / timedelta(seconds=0.5) for attempt in range(1, 9)]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]


@given(st.integers(1, 40), SPREAD)
def test_what_the_server_asks_for_is_a_floor_and_is_jittered_too(attempt: int, spread: float) -> None:
    asked = timedelta(seconds=120)
    pause = retry_pause(attempt, cap=timedelta(seconds=30), spread=spread, retry_after=asked)
    assert asked <= pause <= 1.5 * asked
    assert pause == asked * (1 + 0.5 * spread)


def test_a_short_retry_after_does_not_shorten_the_pause() -> None:
    cap = timedelta(seconds=60)
    assert retry_pause(9, cap=cap, spread=0, retry_after=timedelta(seconds=1)) == retry_pause(9, cap=cap, spread=0)


def test_a_host_is_stale_after_three_missed_beats_and_a_held_one() -> None:
    assert stale_after(timedelta(seconds=30)) == timedelta(seconds=90) + MAX_WAIT
