"""Signing in at the page: what the cookie is good for, for whom, and until when; and what a foreign page gets of it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from http.cookies import SimpleCookie
from typing import Any, Final

import httpx
import pytest
import redis
from starlette.requests import Request
from starlette.responses import Response

from api.sign_ins import secret_in, set_cookie
from broker.identity import digest_of
from broker.sessions import Session
from tests.support.api import COMPLETION, HEARTBEAT, REQUEST, Api, PlayedAgent
from tests.support.processes import eventually
from tests.support.refusals import check_problem

SESSION: Final = "/api/v1/session"
SELF: Final = "/api/v1/tokens/self"
BY_OUR_PAGE: Final = {"X-Studio-Page": "1", "Sec-Fetch-Site": "same-origin"}
A_REQUEST: Final = {"service_name": "web", "target_hostnames": ["web-01"], "dry_run": True}


@pytest.fixture
def visitor(bare_api: Api) -> Iterator[httpx.Client]:
    """A client that keeps cookies, and knows no token."""
    with httpx.Client(base_url=bare_api.url, timeout=30, trust_env=False) as client:
        yield client


def sign_in(visitor: httpx.Client, token: str) -> httpx.Response:
    answer = visitor.post(SESSION, headers={"Authorization": f"Bearer {token}", **BY_OUR_PAGE})
    assert answer.status_code == 201, answer.text
    return answer


def test_a_token_buys_a_cookie_that_no_script_can_read_and_no_other_site_sends(
    bare_api: Api, visitor: httpx.Client
) -> None:
    answer = sign_in(visitor, bare_api.admin)
    cookie = SimpleCookie(answer.headers["set-cookie"])["studio_session"]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "strict", "/")
    assert not cookie["domain"]
    assert answer.headers["cache-control"] == "no-store"
    assert visitor.get(SELF).json()["kind"] == "admin"
    assert bare_api.admin not in answer.text + answer.headers["set-cookie"]
    assert cookie.value not in answer.text + bare_api.log


def test_the_broker_has_neither_the_cookie_nor_the_token(bare_api: Api, visitor: httpx.Client) -> None:
    sign_in(visitor, bare_api.admin)
    secret = visitor.cookies["studio_session"]
    with redis.Redis.from_url(bare_api.settings.url, decode_responses=True) as client:
        key = f"pcs:{{n:{digest_of(secret)}}}:session"
        stored, life = str(client.get(key)), int(str(client.ttl(key)))
    assert 0 < life <= 12 * 3_600
    assert digest_of(bare_api.admin) in stored
    assert secret not in stored
    assert bare_api.admin not in stored


def test_over_tls_the_cookie_is_secure_and_of_this_host_alone() -> None:
    scope: dict[str, Any] = {
        "type": "http", "method": "GET", "scheme": "https", "path": "/", "query_string": b"", "server": ("studio", 443),
        "headers": [(b"cookie", b"studio_session=planted-over-http; __Host-studio_session=ours")],
    }  # fmt: skip
    call, answer = Request(scope), Response()
    set_cookie(call, answer, "secret", Session("digest", datetime.now(UTC)))
    cookie = SimpleCookie(answer.headers["set-cookie"])["__Host-studio_session"]
    assert (cookie["secure"], cookie["httponly"], cookie["path"], cookie["domain"]) == (True, True, "/", "")
    assert secret_in(call) == "ours"


def test_signing_out_ends_the_session_also_for_who_has_copied_the_cookie(bare_api: Api, visitor: httpx.Client) -> None:
    sign_in(visitor, bare_api.admin)
    copied = visitor.cookies["studio_session"]
    assert visitor.delete(SESSION, headers=BY_OUR_PAGE).json() == {"success": True}
    assert "studio_session" not in visitor.cookies
    late = httpx.get(f"{bare_api.url}{SELF}", cookies={"studio_session": copied}, trust_env=False)
    check_problem(late, code="unauthenticated", fields=["Authorization"])


def test_a_revoked_token_ends_the_session_that_it_bought(bare_api: Api, visitor: httpx.Client) -> None:
    token, token_id = bare_api.make_token("viewer", "web")
    sign_in(visitor, token)
    assert visitor.get(SELF).json()["id"] == token_id
    bare_api.ok("DELETE", f"/api/v1/tokens/{token_id}", token=bare_api.admin)
    eventually(lambda: visitor.get(SELF).status_code == 401, within=10, what="the end of the session")


def test_a_rotated_secret_ends_the_session_that_it_bought(bare_api: Api, visitor: httpx.Client) -> None:
    token, token_id = bare_api.make_token("viewer", "web")
    sign_in(visitor, token)
    rotated = bare_api.ok("POST", f"/api/v1/tokens/{token_id}/rotate", token=bare_api.admin, json={"overlap": 0})
    bare_api.made_tokens.append(rotated["token"])
    eventually(lambda: visitor.get(SELF).status_code == 401, within=10, what="the end of the session")


@pytest.mark.parametrize("kind", ["agent", "enrolment"])
def test_a_token_that_is_no_persons_buys_none(bare_api: Api, visitor: httpx.Client, kind: str) -> None:
    token, _ = bare_api.make_token(kind, "web", **({"max_uses": 1} if kind == "enrolment" else {}))
    answer = visitor.post(SESSION, headers={"Authorization": f"Bearer {token}"})
    check_problem(answer, code="forbidden", fields=["Authorization"])
    assert not visitor.cookies


def test_a_session_buys_no_session(bare_api: Api, visitor: httpx.Client) -> None:
    sign_in(visitor, bare_api.admin)
    check_problem(visitor.post(SESSION, headers=BY_OUR_PAGE), code="unauthenticated", fields=["Authorization"])


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "same-origin"},
        {"X-Studio-Page": "1", "Sec-Fetch-Site": "cross-site"},
        {"X-Studio-Page": "1", "Sec-Fetch-Site": "same-site"},
        {"X-Studio-Page": "1", "Origin": "https://evil.example"},
        {"X-Studio-Page": "1", "Origin": "null"},
    ],
    ids=["nothing", "no header of ours", "another site", "a sister's site", "another origin", "a sandbox"],
)
def test_a_change_that_a_page_of_ours_did_not_make_is_refused(
    bare_api: Api, visitor: httpx.Client, headers: dict[str, str]
) -> None:
    sign_in(visitor, bare_api.admin)
    check_problem(visitor.post(REQUEST, headers=headers, json=A_REQUEST), code="forbidden", fields=["Cookie"])
    check_problem(visitor.delete("/api/v1/requests/r-1", headers=headers), code="forbidden", fields=["Cookie"])
    assert visitor.post(REQUEST, headers=BY_OUR_PAGE, json=A_REQUEST).status_code == 200


def test_what_another_site_has_the_browser_read_is_refused(bare_api: Api, visitor: httpx.Client) -> None:
    sign_in(visitor, bare_api.admin)
    check_problem(visitor.get(SELF, headers={"Sec-Fetch-Site": "cross-site"}), code="forbidden", fields=["Cookie"])
    assert visitor.get(SELF, headers={"Sec-Fetch-Site": "none"}).status_code == 200  # typed into the address bar


def test_an_agents_calls_do_not_take_the_cookie(bare_api: Api, visitor: httpx.Client) -> None:
    sign_in(visitor, bare_api.admin)
    beat = PlayedAgent(bare_api, "web-cookie").body()
    done = {"command_id": "c-1", "hostname": "web-cookie", "service_name": "web", "status": "completed"}
    for held in ({}, {"Prefer": "wait=1"}):
        check_problem(
            visitor.post(HEARTBEAT, json=beat, headers=BY_OUR_PAGE | held),
            code="unauthenticated",
            fields=["Authorization"],
        )
    for path, body in ((COMPLETION, done), ("/api/v1/enrol", {}), ("/api/v2/profiles?service=web", {})):
        answer = visitor.post(path, json=body, headers=BY_OUR_PAGE)
        check_problem(answer, code="unauthenticated", fields=["Authorization"])
    check_problem(visitor.get("/metrics"), code="unauthenticated", fields=["Authorization"])


def test_a_header_counts_before_the_cookie(bare_api: Api, visitor: httpx.Client) -> None:
    token, token_id = bare_api.make_token("viewer", "web")
    sign_in(visitor, bare_api.admin)
    assert visitor.get(SELF, headers={"Authorization": f"Bearer {token}"}).json()["id"] == token_id
    assert visitor.get(SELF, headers={"Authorization": "Bearer pcs_nobodys"}).status_code == 401


def test_what_a_viewer_may_not_do_is_refused_with_the_cookie_too(bare_api: Api, visitor: httpx.Client) -> None:
    token, _ = bare_api.make_token("viewer", "web")
    sign_in(visitor, token)
    answer = visitor.post(REQUEST, json=A_REQUEST, headers=BY_OUR_PAGE)
    check_problem(answer, code="forbidden", fields=["Authorization"])
    assert visitor.get("/api/v1/hosts").status_code == 200


def test_a_stream_of_events_takes_the_cookie_and_ends_with_the_session(bare_api: Api, visitor: httpx.Client) -> None:
    sign_in(visitor, bare_api.admin)
    with visitor.stream("GET", "/api/v1/events", headers={"Sec-Fetch-Site": "same-origin"}) as stream:
        lines = stream.iter_lines()
        assert any(line == "event: hello" for line in lines)
        assert visitor.delete(SESSION, headers=BY_OUR_PAGE).status_code == 200
        for _ in lines:  # it ends: else this waits until the test's own time is over
            pass


def test_signing_in_and_out_are_acts_of_the_audit_trail(bare_api: Api, visitor: httpx.Client) -> None:
    token, token_id = bare_api.make_token("operator", "web")
    sign_in(visitor, token)
    visitor.delete(SESSION, headers=BY_OUR_PAGE)
    found = bare_api.ok("GET", "/api/v1/audit", token=bare_api.admin, params={"actor": token_id})
    assert [record["action"] for record in found["items"]][:2] == ["session.end", "session.begin"]
