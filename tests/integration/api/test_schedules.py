"""Schedules over HTTP: made, listed, followed, paused, resumed, changed and deleted, each by whom it concerns."""

from calendar import isleap
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.support.api import SCHEDULES, Api
from tests.support.refusals import check_problem
from tests.support.routes import A_SCHEDULE
from tests.support.servers import everything_in


def make(api: Api, *, token: str | None = None, key: str | None = None, **given: Any) -> dict[str, Any]:
    headers = {"Idempotency-Key": key} if key else {}
    made: dict[str, Any] = api.ok(
        "POST", SCHEDULES, token=token or api.admin, json={**A_SCHEDULE, **given}, headers=headers
    )
    return made


def change(api: Api, schedule: dict[str, Any], **given: Any) -> httpx.Response:
    return api.call("PATCH", f"{SCHEDULES}/{schedule['id']}", token=given.pop("token", api.admin), json=given)


def test_a_schedule_is_made_followed_paused_resumed_and_deleted(bare_api: Api) -> None:
    made = make(bare_api, timezone="Europe/Berlin")
    assert (made["state"], made["owner"] == made["created_by"], made["firings"]) == ("active", True, [])
    coming = [datetime.fromisoformat(text) for text in made["next_firings"]]
    assert len(coming) == 5
    assert datetime.fromisoformat(made["next_fire_at"]) == coming[0]
    assert all(at.utcoffset() in {timedelta(hours=1), timedelta(hours=2)} for at in coming), "in the schedule's zone"

    paused = change(bare_api, made, enabled=False).json()
    assert (paused["state"], paused["next_fire_at"], paused["next_firings"]) == ("paused", None, [])
    assert paused["reason"] == f"paused by token {made['owner']}"
    resumed = change(bare_api, made, enabled=True).json()
    assert (resumed["state"], resumed["reason"]) == ("active", None)
    assert resumed["next_fire_at"] == made["next_fire_at"]

    path = f"{SCHEDULES}/{made['id']}"
    shown = bare_api.ok("GET", path, token=bare_api.admin)
    assert shown == {name: value for name, value in resumed.items() if name not in {"next_firings", "warnings"}}
    assert bare_api.ok("DELETE", path, token=bare_api.admin)["id"] == made["id"]
    for method in ("GET", "DELETE", "PATCH"):
        answer = bare_api.call(method, path, token=bare_api.admin, json={"enabled": True})
        assert answer.status_code == 404
        check_problem(answer, code="not_found", fields=["schedule_id"])


def test_a_dry_run_says_when_and_changes_nothing(bare_api: Api) -> None:
    made = make(bare_api)
    before = everything_in(bare_api.settings)
    plan = make(bare_api, cron="0 0 29 2 *", dry_run=True)
    years = range(datetime.now(UTC).year, datetime.now(UTC).year + 13)
    leap_days = [datetime(year, 2, 29, tzinfo=UTC) for year in years if isleap(year)]
    to_come = [f"{day:%Y-%m-%d}" for day in leap_days if day > datetime.now(UTC)]
    assert [text[:10] for text in plan["next_firings"]][:2] == to_come[:2]
    assert change(bare_api, made, cron="0 0 29 2 *", dry_run=True).json() == plan
    assert everything_in(bare_api.settings) == before


def test_the_list_goes_page_by_page_and_shows_what_the_token_covers(bare_api: Api) -> None:
    operator, _ = bare_api.make_token("operator", "paged")
    request = {"service_name": "paged", "target_hostnames": ["a"]}
    ids = [make(bare_api, request=request, name=f"n{number}")["id"] for number in range(5)]
    seen: list[str] = []
    cursor: str | None = ""
    for _ in range(3):
        page = bare_api.ok("GET", SCHEDULES, token=operator, params={"limit": 2, "cursor": cursor})
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert seen == ids
    assert cursor is None


def test_whoever_changes_a_schedule_owns_it(bare_api: Api) -> None:
    """Otherwise a token of one service could have another's token profile a service that it does not cover itself."""
    made = make(bare_api)
    secret, token_id = bare_api.make_token("operator", "web")
    changed = change(bare_api, made, name="other", token=secret).json()
    assert (changed["owner"], changed["created_by"]) == (token_id, made["owner"])
    elsewhere = change(
        bare_api, made, request={"service_name": "db", "target_hostnames": ["a"]}, token=secret
    )  # fmt: skip
    assert elsewhere.status_code == 403
    check_problem(elsewhere, code="forbidden", fields=["request.service_name"])


def test_the_same_key_and_body_make_one_schedule(bare_api: Api) -> None:
    made = make(bare_api, key="k-1")
    assert make(bare_api, key="k-1")["id"] == made["id"]
    other = bare_api.call(
        "POST", SCHEDULES, token=bare_api.admin, json={**A_SCHEDULE, "name": "x"}, headers={"Idempotency-Key": "k-1"}
    )
    check_problem(other, code="idempotency_conflict", fields=["Idempotency-Key"])


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        ({"cron": "0 0 31 2 *"}, ["cron"]),
        ({"timezone": "Mars/Olympus", "cron": "x", "name": ""}, ["name", "timezone", "cron"]),
        ({"request": {"service_name": "web", "target_hostnames": [], "duration": 0}},
         ["request.duration", "request.target_hostnames"]),
        ({"request": {"service_name": "web", "target_hostnames": ["a"], "start_at": "2030-01-01T00:00:00Z"}},
         ["request.start_at"]),
        ({"request": "web"}, ["request"]),
        ({"colour": "red"}, ["colour"]),
        ({"overlap": "wait", "catch_up": -1, "pause_after": 1.5}, ["overlap", "catch_up", "pause_after"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_bad_fields_are_all_named_and_nothing_changes(
    bare_api: Api, method: str, given: dict[str, Any], fields: list[str]
) -> None:
    made = make(bare_api)
    before = everything_in(bare_api.settings)
    answer = (
        bare_api.call("POST", SCHEDULES, token=bare_api.admin, json={**A_SCHEDULE, **given})
        if method == "POST"
        else change(bare_api, made, **given)
    )
    assert answer.status_code == 422
    check_problem(answer, code="invalid", fields=fields)
    assert everything_in(bare_api.settings) == before


def test_a_change_of_nothing_is_refused(bare_api: Api) -> None:
    check_problem(change(bare_api, make(bare_api)), code="invalid", fields=["body"])


def test_unknown_fields_of_the_request_are_told(bare_api: Api) -> None:
    made = make(bare_api, request={"service_name": "web", "target_hostnames": ["a"], "durration": 5})
    assert made["warnings"] == ["unknown field 'request.durration' was ignored"]


@pytest.mark.parametrize("params", [{"cursor": "x"}, {"limit": 0}, {"limit": 1_001}])
def test_a_bad_page_is_refused(bare_api: Api, params: dict[str, Any]) -> None:
    answer = bare_api.call("GET", SCHEDULES, token=bare_api.admin, params=params)
    check_problem(answer, code="invalid", fields=list(params))
