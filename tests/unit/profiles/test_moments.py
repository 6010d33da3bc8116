"""Moments and ids as callers say them: none of them breaks what reckons with it."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import TypeAdapter, ValidationError

from profiles.facts import profile_id_of
from profiles.moments import Moment
from profiles.shelves import HOUR, hour_of, path_of
from profiles.upload import BadUpload, read_json
from protocol.names import HostKey

said = TypeAdapter[datetime](Moment)


def test_a_moment_is_in_utc_whatever_offset_it_is_said_with() -> None:
    at = datetime(2026, 5, 4, 10, tzinfo=UTC)
    for text in ("2026-05-04T10:00:00", "2026-05-04T10:00:00Z", "2026-05-04T12:00:00+02:00"):
        assert said.validate_python(text) == at
        assert said.validate_python(text).utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "text",
    ["0001-01-01T00:00:00+14:00", "9999-12-31T23:30:00-14:00", "9999-12-31T23:30:00", "9000-01-01", "1969-12-31"],
)
def test_a_moment_at_the_end_of_the_calendar_is_none(text: str) -> None:
    with pytest.raises(ValidationError, match="must be from 1970 to 8999"):
        said.validate_python(text)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("0001-01-01T00:00:00+14:00", "2026-05-04T10:00:00"), ("9999-12-31T23:59:59", "9999-12-31T23:59:59"),
        ("8999-12-31T23:59:59", "8999-12-31T23:59:59"), ("2026-05-04T10:00:00", "9999-12-31T23:59:59-14:00"),
    ],
)  # fmt: skip
def test_an_upload_of_no_time_is_refused_by_its_field(start: str, end: str) -> None:
    body = {"hostname": "a", "start_time": start, "end_time": end, "profile": "main 1"}
    with pytest.raises(BadUpload, match=r"^(start|end)_time: "):
        read_json(json.dumps(body).encode(), tenant="t", service="s", now=datetime(2026, 5, 4, 11, tzinfo=UTC))


DIGEST = "0123456789abcdef0123456789abcdef"


def test_an_id_is_of_its_hour() -> None:
    began = datetime(2026, 5, 4, 10, 15, tzinfo=UTC)
    profile_id = profile_id_of(HostKey("t", "s", "h"), began, [b"x"])
    assert hour_of(profile_id) == datetime(2026, 5, 4, 10, tzinfo=UTC)
    assert path_of("raw", "t", "s", profile_id) == f"raw/t/s/2026-05-04/10/{profile_id}"


@pytest.mark.parametrize(
    "name",
    [
        "", "20260504T10", "20260504T10-", f"20260504T10-{DIGEST}/../../x", f"20260504T10-{DIGEST}\n",
        f"2026050T10-{DIGEST}", f"20260504T10-../{DIGEST[3:]}", f"20260504T10-{DIGEST.upper()}",
        f"20260504T24-{DIGEST}", f"99991231T23-{DIGEST}", f"20261301T00-{DIGEST}", f"\u0662026050T10-{DIGEST}",
    ],
)  # fmt: skip
def test_what_is_no_id_is_no_part_of_a_path(name: str) -> None:
    with pytest.raises(ValueError, match=r"no id|time data|unconverted"):
        path_of("raw", "t", "s", name)


def test_the_last_hour_of_the_last_day_of_ids_has_an_end() -> None:
    assert hour_of(f"89991231T23-{DIGEST}") + HOUR
