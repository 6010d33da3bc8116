"""Live events over HTTP: two API processes, real workers, clients that go, come back, stall and are sent away."""

import itertools
import json
import socket as sockets
from collections.abc import Iterator
from typing import Any, Final

import pytest
import redis
from websockets.exceptions import ConnectionClosed, InvalidStatus

from broker import keys
from broker.connection import Broker
from broker.token_store import TokenKind, TokenStore, new_secret
from tests.support.api import Api, PlayedAgent, bearer, running_api, running_site
from tests.support.live import EVENTS, listening, on_a_socket, socket_to, told_in_the_broker
from tests.support.processes import eventually
from tests.support.refusals import check_problem
from tests.support.scrapes import scrape

SLOW_ENTRIES: Final = 5_000
LONG_REASON: Final = "x" * 3_000
"""So many entries with so much in each are twice what all buffers take on the way to a client that does not read."""
_names = (f"live-{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with running_site(tmp_path_factory.mktemp("live"), workers=True) as (api, _):
        yield api
        api.check_log()


@pytest.fixture(scope="module")
def other(site: Api) -> Iterator[Api]:
    """Another process of the same system."""
    with running_api(site.state_dir, log="other.log") as api:
        yield api


@pytest.fixture
def service() -> str:
    """A service that no other test knows."""
    return next(_names)


def has(state: str) -> Any:
    return lambda heard: (heard.data or {}).get("state") == state


def test_a_request_is_heard_from_its_submission_to_its_end_on_either_way_in(
    site: Api, other: Api, service: str
) -> None:
    agent = PlayedAgent(site, "h-1", service=service)
    with listening(site, service_name=service) as events, on_a_socket(other, service_name=service) as messages:
        made = site.submit("h-1", service_name=service)
        agent.run(samples=7, execution_time=1.5)
        heard, also = events.until(has("completed")), messages.until(has("completed"))
    assert [each.mark for each in heard] == [each.mark for each in also]
    assert [(each.kind, each.data["event"]) for each in heard if each.kind == "host"] == [("host", "host_joined")]  # type: ignore[index]  # a host event has data
    states = [each.data["state"] for each in heard if each.data and "state" in each.data]
    assert states[0] == "submitted"
    assert states[-3:] == ["received", "running", "completed"]
    last = heard[-1]
    assert last.data is not None
    assert (last.kind, last.data["samples"], last.data["execution_time"]) == ("command", 7, 1.5)
    assert last.data["request_ids"] == [made["request_id"]]
    assert [each.kind for each in heard if has("submitted")(each)] == ["request"]


def test_a_listener_hears_only_what_it_asked_for(site: Api, service: str) -> None:
    wanted = [
        {"request_id": ""}, {"hostname": "h-2", "kinds": "request"}, {"kinds": "audit", "service_name": service},
    ]  # fmt: skip
    first = site.submit("h-1", service_name=service)
    wanted[0]["request_id"] = first["request_id"]
    with (
        listening(site, **wanted[0]) as of_a_request,
        listening(site, **wanted[1]) as of_a_host,
        on_a_socket(site, **wanted[2]) as of_acts,
    ):
        site.submit("h-2", service_name=service)
        site.ok("DELETE", f"/api/v1/requests/{first['request_id']}", token=site.admin)
        heard = of_a_request.until(has("cancelled"))
        assert {tuple(each.data["request_ids"]) for each in heard if each.data} == {(first["request_id"],)}
        assert [each.data["hostname"] for each in of_a_host.take(1) if each.data] == ["h-2"]
        acts = of_acts.take(2)
    assert [each.data["action"] for each in acts if each.data] == ["request.submit", "request.cancel"]
    assert all(each.kind == "audit" for each in acts)


@pytest.mark.parametrize("cut", [1, 37, 120])
def test_who_comes_back_at_another_process_misses_nothing_and_hears_nothing_twice(
    site: Api, other: Api, service: str, cut: int
) -> None:
    hosts = [f"h-{number}" for number in range(60)]
    with listening(site, service_name=service) as before:
        site.submit(*hosts, service_name=service)
        heard = before.take(cut)
        event_id = before.last_id
    request = site.submit(*hosts, service_name=service, profiling_mode="wall")
    eventually(lambda: site.status(request["request_id"], limit=0)["counts"].get("queued") == 60, what="60 queued")
    expected = told_in_the_broker(site, service)
    assert len(expected) > 200
    with listening(other, service_name=service, last_event_id=event_id) as after:
        heard += after.take(len(expected) - cut)
    assert sorted(map(str, (each.mark for each in heard))) == sorted(map(str, expected))
    with on_a_socket(site, service_name=service, after=event_id) as again:
        assert len({each.mark for each in again.take(len(expected) - cut)}) == len(expected) - cut


def test_the_process_is_killed_and_another_goes_on_where_it_was(site: Api, other: Api, service: str) -> None:
    with running_api(site.state_dir, log="killed.log") as dying, listening(dying, service_name=service) as stream:
        site.submit(*(f"h-{number}" for number in range(100)), service_name=service)
        heard = stream.take(50)
        dying.role.kill()
        heard += stream.rest()
        last = stream.last_id
    expected = told_in_the_broker(site, service)
    eventually(lambda: len(told_in_the_broker(site, service)) == 200, what="100 commands pending")
    expected = told_in_the_broker(site, service)
    with listening(other, service_name=service, last_event_id=last) as after:
        heard += after.take(len(expected) - len(heard))
    assert sorted(map(str, (each.mark for each in heard))) == sorted(map(str, expected))


async def a_token_of(site: Api, tenant: str) -> str:
    secret = new_secret()
    async with Broker.opened(site.settings) as broker:
        await TokenStore(broker).add(secret, kind=TokenKind.ADMIN, tenant=tenant, services=("*",))
    site.made_tokens.append(secret)
    return secret


async def test_another_tenant_and_another_service_hear_nothing(site: Api, service: str) -> None:
    stranger = await a_token_of(site, "other")
    narrow, _ = site.make_token("viewer", "elsewhere")
    with (
        listening(site, token=stranger, kinds="request,command,host,audit") as foreign,
        listening(site, token=narrow) as elsewhere,
        listening(site, service_name=service) as mine,
    ):
        site.submit("h-1", service_name=service)
        PlayedAgent(site, "h-1", service=service).take()
        mine.until(has("delivered"))
        site.submit("h-1", token=stranger, service_name=service)
        assert {each.kind for each in foreign.until(has("submitted"))} <= {"audit", "request"}
        site.submit("h-1", service_name="elsewhere")
        first = elsewhere.next()
        assert first.data is not None
        assert first.data["service_name"] == "elsewhere"
    with pytest.raises(AssertionError), listening(site, token=narrow, last_event_id="x"):
        pass


# --- who may, and for how long ----------------------------------------------------------------------------------------


def test_a_token_comes_in_a_header_or_as_a_subprotocol_and_never_in_the_address(site: Api) -> None:
    for name in ("token", "access_token", "authorization"):
        assert site.call("GET", EVENTS, token=None, params={name: site.admin}).status_code == 401
        with pytest.raises(InvalidStatus) as refused:
            socket_to(site, query={name: site.admin})
        assert refused.value.response.status_code == 401
        assert json.loads(refused.value.response.body or b"")["code"] == "unauthenticated"
    with socket_to(site, subprotocols=["studio.v1", f"bearer.{site.admin}"]) as socket:
        assert socket.subprotocol == "studio.v1", "the token is not said back"
        assert json.loads(socket.recv(timeout=20))["kind"] == "hello"


@pytest.mark.parametrize(
    ("query", "field"), [({"after": "x"}, "after"), ({"kinds": "odd"}, "kinds"), ({"hostname": ""}, "hostname")]
)
def test_what_is_asked_wrongly_is_refused_and_named(site: Api, query: dict[str, str], field: str) -> None:
    answer = site.call("GET", EVENTS, token=site.admin, params=query)
    with pytest.raises(InvalidStatus) as refused:
        socket_to(site, query=query, additional_headers=bearer(site.admin))
    for status, body in (
        (answer.status_code, answer.content),
        (refused.value.response.status_code, refused.value.response.body or b""),
    ):
        assert status == 422
        assert [fault["field"] for fault in json.loads(body)["errors"]] == [field]
    answer = site.call("GET", EVENTS, token=site.admin, headers={"Last-Event-ID": "x"})
    assert [fault["field"] for fault in answer.json()["errors"]] == ["Last-Event-ID"]


@pytest.mark.parametrize(
    ("kind", "kinds", "may"),
    [("agent", "host", False), ("operator", "host", True), ("operator", "audit", False), ("viewer", "audit", True)],
)
def test_who_may_listen_to_what(site: Api, kind: str, kinds: str, may: bool) -> None:
    secret, _ = site.make_token(kind, "*")
    if may:
        with listening(site, token=secret, kinds=kinds), on_a_socket(site, token=secret, kinds=kinds):
            return
    assert site.call("GET", EVENTS, token=secret, params={"kinds": kinds}).status_code == 403
    with pytest.raises(InvalidStatus) as refused:
        socket_to(site, query={"kinds": kinds}, additional_headers=bearer(secret))
    assert refused.value.response.status_code == 403


def test_a_revoked_token_ends_its_streams(site: Api, service: str) -> None:
    secret, token_id = site.make_token("viewer", service)
    with (
        listening(site, token=secret) as events,
        socket_to(site, additional_headers=bearer(secret)) as socket,
    ):
        socket.recv(timeout=20)
        site.ok("DELETE", f"/api/v1/tokens/{token_id}", token=site.admin)
        assert events.rest() == []
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=20)
        assert socket.close_code == 1008


