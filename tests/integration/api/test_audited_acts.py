"""No accepted act is without its record, wherever the process dies.

The application runs in this process, on a connection that dies after so many calls.
"""

import itertools
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from api import audit as api_audit
from api.audit import ACTIONS
from broker import keys
from broker.connection import Broker
from broker.errors import BrokerUnavailable
from broker.scripts import Beat, Credential
from broker.settings import BrokerSettings
from broker.token_store import Token, TokenKind, TokenStore, digest_of, new_secret
from protocol.names import DEFAULT_TENANT, HostKey
from tests.support.api import HEARTBEAT, REQUEST, SCHEDULES, TOKENS, bearer
from tests.support.app import App
from tests.support.audit import check_chain, records_of
from tests.support.mortal_broker import Killed, MortalBroker
from tests.support.routes import A_SCHEDULE
from tests.support.servers import everything_in

numbers = itertools.count(1)
START = {"service_name": "web", "target_hostnames": ["web-01", "web-02"]}
NO_ACTS = {HEARTBEAT, "/api/v2/profiles"}
"""Routes that change something and are told by the results, not here."""


@pytest.fixture
async def app(tmp_path: Path, broker: Broker) -> AsyncIterator[App]:
    made = App(tmp_path, broker)
    async with made.http:
        yield made


async def a_schedule_there(app: App) -> str:
    made: str = (await app.ok("POST", SCHEDULES, json=A_SCHEDULE))["id"]
    return f"{SCHEDULES}/{made}"


async def a_request_there(app: App) -> str:
    made: str = (await app.ok("POST", REQUEST, json=START))["request_id"]
    return f"/api/v1/requests/{made}"


async def a_token_there(app: App) -> str:
    made: str = (await app.ok("POST", TOKENS, json={"kind": "viewer", "services": ["*"]}))["id"]
    return f"{TOKENS}/{made}"


async def a_token_to_rotate_there(app: App) -> str:
    return f"{await a_token_there(app)}/rotate"


async def a_letter_there(app: App) -> str:
    letter = {"kind": "doorbell", "host": "default/web/web-01", "reason": "r", "attempts": "11", "at": "1"}
    async with app.parts.broker.guarded() as redis:
        entry_id = await redis.xadd(keys.dead_letters(0), letter)
    return f"/api/v1/dead_letters/0-{entry_id}/replay"


async def an_owned_host_there(app: App) -> str:
    """A host with a credential of its own, which has spoken for it."""
    host = HostKey(DEFAULT_TENANT, "web", f"web-{next(numbers)}")
    by = await app.parts.tokens.add(
        new_secret(), kind=TokenKind.ENROLMENT, tenant=DEFAULT_TENANT, services=("web",), max_uses=1
    )
    _, bought = await app.parts.tokens.enrol(by, host, digest=digest_of(new_secret()), host_id="")
    assert bought is not None
    await app.parts.command_store.exchange(Beat(host=host, by=Credential(bought.token_id, "e")), now=time.time())
    return f"/api/v1/hosts/web/{host.host}/owner"


async def a_profile_there(app: App) -> str:
    body = {
        "start_time": "2026-05-04T10:00:00", "end_time": "2026-05-04T10:01:00", "hostname": f"web-{next(numbers)}",
        "profile": "main;work 1",
    }  # fmt: skip
    told = await app.ok("POST", "/api/v2/profiles?service=web", json=body)
    return f"/api/v1/profiles/{told['profile_id']}?service=web"


def at(path: str) -> Callable[[App], Awaitable[str]]:
    async def there(_: App) -> str:
        return path

    return there


ACTS: Final[dict[str, tuple[str, Callable[[App], Awaitable[str]], Any]]] = {
    "request.submit": ("POST", at(REQUEST), START),
    "request.cancel": ("DELETE", a_request_there, None),
    "schedule.create": ("POST", at(SCHEDULES), A_SCHEDULE),
    "schedule.change": ("PATCH", a_schedule_there, {"enabled": False}),
    "schedule.delete": ("DELETE", a_schedule_there, None),
    "token.create": ("POST", at(TOKENS), {"kind": "viewer", "services": ["*"]}),
    "token.rotate": ("POST", a_token_to_rotate_there, {"overlap": 60}),
    "token.revoke": ("DELETE", a_token_there, None),
    "host.enrol": ("POST", at("/api/v1/enrol"), lambda: {"service_name": "web", "hostname": f"web-{next(numbers)}"}),
    "host.release": ("DELETE", an_owned_host_there, None),
    "session.begin": ("POST", at("/api/v1/session"), None),
    "session.end": ("DELETE", at("/api/v1/session"), None),
    "dead_letter.replay": ("POST", a_letter_there, None),
    "profile.delete": ("DELETE", a_profile_there, None),
}
"""Action -> how it is asked for, on what; a body that can be called is another one each time."""


