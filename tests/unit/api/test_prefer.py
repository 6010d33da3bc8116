"""Reading `Prefer: wait` (RFC 7240)."""

import pytest

from api.preferences import preferred_wait


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        ("wait=25", 25),
        ("wait = 25", 25),
        ("WAIT=25", 25),
        ('wait="25"', 25),
        ("respond-async, wait=10", 10),
        ("wait=10, respond-async", 10),
        ("respond-async,wait=10,handling=lenient", 10),
        ("wait=10; strict", 10),
        ("wait=60", 60),
        ("wait=61", 60),
        ("wait=999999", 60),
        ("wait=0", 0),
        ("wait=0025", 25),
    ],
)
def test_a_wait_is_found_and_held_to_a_minute(prefer: str, seconds: int) -> None:
    assert preferred_wait([prefer]) == seconds


@pytest.mark.parametrize(
    "prefer",
    ["", "wait", "wait=", "wait=soon", "wait=-5", "wait=1.5", "wait=1e1", "wait=9999999", "nowait=5", "await=5",
     "wait=5s", "return=minimal", "wait=²", "wait 5"],
)  # fmt: skip
def test_what_is_no_wait_holds_nothing(prefer: str) -> None:
    assert preferred_wait([prefer]) == 0


def test_no_preference_holds_nothing() -> None:
    assert preferred_wait([]) == 0


def test_preferences_may_come_in_several_headers() -> None:
    assert preferred_wait(["respond-async", "wait=7"]) == 7
    assert preferred_wait(["wait=7", "wait=9"]) == 7, "the first one counts"
