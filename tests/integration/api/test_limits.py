"""Limits on a real API: each lane by itself, what a refusal says, and that random tokens cost the broker nothing."""

import itertools
import json
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import httpx
import pytest
import redis

from broker.settings import BrokerSettings
from tests.support.api import (
    BULK,
    COMPLETION,
    HEARTBEAT,
    REQUEST,
    SCHEDULES,
    TOKENS,
    Api,
    PlayedAgent,
    bearer,
    running_api,
    talking_to,
)
from tests.support.processes import Role, broker_role, eventually, started
from tests.support.refusals import check_problem
from tests.support.servers import everything_in, wait_for_broker

QUOTAS: Final = {
    "heartbeats": 4, "completions": 3, "submissions": 3, "stops": 2, "cancels": 2, "reads": 5, "admin": 4,
}  # fmt: skip
STRANGERS: Final = 20
ENV: Final = {
    "PCS_LIMITS": "small",
    "PCS_TRUSTED_PROXIES": "127.0.0.1",
    **{f"PCS_LIMIT_{lane.upper()}": f"{most}/600" for lane, most in QUOTAS.items()},
    "PCS_LIMIT_STRANGERS": f"{STRANGERS}/600",
}
BEAT: Final = {"ip_address": "10.0.0.1", "hostname": "web-01", "service_name": "web"}
START: Final = {"service_name": "web", "target_hostnames": ["web-01"], "dry_run": True}
WISH: Final = {"name": "n", "cron": "30 2 * * *", "request": {"service_name": "web", "target_hostnames": ["web-01"]}}


class Call(NamedTuple):
    """One call; what it answers beside 429 matters to nobody here."""

    lane: str
    method: str
    path: str
    body: Mapping[str, Any] | None = None

    def __str__(self) -> str:
        return f"{self.lane}: {self.method} {self.path}"


CALLS: Final = (
    Call("heartbeats", "POST", HEARTBEAT, BEAT),
    Call("completions", "POST", COMPLETION, {"command_id": "c", "hostname": "h", "status": "completed"}),
    Call("submissions", "POST", REQUEST, START),
    Call("submissions", "POST", SCHEDULES, {**WISH, "dry_run": True}),
    Call("stops", "POST", REQUEST, {**START, "command_type": "stop"}),
    Call("stops", "POST", REQUEST, {**START, "request_type": "stop"}),
    Call("cancels", "DELETE", "/api/v1/requests/r-1"),
    Call("cancels", "DELETE", f"{SCHEDULES}/s-1"),
    Call("reads", "GET", "/api/v1/hosts"),
    Call("reads", "GET", "/api/v1/requests"),
    Call("admin", "POST", TOKENS, {"kind": "viewer", "services": ["web"]}),
)
_addresses = itertools.count(1)


class Limited(NamedTuple):
    api: Api
    broker: Role


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Limited]:
    state_dir = tmp_path_factory.mktemp("limited")
    with started(broker_role(state_dir)) as broker:
        wait_for_broker(BrokerSettings(state_dir=state_dir))
        with running_api(state_dir, env=ENV) as api:
            yield Limited(api, broker)


@pytest.fixture(scope="module")
def unlimited(limited: Limited) -> Iterator[Api]:
    """A second API on the same broker, to make tokens by: whoever is limited could not."""
    with running_api(limited.api.state_dir, log="unlimited.log") as api:
        yield api


@pytest.fixture
def token(unlimited: Api) -> str:
    """A token that has not called yet."""
    return unlimited.make_token("admin", "*")[0]


def send(api: Api, call: Call, token: str, **headers: str) -> httpx.Response:
    return api.call(call.method, call.path, token=token, json=call.body, headers=headers)