def check_actions(app: FastAPI) -> None:
    """Hold the routes that act against the table of actions."""
    routes = {
        (method, route.path)
        for route in iter_route_contexts(app.routes)
        for method in (route.methods or ())
        if method not in {"GET", "HEAD"} and route.path not in NO_ACTS
    }
    assert routes == set(ACTIONS), "a route without an action, or an action without a route"


def test_every_route_that_acts_has_an_action_and_every_action_a_route(app: App) -> None:
    check_actions(app.app)
    assert set(ACTS) == {*ACTIONS.values()} - {"command.complete"}, "an act without a row in the table of this test"


async def callers_of(action: str, app: App) -> Mapping[str, str]:
    """By whom it is asked for: by anybody, without authentication, but where that is not enough."""
    tokens = app.parts.tokens
    if action == "host.enrol":
        await tokens.add(
            secret := new_secret(), kind=TokenKind.ENROLMENT, tenant=DEFAULT_TENANT, services=("web",), max_uses=1_000
        )
        return bearer(secret)
    if action.startswith("session."):
        token = await tokens.add(secret := new_secret(), kind=TokenKind.VIEWER, tenant=DEFAULT_TENANT, services=("*",))
        cookie, _ = await app.parts.sessions.begin(token, now=datetime.now(UTC))
        return bearer(secret) | {"Cookie": f"studio_session={cookie}"}
    return {}


async def check_recorded_first(action: str, app: App, folder: Path) -> None:
    """Play an act on a connection that dies after ever more calls, until it lives through.

    Raises:
        AssertionError: something was changed and no record tells of it, or another one.
    """
    broker = app.parts.broker
    method, make, body = ACTS[action]
    headers = await callers_of(action, app)
    lives = 0
    for dies_after in (False, True):
        mortal = MortalBroker(broker.settings, dies_after=dies_after)
        dying = App(folder, mortal, insecure=not headers)
        try:
            while True:
                path, headers = await make(app), await callers_of(action, app)
                before, told = everything_in(broker.settings), len(await records_of(broker))
                mortal.calls_to_live = lives % 100
                try:
                    answer = await dying.http.request(
                        method, path, json=body() if callable(body) else body, headers=headers
                    )
                except Killed:
                    answer = None
                made = [record for record in (await records_of(broker))[told:] if record["outcome"] == "accepted"]
                if everything_in(broker.settings) != before or answer is not None:
                    actions = [record["action"] for record in made]
                    assert actions == [action], f"effect without record after {lives} calls"
                lives += 1
                if answer is not None:
                    assert answer.status_code in {200, 201}, answer.text
                    break
        finally:
            await dying.http.aclose()
            await mortal.close()
        assert lives > 2, "it never died"
        lives = 100
    assert await check_chain(broker) >= lives % 100


@pytest.mark.parametrize("action", ACTS)
async def test_an_act_is_recorded_before_any_of_its_effects(action: str, app: App, tmp_path: Path) -> None:
    await check_recorded_first(action, app, tmp_path)


# --- that these tests bite --------------------------------------------------------------------------------------------


def test_a_new_route_that_acts_is_missed_among_the_actions(app: App) -> None:
    async def forget_everything() -> None:
        pass

    app.app.add_api_route("/api/v1/hosts", forget_everything, methods=["DELETE"])
    with pytest.raises(AssertionError, match="a route without an action"):
        check_actions(app.app)


