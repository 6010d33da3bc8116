"""The body of a schedule: every field at fault is named."""

from typing import Any

import pytest
from pydantic import ValidationError

from protocol.requests import ProfileRequest
from protocol.schedules import ScheduleWish

REQUEST: dict[str, Any] = {"service_name": "web", "target_hostnames": ["web-01"]}


def body(**given: Any) -> dict[str, Any]:
    return {"name": "nightly", "cron": "30 2 * * *", "request": REQUEST, **given}


def test_what_is_left_out_has_its_default() -> None:
    wish = ScheduleWish.model_validate(body())
    assert (wish.timezone, wish.overlap, wish.catch_up, wish.pause_after, wish.enabled) == ("UTC", "skip", 300, 5, True)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"name": ""}, "name"),
        ({"cron": "0 0 31 2 *"}, "cron"),
        ({"cron": 5}, "cron"),
        ({"cron": None}, "cron"),
        ({"timezone": "Europe/Atlantis"}, "timezone"),
        ({"timezone": "../etc/passwd"}, "timezone"),
        ({"timezone": "Europe"}, "timezone"),
        ({"timezone": ""}, "timezone"),
        ({"overlap": "queue"}, "overlap"),
        ({"catch_up": -1}, "catch_up"),
        ({"catch_up": "60"}, "catch_up"),
        ({"pause_after": True}, "pause_after"),
        ({"enabled": 1}, "enabled"),
        ({"request": {"service_name": "web"}}, "request.target_hostnames"),
        ({"request": {**REQUEST, "duration": 0}}, "request.duration"),
        ({"request": {**REQUEST, "dry_run": True}}, "request"),
        ({"request": None}, "request"),
        ({"request": {**REQUEST, "target_hostnames": [f"host-{n:05}" for n in range(6_000)]}}, "request"),
        ({"every": "day"}, "every"),
    ],
)
def test_a_field_at_fault_is_named(given: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        ScheduleWish.model_validate(body(**given))
    assert [".".join(map(str, fault["loc"])) for fault in refused.value.errors()] == [field]


def test_every_field_at_fault_is_named_at_once() -> None:
    with pytest.raises(ValidationError) as refused:
        ScheduleWish.model_validate({"cron": "x", "timezone": "x", "request": {}})
    named = {".".join(map(str, fault["loc"])) for fault in refused.value.errors()}
    assert named == {"name", "cron", "timezone", "request.service_name", "request.target_hostnames"}


@pytest.mark.parametrize(
    "asked",
    [
        REQUEST,
        {**REQUEST, "pids": [3, 1], "command_type": "stop"},
        {"service_name": "web", "target_hosts": {"a": None, "b": [1]}, "request_type": "start"},
        {"service_name": "web", "target_scope": "service", "additional_args": {"x": {"y": None}}, "continuous": True},
    ],
)
def test_a_request_that_is_stored_and_read_again_is_the_same(asked: dict[str, Any]) -> None:
    once = ProfileRequest.model_validate(asked)
    again = ProfileRequest.model_validate(once.model_dump(mode="json", exclude_unset=True))
    assert again == once