def exhaust(api: Api, call: Call, token: str) -> httpx.Response:
    """Call as often as one may, and once more; gives the answer to that."""
    for _ in range(QUOTAS[call.lane]):
        assert send(api, call, token).status_code != 429
    return send(api, call, token)


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_one_call_too_many_is_told_when_to_come_again(limited: Limited, token: str, call: Call) -> None:
    answer = exhaust(limited.api, call, token)
    assert answer.status_code == 429, answer.text
    check_problem(answer, code="rate_limited", fields=["Authorization"])
    most = QUOTAS[call.lane]
    assert answer.headers["ratelimit-policy"] == f'"{call.lane}";q={most};w=600'
    wait = int(answer.headers["retry-after"])
    assert 1 <= wait <= 1_200
    assert answer.headers["ratelimit"] == f'"{call.lane}";r=0;t={wait}'
    assert f"At most {most} {call.lane} of this token in 600 s" in answer.json()["detail"]


@pytest.mark.parametrize("full", [call for call in CALLS if call.path != SCHEDULES], ids=str)
def test_no_lane_takes_anything_from_another(limited: Limited, token: str, full: Call) -> None:
    assert exhaust(limited.api, full, token).status_code == 429
    for other in {call.lane: call for call in CALLS if call.lane != full.lane}.values():
        assert send(limited.api, other, token).status_code != 429, other


def test_no_token_takes_anything_from_another(limited: Limited, token: str, unlimited: Api) -> None:
    assert exhaust(limited.api, CALLS[2], token).status_code == 429
    another, _ = unlimited.make_token("admin", "*")
    assert send(limited.api, CALLS[2], another).status_code == 200


@pytest.mark.parametrize("lane", ["submissions", "stops", "reads", "admin"])
def test_an_answer_says_what_is_left(limited: Limited, token: str, lane: str) -> None:
    call = next(call for call in CALLS if call.lane == lane)
    most = QUOTAS[lane]
    for left in reversed(range(most)):
        answer = send(limited.api, call, token)
        assert answer.is_success, answer.text
        assert answer.headers["ratelimit-policy"] == f'"{lane}";q={most};w=600'
        assert answer.headers["ratelimit"].startswith(f'"{lane}";r={left};t=')