@pytest.mark.parametrize("action", ACTS)
async def test_a_route_that_records_nothing_is_found_out(
    action: str, app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def accept_nothing(*_: Any, **__: Any) -> None:
        """As if the route had forgotten to."""

    monkeypatch.setattr("api.audit.accept", accept_nothing)
    with pytest.raises(AssertionError, match="effect without record"):
        await check_recorded_first(action, app, tmp_path)


async def test_a_route_that_records_only_after_the_effect_is_found_out(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept, revoke = api_audit.accept, TokenStore.revoke
    put_off: list[tuple[Any, Any]] = []

    async def accept_later(*given: Any, **facts: Any) -> None:
        put_off.append((given, facts))

    async def revoke_first(*given: Any, **facts: Any) -> Token | None:
        token = await revoke(*given, **facts)
        call, told = put_off.pop()
        await accept(*call, **told)
        return token

    path = await a_token_there(app)
    monkeypatch.setattr("api.audit.accept", accept_later)
    monkeypatch.setattr(TokenStore, "revoke", revoke_first)
    await app.ok("DELETE", path)  # while nothing dies all is told, if late
    assert [record["action"] for record in await records_of(app.parts.broker)][-1] == "token.revoke"

    async def another_token_there(app: App) -> str:
        with monkeypatch.context() as honest:
            honest.setattr("api.audit.accept", accept)
            return await a_token_there(app)

    monkeypatch.setitem(ACTS, "token.revoke", ("DELETE", another_token_there, None))
    with pytest.raises(AssertionError, match="effect without record"):
        await check_recorded_first("token.revoke", app, tmp_path)


# --- what a record says -----------------------------------------------------------------------------------------------


async def test_a_record_says_before_and_after_and_no_secret(app: App, broker: Broker) -> None:
    path = await a_schedule_there(app)
    await app.ok("PATCH", path, json={"enabled": False, "name": "paused now"})
    with_secret = {**START, "additional_args": {"password": "hunter2"}}
    await app.ok("POST", REQUEST, json=with_secret, headers={"X-Request-ID": "call-7", "X-Forwarded-For": "10.9.9.9"})
    await app.ok("POST", REQUEST, json={**START, "dry_run": True})
    token = await app.ok("POST", TOKENS, json={"kind": "viewer", "services": ["*"]})
    _, changed, submitted, dry, made = await records_of(broker)
    assert json.loads(changed["before"]) == {"enabled": True, "name": "nightly"}
    assert json.loads(changed["after"]) == {"enabled": False, "name": "paused now"}
    assert (submitted["hosts"], submitted["http_request_id"], submitted["service"]) == ("2", "call-7", "web")
    assert submitted["address"] == "192.0.2.1", "nobody said that a proxy is to be believed"
    assert dry["action"] == "request.dry_run"
    assert made["objects"] == token["id"]
    everything = json.dumps(await records_of(broker))
    assert "hunter2" not in everything
    assert token["token"] not in everything


async def test_an_act_that_fails_after_it_was_accepted_says_so_and_of_which(
    app: App, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any, **__: Any) -> None:
        raise BrokerUnavailable("TimeoutError")

    monkeypatch.setattr(app.parts.request_store, "note_cancelled", away)
    assert (await app.http.delete(await a_request_there(app))).status_code == 503
    await app.parts.refusals.write()
    _, accepted, failed = await records_of(broker)
    assert (accepted["outcome"], failed["outcome"], failed["code"]) == ("accepted", "failed", "broker_unavailable")
    assert (failed["act"], failed["objects"]) == (accepted["id"], accepted["objects"])


async def test_an_act_that_cannot_be_recorded_is_not_done(
    app: App, broker_settings: BrokerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> None:
        raise BrokerUnavailable("TimeoutError")

    monkeypatch.setattr(app.parts.audit, "write", away)
    before = everything_in(broker_settings)
    answer = await app.http.post(REQUEST, json=START)
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
    assert everything_in(broker_settings) == before


async def test_each_request_of_many_is_an_act_of_its_own(app: App, broker: Broker) -> None:
    another = {"service_name": "queue", "target_scope": "service"}
    requests = [START, {"service_name": "db"}, {**START, "service_name": "api"}, another, {"service_name": "db"}, 7]
    answer = await app.ok("POST", f"{REQUEST}/bulk", json={"requests": requests}, headers={"X-Request-ID": "call-7"})
    records = await records_of(broker)
    assert [each["outcome"] for each in records] == ["accepted", "refused", "accepted", *["refused"] * 3]
    assert [each["service"] for each in records] == ["web", "db", "api", "queue", "db", ""]
    assert records[0]["objects"] == answer["results"][0]["response"]["request_id"]
    refused = [each for each in records if each["outcome"] == "refused"]
    assert [json.loads(each["details"]) for each in refused] == [{"index": index} for index in (1, 3, 4, 5)]
    for each in refused:
        assert (each["action"], each["code"], each["http_request_id"]) == ("request.submit", "invalid", "call-7")
        assert "act" not in each, "it is no failure of the one before"
        assert "count" not in each, "each is told by itself"
    await app.parts.refusals.write()
    assert len(await records_of(broker)) == len(requests), "none is told twice"


async def test_refused_requests_of_many_are_counted_where_they_cannot_be_told_one_by_one(
    app: App, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> None:
        raise BrokerUnavailable("TimeoutError")

    with monkeypatch.context() as gone:
        gone.setattr(app.parts.audit, "write", away)
        answer = await app.ok("POST", f"{REQUEST}/bulk", json={"requests": [{"service_name": "db"}] * 3})
    assert answer["failed_count"] == 3
    await app.parts.refusals.write()
    (record,) = await records_of(broker)
    assert (record["service"], record["code"], record["count"]) == ("db", "invalid", "3")
