"""The table of workers in `studio status`."""

from datetime import UTC, datetime
from typing import Any

import pytest

from cli.answers import WorkerRow
from cli.workers_table import short_name, span, table


def a_row(**given: Any) -> WorkerRow:
    fields = {
        "role": "dispatcher", "instance": "a-host-with-quite-a-long-name.example-4194304-0123abcd", "present": True,
        "last_pass_at": datetime.now(UTC), "last_pass_age": 2.34, "last_pass_seconds": 1.0012,
        "items_per_second": 12_345.6, "behind": 1_234_567, "oldest_seconds": 7_260.0,
    }  # fmt: skip
    return WorkerRow(**{**fields, **given})


def test_the_table_fits_a_narrow_terminal_and_says_what_is_unknown() -> None:
    unknown = a_row(role="jobs", items_per_second=None, oldest_seconds=None, behind=3, last_pass_seconds=None)
    idle = a_row(role="merger", behind=0, oldest_seconds=0.0, items_per_second=0.0)
    heading, *rows = table([a_row(), unknown, idle]).splitlines()
    assert max(map(len, [heading, *rows])) <= 80
    assert heading.split() == ["WORKER", "INSTANCE", "BEHIND", "OLDEST", "ITEMS/S", "LAST", "PASS", "TOOK"]
    assert rows[0].split() == [
        "dispatcher",
        "4194304-0123abcd",
        "1234567",
        "2",
        "h",
        "12345.6",
        "2.3",
        "s",
        "ago",
        "1.0",
        "s",
    ]
    assert rows[1].split() == ["jobs", "4194304-0123abcd", "3", "-", "-", "2.3", "s", "ago", "-"]
    assert rows[2].split() == ["merger", "4194304-0123abcd", "0", "-", "0.0", "2.3", "s", "ago", "1.0", "s"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "-"), (0.0031, "3 ms"), (1.25, "1.2 s"), (99.9, "99.9 s"), (100, "2 min"), (5_999, "100 min"),
        (7_200, "2 h"), (172_800, "2 d"),
    ],
)  # fmt: skip
def test_seconds_are_said_as_people_do(seconds: float | None, said: str) -> None:
    assert span(seconds) == said


def test_an_instance_is_named_without_its_host() -> None:
    assert short_name("web-01-77-abcd0123") == "77-abcd0123"
    assert short_name("plain") == "plain"