def test_each_request_of_many_is_counted_and_refused_for_itself(limited: Limited, token: str) -> None:
    stop = {**START, "command_type": "stop"}
    body = {"requests": [START, stop, START, START, START, stop, stop]}
    answer = limited.api.call("POST", f"{REQUEST}/bulk", token=token, json=body)
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    assert [result["success"] for result in results] == [True, True, True, True, False, True, False]
    assert {result["problem"]["code"] for result in results if not result["success"]} == {"rate_limited"}
    assert limited.api.call("POST", f"{REQUEST}/bulk", token=token, json={"requests": [START]}).status_code == 429


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"stop": "\xff"}', b'{"requests": []}'], ids=repr)
@pytest.mark.parametrize("path", [REQUEST, BULK])
def test_a_submission_that_cannot_be_read_is_counted_too(limited: Limited, token: str, path: str, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    told = [
        limited.api.call("POST", path, token=token, content=body, headers=headers).status_code
        for _ in range(QUOTAS["submissions"] + 2)
    ]
    assert set(told[:-2]) <= {400, 422}
    assert told[-2:] == [429, 429]


def test_an_item_of_many_that_is_no_object_is_counted_too(limited: Limited, token: str) -> None:
    answer = limited.api.ok("POST", BULK, token=token, json={"requests": ["no object"] * 6})
    codes = [each["problem"]["code"] for each in answer["results"]]
    assert codes == ["invalid"] * QUOTAS["submissions"] + ["rate_limited"] * 3


def test_items_of_many_that_are_too_many_are_audited_together(limited: Limited, unlimited: Api, token: str) -> None:
    own = limited.api.ok("GET", f"{TOKENS}/self", token=token)["id"]
    many = {"requests": [{"service_name": "stop", "target_hostnames": ["h"], "dry_run": True}] * 50}
    for _ in range(3):
        results = limited.api.ok("POST", BULK, token=token, json=many)["results"]
    assert {each["problem"]["code"] for each in results} == {"rate_limited"}

    def counted() -> list[int]:
        acts = unlimited.ok("GET", "/api/v1/audit", token=unlimited.admin, params={"actor": own, "limit": 1_000})[
            "items"
        ]
        return [act["count"] for act in acts if act.get("code") == "rate_limited"]

    refused = 3 * 50 - QUOTAS["submissions"]
    eventually(lambda: sum(counted()) == refused, within=10, what=f"{refused} refusals in the trail")
    assert len(counted()) <= 3


def test_a_refused_submission_changes_nothing(limited: Limited, token: str) -> None:
    assert exhaust(limited.api, CALLS[2], token).status_code == 429
    before = everything_in(limited.api.settings)
    assert send(limited.api, CALLS[2]._replace(body={**START, "dry_run": False}), token).status_code == 429
    assert everything_in(limited.api.settings) == before


def test_a_stop_is_found_under_any_escape_when_nothing_more_may_be_submitted(limited: Limited, token: str) -> None:
    assert exhaust(limited.api, CALLS[2], token).status_code == 429
    body = json.dumps({**START, "command_type": "stop"}).replace('"stop"', r'"\u0073top"')
    headers = {"Content-Type": "application/json"}
    answer = limited.api.call("POST", REQUEST, token=token, content=body, headers=headers)
    assert answer.status_code == 200, answer.text


def test_what_nobody_needs_a_token_for_is_not_limited(limited: Limited) -> None:
    for _ in range(3 * max(QUOTAS.values())):
        assert limited.api.http.get("/healthz").status_code == 200


ANYBODYS = {
    b"no HTTP\r\n\r\n": 400,
    b"POST /api/metrics/profile_request HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n": 413,
    b"GET /assets/none.js HTTP/1.1\r\nHost: a\r\n\r\n": 404,
}


def test_what_anybody_can_bring_about_has_its_share_of_the_log(limited: Limited) -> None:
    address = limited.api.http.base_url.host, limited.api.http.base_url.port
    before = len(limited.api.log.splitlines())
    for _ in range(300):
        for sent, status in ANYBODYS.items():
            with socket.create_connection(address) as connection:
                connection.sendall(sent)
                assert connection.recv(1_000).startswith(b"HTTP/1.1 %d" % status)
    assert len(limited.api.log.splitlines()) - before < 500


def test_a_copied_credential_has_its_share_of_the_log(unlimited: Api) -> None:
    PlayedAgent(unlimited, "copied").beat()
    other, _ = unlimited.make_token("agent", "web")
    before = len(unlimited.log.splitlines())
    for _ in range(300):
        assert unlimited.call("POST", HEARTBEAT, token=other, json={**BEAT, "hostname": "copied"}).status_code == 403
    told = unlimited.log.splitlines()[before:]
    assert any("credential conflict" in line for line in told)
    assert len(told) < 400


def commands(api: Api, *names: str) -> int:
    """How often the server has executed these commands so far."""
    with redis.Redis.from_url(api.settings.url) as client:
        stats = client.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in names)


async def test_random_tokens_do_not_reach_the_broker(limited: Limited, unlimited: Api) -> None:
    """Three of ten calls come with a token that nobody knows: it is asked for a few, and for no other."""
    good, _ = unlimited.make_token("operator", "*")
    hosts = {"X-Forwarded-For": f"198.51.100.{next(_addresses)}"}
    before, since = commands(limited.api, "hgetall"), time.monotonic()
    async with talking_to(limited.api, None) as client:
        statuses: list[int] = []
        for number in range(300):
            secret = good if number % 10 >= 3 else f"pcs_{number:032}"
            answer = await client.post(HEARTBEAT, json=BEAT, headers=bearer(secret) | hosts)
            statuses.append(answer.status_code)
    bad = [status for number, status in enumerate(statuses) if number % 10 < 3]
    assert bad.count(401) == STRANGERS
    assert bad.count(429) == len(bad) - STRANGERS == 70
    # The two APIs look at the first tokens every three seconds, and the good token is looked up as often.
    looked_up_otherwise = 20 * (1 + (time.monotonic() - since) / 3)
    assert commands(limited.api, "hgetall") - before <= STRANGERS + looked_up_otherwise


