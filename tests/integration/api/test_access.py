"""Who may do what: every route, every kind of token, its own service and another one."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import redis
from fastapi.routing import iter_route_contexts

from api.app import create_app
from api.auth import LONGEST_SECRET
from api.settings import ApiSettings
from broker import keys
from broker.settings import BrokerSettings
from protocol.names import HostKey
from tests.support.api import COMPLETION, REQUEST, SCHEDULES, TOKENS, Api, PlayedAgent, bearer
from tests.support.processes import eventually
from tests.support.refusals import check_problem, check_tells_no_secret
from tests.support.routes import A_SCHEDULE, KEY, ROUTES, Route
from tests.support.servers import everything_in

STRANGERS: Final = ("none", "wrong", "revoked", "expired")


CALLERS: Final = (
    *STRANGERS, "admin", "first agent",
    *(f"{kind} of {service}" for kind in ("agent", "viewer", "operator", "admin") for service in ("web", "db")),
)  # fmt: skip


@pytest.fixture(scope="module")
def places(bare_api: Api) -> Iterator[dict[str, str]]:
    """What stands in the paths: a request for `web`, a token that may be revoked; and a host of each service."""
    for service in ("web", "db"):
        PlayedAgent(bare_api, f"{service}-01", service=service).beat()
    _, token_id = bare_api.make_token("viewer", "web")
    path = HostKey("default", "web", "web-01").path
    letter = {"kind": "doorbell", "host": path, "reason": "r", "attempts": "11", "at": "1"}
    with redis.Redis.from_url(bare_api.settings.url, decode_responses=True) as client:
        letter_id = f"0-{client.xadd(keys.dead_letters(0), letter)}"
    request_id = bare_api.submit("web-01")["request_id"]
    yield {
        "request_id": request_id, "token_id": token_id, "letter_id": letter_id,
        "service_name": "web", "hostname": "web-01",
    }  # fmt: skip
    bare_api.check_log()


def expected(route: Route, caller: str) -> tuple[int, str, str] | None:
    """The refusal that is due, or None."""
    kind, _, service = caller.removeprefix("first ").partition(" of ")
    if route.kinds is None:
        return None
    if caller in STRANGERS:
        return 401, "unauthenticated", "Authorization"
    if kind not in route.kinds:
        return KEY
    # Making tokens is nobody's within some services: it could grant itself the rest.
    covers_all = not service
    if route.to_others == KEY:
        return None if covers_all else KEY
    return None if covers_all or service == "web" else route.to_others


def test_every_route_stands_in_the_table(tmp_path: Path) -> None:
    settings = ApiSettings(state_dir=tmp_path, insecure_no_auth=True)
    app = create_app(settings, BrokerSettings(state_dir=tmp_path))
    routes = {
        (method, route.path)
        for route in iter_route_contexts(app.routes)
        for method in (route.methods or ())
        if method != "HEAD"
    }
    assert routes == set(ROUTES)


PAIRS: Final = [
    (at, caller)
    for at, route in ROUTES.items()
    for caller in (CALLERS if route.kinds is not None else ("none", "wrong"))
]


@pytest.mark.parametrize(("at", "caller"), PAIRS, ids=[f"{' '.join(at)} {caller}" for at, caller in PAIRS])
def test_a_route_serves_whom_it_should(
    bare_api: Api, keyring: dict[str, str | None], places: dict[str, str], at: tuple[str, str], caller: str
) -> None:
    method, path = at
    route = ROUTES[at]
    if "{schedule_id}" in path:  # a new one each time, as one of these routes deletes it
        made = bare_api.ok("POST", SCHEDULES, token=bare_api.admin, json=A_SCHEDULE)
        places = {**places, "schedule_id": made["id"]}
    before = everything_in(bare_api.settings)
    answer = bare_api.call(method, path.format(**places), token=keyring[caller], json=route.body, params=route.query)
    refusal = expected(route, caller)
    if refusal is None:
        assert answer.status_code == route.status, answer.text
        return
    status, code, field = refusal
    assert answer.status_code == status, answer.text
    assert everything_in(bare_api.settings) == before
    check_problem(answer, code=code, fields=[field])
    assert answer.headers.get("www-authenticate") == ("Bearer" if status == 401 else None)
    check_tells_no_secret(bare_api, answer)


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Basic YTpi", "{}", "Token {}", "Bearer {}x", "Bearer x{}", "Bearer {} {}"]
)
def test_a_token_comes_as_a_bearer_or_not_at_all(bare_api: Api, header: str) -> None:
    headers = {"Authorization": header.format(bare_api.admin, bare_api.admin)}
    answer = bare_api.http.get("/api/v1/hosts", headers=headers)
    assert answer.status_code == 401
    check_tells_no_secret(bare_api, answer)


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer "])
def test_the_scheme_may_be_written_in_any_case(bare_api: Api, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {bare_api.admin}"}
    assert bare_api.http.get("/api/v1/hosts", headers=headers).status_code == 200


@pytest.mark.parametrize("length", [LONGEST_SECRET, LONGEST_SECRET + 1, 8_192])
def test_a_very_long_token_is_as_unknown_as_any(bare_api: Api, length: int) -> None:
    assert bare_api.call("GET", "/api/v1/hosts", token="x" * length).status_code == 401


def test_a_token_in_the_address_is_none(bare_api: Api) -> None:
    answer = bare_api.http.get("/api/v1/hosts", params={"token": "pcs_x", "access_token": "pcs_x"})
    assert answer.status_code == 401


def test_the_list_of_hosts_shows_those_of_the_tokens_services_alone(
    bare_api: Api, keyring: dict[str, str | None], places: dict[str, str]
) -> None:
    for caller, seen in {"viewer of db": {"db"}, "operator of web": {"web"}, "admin": {"db", "web"}}.items():
        items = bare_api.ok("GET", "/api/v1/hosts", token=keyring[caller])["items"]
        assert {host["service_name"] for host in items} == seen
    others = bare_api.ok("GET", "/api/v1/hosts", token=keyring["viewer of db"], params={"service_name": "web"})
    assert others == {"items": [], "next_cursor": None}


def test_a_completion_without_service_is_unknown_to_an_agent_of_another_service(
    bare_api: Api, keyring: dict[str, str | None]
) -> None:
    command_id = bare_api.submit("web-01")["command_id"]
    body = {"command_id": command_id, "hostname": "web-01", "status": "completed"}
    before = everything_in(bare_api.settings)
    answer = bare_api.call("POST", COMPLETION, token=keyring["agent of db"], json=body)
    assert answer.status_code == 404
    check_problem(answer, code="unknown_command", fields=["command_id"])
    assert everything_in(bare_api.settings) == before


def test_a_revocation_bites_within_five_seconds(bare_api: Api) -> None:
    secret, token_id = bare_api.make_token("viewer", "*")
    assert bare_api.call("GET", "/api/v1/hosts", token=secret).status_code == 200
    revoked = bare_api.ok("DELETE", f"{TOKENS}/{token_id}", token=bare_api.admin)
    assert revoked["revoked_at"] is not None
    begun = time.monotonic()
    eventually(
        lambda: bare_api.call("GET", "/api/v1/hosts", token=secret).status_code == 401, within=5, what="the end of it"
    )
    assert time.monotonic() - begun < 5
    assert bare_api.ok("DELETE", f"{TOKENS}/{token_id}", token=bare_api.admin) == revoked


def test_a_token_is_told_once_and_listed_without_its_secret(bare_api: Api) -> None:
    made = bare_api.ok(
        "POST", TOKENS, token=bare_api.admin, json={"kind": "operator", "services": ["shop-*"], "expires_in": 60}
    )
    listed = bare_api.call("GET", TOKENS, token=bare_api.admin)
    assert made.pop("token") not in listed.text
    assert made in listed.json()
    assert made["services"] == ["shop-*"]
    assert made["revoked_at"] is None


@pytest.mark.parametrize(("service", "status"), [("shop-1", 200), ("shop-", 200), ("shop", 403), ("Shop-1", 403)])
def test_a_pattern_covers_the_services_it_matches(bare_api: Api, service: str, status: int) -> None:
    secret, _ = bare_api.make_token("operator", "shop-*")
    body = {"service_name": service, "target_hostnames": ["h"], "dry_run": True}
    assert bare_api.call("POST", REQUEST, token=secret, json=body).status_code == status


def test_a_path_that_is_none_and_a_method_that_is_none_are_problems_too(bare_api: Api) -> None:
    for method, path, status, code in (
        ("GET", "/api/v2/hosts", 404, "not_found"),
        ("PUT", TOKENS, 405, "method_not_allowed"),
        ("GET", REQUEST, 405, "method_not_allowed"),
    ):
        answer = bare_api.http.request(method, path, headers=bearer(bare_api.admin))
        assert answer.status_code == status
        check_problem(answer, code=code, fields=[])