def test_going_down_ends_every_stream_at_once(site: Api) -> None:
    with running_api(site.state_dir, log="leaving.log") as leaving:
        with listening(leaving) as events, socket_to(leaving, additional_headers=bearer(site.admin)) as socket:
            socket.recv(timeout=20)
            assert leaving.role.stop(within=8) == 0, "less than the ten seconds after which connections are cut"
            assert events.rest() == []
            with pytest.raises(ConnectionClosed):
                socket.recv(timeout=20)
            assert socket.close_code == 1001
        assert "ASGI callable returned" not in leaving.log
        assert "Traceback" not in leaving.log


# --- too many ---------------------------------------------------------------------------------------------------------


def closed_with(api: Api, token: str) -> tuple[int | None, str | None]:
    """The code and the reason by which a websocket is closed at once."""
    with socket_to(api, additional_headers=bearer(token)) as socket:
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=20)
        return socket.close_code, socket.close_reason


def test_one_listener_too_many_is_told_when_to_come_again_and_takes_no_room(site: Api) -> None:
    env = {"PCS_LIVE_LISTENERS": "3", "PCS_LIVE_LISTENERS_PER_TOKEN": "2"}
    one, two = (site.make_token("viewer", "*")[0] for _ in range(2))
    with running_api(site.state_dir, env=env, log="crowded.log") as crowded:
        with listening(crowded, token=one), on_a_socket(crowded, token=one):
            refused = crowded.call("GET", EVENTS, token=one)
            assert (refused.status_code, refused.headers["Retry-After"]) == (429, "2")
            check_problem(refused, code="too_many_listeners", fields=["Authorization"])
            reason = "At most 2 listen with one token at a time. Come again in 2 s."
            assert closed_with(crowded, one) == (1013, reason)
            with on_a_socket(crowded, token=two):
                assert scrape(crowded, two).value("pcs_live_listeners") == 3
                full = crowded.call("GET", EVENTS, token=two)
                assert (full.status_code, full.headers["Retry-After"]) == (503, "2")
                check_problem(full, code="no_room", fields=["Authorization"])
                code, why = closed_with(crowded, two)
                assert (code, (why or "").startswith("At most 3 listen at this process")) == (1013, True)
            eventually(lambda: scrape(crowded).value("pcs_live_listeners") == 2, what="room again")
            with listening(crowded, token=two):
                assert scrape(crowded).value("pcs_rate_limited_total", lane="listeners") == 4
        eventually(lambda: scrape(crowded).value("pcs_live_listeners") == 0, what="nobody")
        crowded.check_log()