def test_a_flood_from_one_address_shuts_out_neither_known_tokens_nor_other_addresses(
    limited: Limited, token: str, unlimited: Api
) -> None:
    flooding, quiet = (f"198.51.100.{next(_addresses)}" for _ in range(2))
    read = CALLS[8]
    assert send(limited.api, read, token, **{"X-Forwarded-For": flooding}).status_code == 200
    for number in range(2 * STRANGERS):
        answer = send(limited.api, read, f"pcs_{number:032}", **{"X-Forwarded-For": flooding})
    assert answer.status_code == 429
    assert answer.headers["ratelimit-policy"] == f'"strangers";q={STRANGERS};w=600'
    assert "look-ups of unknown tokens from this address" in answer.json()["detail"]
    time.sleep(3.1)  # until what is known of the good token has to be asked for again
    assert send(limited.api, read, token, **{"X-Forwarded-For": flooding}).status_code == 200
    newcomer, _ = unlimited.make_token("viewer", "*")
    assert send(limited.api, read, newcomer, **{"X-Forwarded-For": quiet}).status_code == 200
    another, token_id = unlimited.make_token("viewer", "*")

    def is_let_in(secret: str) -> bool:
        return send(limited.api, read, secret, **{"X-Forwarded-For": flooding}).status_code == 200

    eventually(lambda: is_let_in(another), within=15, what="a token that was made elsewhere after the flood had begun")
    after = unlimited.ok("POST", f"{TOKENS}/{token_id}/rotate", token=unlimited.admin, json={})["token"]
    eventually(lambda: is_let_in(after), within=15, what="its new secret, of which no number of tokens tells")


def test_a_flood_from_their_address_shuts_out_nobody_at_an_api_that_has_just_started(
    limited: Limited, token: str
) -> None:
    flooding = f"198.51.100.{next(_addresses)}"
    with running_api(limited.api.state_dir, log="fresh.log", env=ENV) as fresh:
        for number in range(2 * STRANGERS):
            answer = send(fresh, CALLS[8], f"pcs_{number:032}", **{"X-Forwarded-For": flooding})
        assert answer.status_code == 429
        assert send(fresh, CALLS[8], token, **{"X-Forwarded-For": flooding}).status_code == 200


def test_an_address_that_a_caller_puts_before_its_proxys_is_not_believed(limited: Limited, unlimited: Api) -> None:
    flooding = f"198.51.100.{next(_addresses)}"
    answers = [
        send(limited.api, CALLS[8], f"pcs_forged{number:026}", **{"X-Forwarded-For": f"203.0.113.{number}, {flooding}"})
        for number in range(2 * STRANGERS)
    ]
    assert [answer.status_code for answer in answers] == [401] * STRANGERS + [429] * STRANGERS
    newcomer, _ = unlimited.make_token("viewer", "*")
    assert send(limited.api, CALLS[8], newcomer, **{"X-Forwarded-For": "203.0.113.0"}).status_code == 200


def test_a_broker_that_is_away_is_told_as_such_in_every_lane(limited: Limited, token: str) -> None:
    assert send(limited.api, CALLS[8], token).status_code == 200
    limited.broker.kill()
    try:
        for call in CALLS:
            answer = send(limited.api, call, token)
            assert answer.status_code == 503, (call, answer.text)
            assert int(answer.headers["retry-after"]) >= 1
        for number in range(3 * STRANGERS):
            address = {"X-Forwarded-For": f"198.51.100.{250}"}
            assert send(limited.api, CALLS[8], f"pcs_away{number:028}", **address).status_code == 503
    finally:
        limited.broker.restart()
        wait_for_broker(limited.api.settings)
        eventually(limited.api.is_ready, within=20, what="recovery")
    limited.api.check_log()
