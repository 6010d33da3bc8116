"""How much a token may do, by profile and by single numbers."""

import re
from pathlib import Path

import pytest

from api.limit_settings import IN_MEMORY, PROFILES, Lane, LimitSettings
from api.limits import ADMINISTRATION, address_of, lane_of
from api.submission import lane_of_submission
from broker.errors import BadConfig
from broker.quotas import Quota

FLEETS = {"small": 1_000, "medium": 10_000, "large": 100_000}


@pytest.mark.parametrize("name", FLEETS)
def test_a_fleet_on_one_token_comes_back_at_once_and_beats_every_five_seconds(name: str) -> None:
    profile = PROFILES[name]  # type: ignore[index]  # the name comes from a plain list
    assert set(profile) == set(Lane)
    assert profile[Lane.HEARTBEATS].amount >= FLEETS[name]
    assert profile[Lane.HEARTBEATS].amount / profile[Lane.HEARTBEATS].seconds >= FLEETS[name] / 5


def test_the_docs_tell_every_number() -> None:
    page = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
    for lane in Lane:
        row = re.search(rf"^\| `{lane}` \| `PCS_LIMIT_{lane.upper()}` \| .*\|$", page, re.MULTILINE)
        assert row is not None, lane
        told = [cell.strip() for cell in row[0].split("|")][4:8]
        quotas = [
            f"{PROFILES[name][lane].amount:,}/{PROFILES[name][lane].seconds}" for name in PROFILES if name != "off"
        ]
        assert told == [*quotas, "by each API process" if lane in IN_MEMORY else "in the broker"]


def test_each_number_can_be_set_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCS_LIMITS", "small")
    monkeypatch.setenv("PCS_LIMIT_STOPS", "7/30")
    monkeypatch.setenv("PCS_LIMIT_READS", "off")
    quotas = LimitSettings().quotas()
    expected = {**PROFILES["small"], Lane.STOPS: Quota(7, 30)}
    del expected[Lane.READS]
    assert quotas == expected


def test_off_limits_nothing_but_what_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert LimitSettings(limits="off").quotas() == {}
    assert LimitSettings(limits="off", limit_admin="1/1").quotas() == {Lane.ADMIN: Quota(1, 1)}


@pytest.mark.parametrize("text", ["", "5", "0/60", "5/0", "-1/5", "5/60s", "1e3/5", "5/100000", " 5/60"])
def test_a_number_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadConfig, match="PCS_LIMIT_READS"):
        LimitSettings(limit_reads=text)


@pytest.mark.parametrize(
    ("method", "route", "lane"),
    [
        ("POST", "/api/metrics/heartbeat", Lane.HEARTBEATS),
        ("POST", "/api/metrics/command_completion", Lane.COMPLETIONS),
        ("POST", "/api/metrics/profile_request", None),
        ("POST", "/api/v1/schedules", Lane.SUBMISSIONS),
        ("PATCH", "/api/v1/schedules/{schedule_id}", Lane.SUBMISSIONS),
        ("POST", "/api/v1/dead_letters/{letter_id}/replay", Lane.SUBMISSIONS),
        ("DELETE", "/api/v1/requests/{request_id}", Lane.CANCELS),
        ("DELETE", "/api/v1/schedules/{schedule_id}", Lane.CANCELS),
        ("DELETE", "/api/v1/tokens/{token_id}", Lane.CANCELS),
        ("GET", "/api/v1/hosts", Lane.READS),
        ("HEAD", "/api/v1/tokens", Lane.READS),
        *(("POST", path, Lane.ADMIN) for path in ADMINISTRATION),
    ],
)
def test_each_route_is_in_a_lane(method: str, route: str, lane: Lane | None) -> None:
    assert lane_of(method, route) == lane


@pytest.mark.parametrize("name", ["command_type", "request_type"])
def test_a_stop_is_told_by_its_body_in_either_spelling(name: str) -> None:
    assert lane_of_submission({name: "stop"}) is Lane.STOPS
    assert lane_of_submission({name: "start", "note": "stop"}) is Lane.SUBMISSIONS
    assert lane_of_submission({name: ["stop"]}) is Lane.SUBMISSIONS


@pytest.mark.parametrize(
    ("client", "counted_as"),
    [
        (("10.0.0.1", 5), "10.0.0.1"),
        (("2001:db8:1:2:aaaa::1", 5), "2001:db8:1:2::/64"),
        (("2001:db8:1:2:bbbb::2", 6), "2001:db8:1:2::/64"),
        (("testclient", 5), "testclient"),
        (None, "nobody"),
    ],
)
def test_an_address_of_ipv6_counts_for_its_network(client: tuple[str, int] | None, counted_as: str) -> None:
    assert address_of(client) == counted_as
