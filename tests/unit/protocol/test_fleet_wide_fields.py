"""The fields that say which hosts of many, how many at a time, and when: what they take and what they refuse."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from protocol.requests import ProfileRequest
from protocol.shares import share_of

ENOUGH: dict[str, Any] = {"service_name": "web", "target_hostnames": ["web-01"]}
NOW = datetime(2026, 1, 8, 12, tzinfo=UTC)
NO_SHARES = [-1, 100_001, True, 1.5, "x", "", "10", "%", "101%", "-1%", "1.5%", " 5%", "5 %", "05%", "٣%", [], {}]


def asked(**fields: Any) -> ProfileRequest:
    return ProfileRequest.model_validate({**ENOUGH, **fields}, context={"now": NOW.timestamp()})


def faults(**fields: Any) -> dict[str, str]:
    """Field -> code of the fault, for a body that is refused."""
    with pytest.raises(ValidationError) as caught:
        asked(**fields)
    return {".".join(map(str, error["loc"])): error["type"] for error in caught.value.errors()}


@pytest.mark.parametrize("share", [1, 3, 100_000, "1%", "10%", "100%"])
def test_a_share_is_a_count_or_a_percentage(share: int | str) -> None:
    request = asked(sample=share, max_concurrency=share, max_errors=share)
    assert (request.sample, request.max_concurrency, request.max_errors) == (share, share, share)


@pytest.mark.parametrize("share", [*NO_SHARES, 0, "0%"])
@pytest.mark.parametrize("field", ["sample", "max_concurrency"])
def test_what_is_no_share_is_refused(field: str, share: Any) -> None:
    assert faults(**{field: share}) == {field: "share"}


@pytest.mark.parametrize("share", NO_SHARES)
def test_what_is_no_number_of_errors_is_refused(share: Any) -> None:
    assert faults(max_concurrency=1, max_errors=share) == {"max_errors": "share"}


@pytest.mark.parametrize("none", [0, "0%"])
def test_no_error_at_all_may_be_allowed(none: int | str) -> None:
    assert asked(max_concurrency=1, max_errors=none).max_errors == none


@pytest.mark.parametrize(
    ("share", "total", "least", "count"),
    [
        (3, 10, 1, 3), (30, 10, 1, 10), ("10%", 20, 1, 2), ("10%", 19, 1, 1), ("1%", 5, 1, 1), ("100%", 7, 1, 7),
        (0, 10, 0, 0), ("10%", 9, 0, 0), ("1%", 0, 1, 0),
    ],
)  # fmt: skip
def test_a_share_of_so_many_hosts_is_rounded_down_but_not_below_the_least(
    share: int | str, total: int, least: int, count: int
) -> None:
    assert share_of(share, total, least=least) == count


@pytest.mark.parametrize("text", ["2026-01-08T12:00:01Z", "2026-01-15T12:00:00Z", "2026-01-08T14:00:01+02:00"])
def test_a_start_lies_ahead_by_up_to_seven_days(text: str) -> None:
    assert asked(start_at=text).start_at == datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("2026-01-08T12:00:00Z", "not_ahead"),
        ("2026-01-15T12:00:01Z", "not_ahead"),
        ("0001-01-01T00:00:00+14:00", "not_ahead"),
        ("9999-12-31T23:59:59-14:00", "not_ahead"),
        ("2026-01-08T13:00:00", "timezone_aware"),
        ("now", "moment"), ("1767960000", "moment"), (1767960000, "moment"), (True, "moment"), ([], "moment"),
    ],
)  # fmt: skip
def test_a_start_that_is_no_moment_ahead_is_refused(value: Any, code: str) -> None:
    assert faults(start_at=value) == {"start_at": code}


def test_moments_are_held_against_the_clock_only_where_it_is_given() -> None:
    past = {**ENOUGH, "start_at": "2020-01-01T00:00:00Z"}
    assert ProfileRequest.model_validate(past).start_at == datetime(2020, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("field", "value"),
    [("sample", 1), ("max_concurrency", 1), ("start_at", "2026-01-08T13:00:00Z")],
)
def test_they_are_for_starts(field: str, value: Any) -> None:
    assert faults(command_type="stop", **{field: value}) == {field: "not_for_stops"}


def test_what_contradicts_each_other_is_refused_at_the_later_field() -> None:
    later = "2026-01-08T13:00:00Z"
    assert faults(max_errors=1) == {"max_errors": "missing_max_concurrency"}
    assert faults(max_concurrency=1, continuous=True) == {"max_concurrency": "contradiction"}
    assert faults(max_concurrency=1, start_at=later) == {"start_at": "contradiction"}
    assert faults(max_concurrency=0, max_errors=1) == {"max_concurrency": "share"}
