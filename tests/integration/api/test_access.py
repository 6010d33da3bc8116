"""How a token is told, and what it covers; who may use which route is in the matrix."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from api.auth import LONGEST_SECRET
from broker import keys
from protocol.names import DEFAULT_TENANT, HostKey
from tests.support.api import COMPLETION, REQUEST, TOKENS, Api, PlayedAgent, bearer, running_api
from tests.support.processes import eventually
from tests.support.refusals import check_problem, check_tells_no_secret
from tests.support.servers import everything_in


@pytest.fixture(scope="module", autouse=True)
def hosts(bare_api: Api) -> Iterator[None]:
    """A host of each service."""
    for service in ("web", "db"):
        PlayedAgent(bare_api, f"{service}-01", service=service).beat()
    yield
    bare_api.check_log()


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


def services_in(api: Api) -> set[str]:
    """The services of the default tenant that have a host, as the broker has them."""
    with redis.Redis.from_url(api.settings.url, decode_responses=True) as client:
        paths = [path for at in range(api.settings.partitions) for path in client.zrange(keys.beats(at), 0, -1)]
    return {host.service for host in map(HostKey.from_path, paths) if host.tenant == DEFAULT_TENANT}


def test_the_list_of_hosts_shows_those_of_the_tokens_services_alone(
    bare_api: Api, keyring: dict[str, str | None]
) -> None:
    def seen_by(caller: str) -> set[str]:
        items = bare_api.ok("GET", "/api/v1/hosts", token=keyring[caller], params={"limit": 10_000})["items"]
        return {host["service_name"] for host in items}

    assert seen_by("viewer of db") == {"db"}
    assert seen_by("operator of web") == {"web"}
    assert seen_by("admin") == services_in(bare_api) >= {"db", "web"}, "other files of tests have hosts here too"
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


def test_an_old_secret_ends_with_the_overlap_on_every_process(bare_api: Api) -> None:
    secret, token_id = bare_api.make_token("viewer", "*", name="dashboard", description="of the wall in the hall")
    with running_api(bare_api.state_dir, log="second.log") as second:
        for api in (bare_api, second):
            assert api.call("GET", "/api/v1/hosts", token=secret).status_code == 200
        after = bare_api.ok("POST", f"{TOKENS}/{token_id}/rotate", token=bare_api.admin, json={"overlap": 0})
        bare_api.made_tokens.append(after["token"])
        begun = time.monotonic()
        for api in (bare_api, second):
            eventually(
                lambda api=api: api.call("GET", "/api/v1/hosts", token=secret).status_code == 401,  # type: ignore[misc]
                within=5,
                what="the end of the old secret",
            )
            assert api.call("GET", "/api/v1/hosts", token=after["token"]).status_code == 200
        assert time.monotonic() - begun < 5
        second.check_log()
    shown = bare_api.ok("GET", f"{TOKENS}/{token_id}", token=bare_api.admin)
    assert (shown["id"], shown["name"]) == (token_id, "dashboard")
    assert shown["rotated_at"] == shown["previous_valid_until"]
    assert shown["rotated_at"] is not None


def test_a_revoked_token_is_not_rotated(bare_api: Api) -> None:
    _, token_id = bare_api.make_token("viewer", "*")
    bare_api.ok("DELETE", f"{TOKENS}/{token_id}", token=bare_api.admin)
    answer = bare_api.call("POST", f"{TOKENS}/{token_id}/rotate", token=bare_api.admin, json={})
    assert answer.status_code == 409
    check_problem(answer, code="conflict", fields=["token_id"])


def tokens_in_pages(bare_api: Api, **params: Any) -> list[str]:
    found, cursor = [], ""
    while cursor is not None:
        page = bare_api.ok("GET", TOKENS, token=bare_api.admin, params={"limit": 2, "cursor": cursor, **params})
        assert len(page["items"]) <= 2
        found += [token["id"] for token in page["items"]]
        cursor = page["next_cursor"]
    assert len(set(found)) == len(found)
    return found


def test_tokens_are_listed_page_by_page_in_either_order(bare_api: Api) -> None:
    made = [bare_api.make_token("viewer", "*")[1] for _ in range(5)]
    everything = tokens_in_pages(bare_api)
    assert everything[-5:] == made
    assert tokens_in_pages(bare_api, sort="-created_at") == everything[::-1]


def test_tokens_are_listed_by_kind_and_by_name(bare_api: Api) -> None:
    made = [bare_api.make_token(kind, "*", name="of the night shift")[1] for kind in ("viewer", "operator", "viewer")]
    assert tokens_in_pages(bare_api, name="of the night shift") == made
    assert tokens_in_pages(bare_api, name="of the night shift", kind="viewer") == made[::2]
    assert tokens_in_pages(bare_api, name="of the night") == []
    viewers = set(tokens_in_pages(bare_api, kind="viewer"))
    assert viewers >= set(made[::2])
    assert made[1] not in viewers


def test_a_token_knows_itself(bare_api: Api, keyring: dict[str, str | None]) -> None:
    mine = bare_api.ok("GET", f"{TOKENS}/self", token=keyring["viewer of web"])
    assert (mine["kind"], mine["services"], mine["tenant"]) == ("viewer", ["web"], "default")


def test_a_token_is_told_once_and_listed_without_its_secret(bare_api: Api) -> None:
    made = bare_api.ok(
        "POST", TOKENS, token=bare_api.admin, json={"kind": "operator", "services": ["shop-*"], "expires_in": 60}
    )
    listed = bare_api.call("GET", TOKENS, token=bare_api.admin)
    assert made.pop("token") not in listed.text
    assert made in listed.json()["items"]
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
