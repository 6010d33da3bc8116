"""What may be asked of stored profiles beside their flame graph: compared, by function, over time."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from profiles.embedded import Embedded
from profiles.objects import Objects
from protocol.names import DEFAULT_TENANT
from tests.support.api import Api
from tests.support.engines import START, Shelf
from tests.support.refusals import check_problem

TIMES = {"start": "2026-05-04T10:00:00Z", "end": "2026-05-04T12:00:00Z"}
DIFF, FUNCTIONS, FUNCTION, TIMELINE = (
    f"/api/v1/flamegraph/{what}" for what in ("diff", "functions", "function", "timeline")
)  # fmt: skip


@pytest.fixture(scope="module")
def service(bare_api: Api) -> str:
    """A service that other files do not know, with two hosts now and one of them an hour ago."""
    name = "compared"
    shelf = Shelf(Embedded(Objects(str(bare_api.state_dir / "profile-store"))), DEFAULT_TENANT)
    shelf.add("a", "web;main;work 60\nweb;main;new 30\ndb;loop 10", service=name, at=START + timedelta(hours=1))
    shelf.add("b", "web;main;main 8", service=name, at=START + timedelta(hours=1))
    shelf.add("a", "web;main;work 5\nweb;main;gone 5", service=name)
    shelf.add("a", "web;alloc 4096", service=name, profiling_mode="allocation")
    return name


def asked(api: Api, path: str, service: str, **where: Any) -> httpx.Response:
    return api.call("GET", path, token=api.admin, params={"service": service, **TIMES, **where})


def told(api: Api, path: str, service: str, **where: Any) -> Any:
    answer = asked(api, path, service, **where)
    assert answer.status_code == 200, answer.text
    return answer.json()


LATER = {"start": "2026-05-04T11:00:00Z", "base_start": "2026-05-04T10:00:00Z", "base_end": "2026-05-04T11:00:00Z"}


def test_what_is_not_said_of_the_base_is_as_in_the_selection(bare_api: Api, service: str) -> None:
    found = told(bare_api, DIFF, service, hostname="a", **LATER)
    assert (found["samples"], found["base_samples"], found["stacks"], found["unit"]) == (100, 10, 4, "samples")
    (web, db) = found["root"]["children"]
    assert (web["name"], web["value"], web["base"], web["change"]) == ("web", 90, 10, -0.1)
    assert (db["name"], db["value"], db["base"], db["change"]) == ("db", 10, 0, 0.1)
    changes = {node["name"]: node["change"] for node in web["children"][0]["children"]}
    assert changes == {"work": 0.1, "gone": -0.5, "new": 0.3}
    hosts = told(bare_api, DIFF, service, hostname="a", base_hostname="b", start="2026-05-04T11:00:00Z")
    assert (hosts["samples"], hosts["base_samples"]) == (100, 8)
    cut = told(bare_api, DIFF, service, hostname="a", most_nodes=2, **LATER)
    assert (cut["cut_nodes"], cut["cut_samples"], cut["cut_base_samples"]) == (5, 100, 10)
    nothing = told(bare_api, DIFF, service, base_hostname="nobody")
    assert (nothing["samples"], nothing["base_samples"]) == (118, 0)


def test_a_comparison_comes_in_each_format_by_ending_and_by_accept(bare_api: Api, service: str) -> None:
    for ending, media_type, begins in (
        (".json", "application/json", '{"root":'), (".html", "text/html; charset=utf-8", "<!"),
        (".col", "text/plain; charset=utf-8", "web;main;work 50 60\nweb;main;gone 50 0\nweb;main;new"),
    ):  # fmt: skip
        by_ending = asked(bare_api, f"{DIFF}{ending}", service, hostname="a", **LATER)
        params = {"service": service, **TIMES, "hostname": "a", **LATER}
        accept = {"Accept": media_type.partition(";")[0]}
        by_accept = bare_api.call("GET", DIFF, token=bare_api.admin, params=params, headers=accept)
        assert by_ending.status_code == 200, by_ending.text
        assert by_ending.text.startswith(begins)
        assert by_ending.headers["content-type"] == by_accept.headers["content-type"] == media_type
        assert by_ending.content == by_accept.content
        assert "sandbox" in by_ending.headers["content-security-policy"]


def test_the_heaviest_functions_and_what_is_around_one(bare_api: Api, service: str) -> None:
    found = told(bare_api, FUNCTIONS, service, limit=2)
    assert found == {
        "items": [{"name": "work", "self": 65, "total": 65}, {"name": "new", "self": 30, "total": 30}],
        "samples": 118, "unit": "samples", "functions": 7, "cut_functions": 5, "cut_self": 23,
    }  # fmt: skip
    by_total = told(bare_api, FUNCTIONS, service, sort="-total")["items"]
    assert by_total[0] == {"name": "main", "self": 8, "total": 108}
    around = told(bare_api, FUNCTION, service, name="main")
    assert (around["function"], around["samples"]) == ({"name": "main", "self": 8, "total": 108}, 118)
    (web,) = around["callers"]["root"]["children"]
    assert (web["name"], web["value"], web["children"]) == ("web", 108, [])
    callees = {node["name"]: node["value"] for node in around["callees"]["root"]["children"]}
    assert callees == {"work": 65, "new": 30, "main": 8, "gone": 5}
    missing = told(bare_api, FUNCTION, service, name="nothing like it")
    assert (missing["function"]["total"], missing["callers"]["root"]["children"], missing["samples"]) == (0, [], 118)


def test_samples_over_time_stand_in_steps_without_a_gap(bare_api: Api, service: str) -> None:
    found = told(bare_api, TIMELINE, service, step=1800)
    assert (found["step"], found["samples"], found["unit"]) == (1800, 118, "samples")
    assert [(each["at"][11:16], each["samples"], each["profiles"]) for each in found["items"]] == [
        ("10:00", 10, 1), ("10:30", 0, 0), ("11:00", 108, 2), ("11:30", 0, 0),
    ]  # fmt: skip
    usual = told(bare_api, TIMELINE, service, hostname="b")
    assert (usual["step"], usual["samples"], len(usual["items"])) == (300, 8, 24)


BAD: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "both times": (
        DIFF, {"end": TIMES["start"], "base_start": TIMES["end"], "base_end": TIMES["start"]}, ["base_end", "end"],
    ),
    "the base's time": (DIFF, {"base_start": "2020-05-04T10:00:00Z"}, ["base_end"]),
    "no times": (
        DIFF, {"start": "soon", "base_end": "later", "most_nodes": 0, "base_hostname": ""},
        ["base_end", "base_hostname.0", "most_nodes", "start"],
    ),
    "several modes": (DIFF, {"profiling_mode": ["cpu", "allocation"]}, ["profiling_mode"]),
    "functions": (FUNCTIONS, {"sort": "name", "limit": 0, "end": "?"}, ["end", "limit", "sort"]),
    "no function": (FUNCTION, {"most_nodes": "all"}, ["most_nodes", "name"]),
    "an empty function": (FUNCTION, {"name": ""}, ["name"]),
    "several modes of functions": (FUNCTIONS, {"profiling_mode": ["cpu", "allocation"]}, ["profiling_mode"]),
    "no step": (TIMELINE, {"step": 0, "service": ""}, ["service", "step"]),
    "too many steps": (TIMELINE, {"step": 1}, ["step"]),
    "no time": (TIMELINE, {"end": TIMES["start"]}, ["end"]),
}  # fmt: skip


@pytest.mark.parametrize(("path", "where", "fields"), BAD.values(), ids=BAD)
def test_what_is_wrong_is_said_field_by_field(
    bare_api: Api, service: str, path: str, where: dict[str, Any], fields: list[str]
) -> None:
    answer = asked(bare_api, path, **{"service": service, **where})
    assert answer.status_code == 422, answer.text
    assert sorted({fault["field"] for fault in answer.json()["errors"]}) == fields


def test_allocation_is_compared_with_allocation(bare_api: Api, service: str) -> None:
    found = told(bare_api, DIFF, service, profiling_mode="allocation", base_hostname="b")
    assert (found["samples"], found["base_samples"], found["unit"]) == (4096, 0, "bytes")
    assert told(bare_api, TIMELINE, service, profiling_mode="allocation", step=86_400)["unit"] == "bytes"


def test_whoever_may_not_see_the_base_does_not(bare_api: Api, keyring: dict[str, str | None]) -> None:
    for service, base, field in (("web", "db", "base_service"), ("db", "web", "service"), ("web", "*", "base_service")):
        params = {"service": service, **TIMES, "base_service": base}
        answer = bare_api.call("GET", DIFF, token=keyring["viewer of web"], params=params)
        assert answer.status_code == 403
        check_problem(answer, code="forbidden", fields=[field])
    ours = {"service": "web", **TIMES, "base_service": "web"}
    assert bare_api.call("GET", DIFF, token=keyring["viewer of web"], params=ours).status_code == 200