# --- slow, and late ---------------------------------------------------------------------------------------------------


def fill(site: Api, service: str, count: int, *, partition: int = 3, reason: str = "") -> None:
    """Entries as the scripts write them, very many at once."""
    facts = {"v": "1", "tenant": "default", "service": service, "hostname": "h", "state": "running", "command_id": "c",
             "request_ids": "", "at": "1", "reason": reason}  # fmt: skip
    with redis.Redis.from_url(site.settings.url) as client, client.pipeline(transaction=False) as pipe:
        for number in range(count):
            pipe.xadd(keys.results(partition), {**facts, "generation": str(number)})
        pipe.execute()


def test_a_client_that_does_not_read_is_told_to_load_anew_and_holds_up_nobody(site: Api, service: str) -> None:
    host, port = site.url.removeprefix("http://").split(":")
    with sockets.socket() as stuck, listening(site, service_name=service) as quick:
        stuck.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
        stuck.connect((host, int(port)))
        head = f"GET {EVENTS}?service_name={service} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {site.admin}\r\n\r\n"
        stuck.sendall(head.encode())
        stuck.settimeout(30)
        assert stuck.recv(5).startswith(b"HTTP/")
        sent = 0
        while sent < SLOW_ENTRIES:
            fill(site, service, 500, reason=LONG_REASON)
            sent += 500
            quick.until(lambda heard: heard.kind == "snapshot" or heard.data["generation"] == 499)  # type: ignore[index]  # both have data
        PlayedAgent(site, "h-9", service=service).beat()
        stuck.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 1 << 20)  # it begins to read, and may do so quickly
        said = b""
        while b'"reason": "slow"' not in said:  # of what was said before, enough is kept to see the whole event
            said = said[-4_096:] + stuck.recv(65_536)
        assert b"event: snapshot" in said.partition(b'"reason": "slow"')[0]


def test_who_comes_back_too_late_is_told_to_load_anew(site: Api, service: str) -> None:
    with listening(site, service_name=service) as stream:
        fill(site, service, 3, partition=5)
        stream.take(2)
        event_id = stream.last_id
    fill(site, service, 3, partition=5)
    with redis.Redis.from_url(site.settings.url) as client:
        client.xtrim(keys.results(5), maxlen=1, approximate=False)
    with listening(site, service_name=service, last_event_id=event_id) as back:
        told = back.next()
        assert (told.kind, told.data) == ("snapshot", {"reason": "too_old"})
        fill(site, service, 1, partition=5)
        assert back.next().kind == "command"
