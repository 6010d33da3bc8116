"""Who may do what: every route by every kind of token, of its own service or another, of its own tenant or another."""

import asyncio
import itertools
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import httpx
import pytest
import redis
from fastapi.routing import iter_route_contexts

from api.app import create_app
from api.settings import ApiSettings
from broker import keys
from broker.connection import Broker
from broker.settings import BrokerSettings
from broker.token_store import TokenKind, TokenStore, new_secret
from profiles.embedded import Embedded
from profiles.gathering import gathered
from profiles.objects import Objects
from profiles.upload import read_json
from protocol.names import DEFAULT_TENANT, HostKey
from tests.support.api import SCHEDULES, Api, PlayedAgent
from tests.support.refusals import check_problem, check_tells_no_secret
from tests.support.routes import A_SCHEDULE, ANOTHER_EACH_TIME, KEY, ROUTES, Route, to_other_tenants
from tests.support.servers import everything_in

OTHER_TENANT: Final = "elsewhere"
_numbers = itertools.count(1)
STRANGER: Final = (401, "unauthenticated", "Authorization")


class Caller(NamedTuple):
    """Somebody who calls; without a kind, somebody whose token is none."""

    name: str
    secret: str | None
    kind: str = ""
    services: str = ""
    tenant: str = DEFAULT_TENANT


@pytest.fixture(scope="module")
def callers(bare_api: Api, keyring: Mapping[str, str | None]) -> list[Caller]:
    """Every kind of token, of all services, of `web` and of `db`, and of another tenant; and strangers.

    Whose tenant is another one is refused or served for that, whatever its services: one of each kind is enough.
    """
    made = [Caller(name, keyring[name]) for name in ("none", "wrong", "revoked", "expired")]

    async def make() -> None:
        async with Broker.opened(bare_api.settings) as broker:
            for tenant, patterns in ((DEFAULT_TENANT, ("*", "web", "db")), (OTHER_TENANT, ("*",))):
                for kind in TokenKind:
                    for services in patterns:
                        secret = new_secret()
                        await TokenStore(broker).add(
                            secret, kind=kind, tenant=tenant, services=(services,),
                            max_uses=1_000 * (kind is TokenKind.ENROLMENT),
                        )  # fmt: skip
                        bare_api.made_tokens.append(secret)
                        made.append(Caller(f"{kind} of {services} of {tenant}", secret, kind, services, tenant))

    asyncio.run(make())
    return made


@pytest.fixture(scope="module")
def places(bare_api: Api) -> Iterator[dict[str, str]]:
    """What stands in the paths; all of it is of `web` and of our tenant."""
    PlayedAgent(bare_api, "web-ours").beat()  # of a name that no call of the table brings into another tenant
    letter = {
        "kind": "doorbell", "host": HostKey(DEFAULT_TENANT, "web", "web-ours").path, "reason": "r", "attempts": "11",
        "at": "1",
    }  # fmt: skip
    with redis.Redis.from_url(bare_api.settings.url, decode_responses=True) as client:
        letter_id = f"0-{client.xadd(keys.dead_letters(0), letter)}"
    request_id = bare_api.submit("web-01")["request_id"]
    _, token_id = bare_api.make_token("viewer", "web")
    yield {
        "request_id": request_id, "letter_id": letter_id, "service_name": "web", "hostname": "web-ours",
        "token_id": token_id, "schedule_id": a_schedule(bare_api), "name": a_profile(bare_api),
        "profile_id": a_profile(bare_api, "web-other"),
    }  # fmt: skip
    bare_api.check_log()


def a_profile(api: Api, hostname: str = "web-ours") -> str:
    """A profile of ours, indexed as the job would: there are no workers here."""
    body = {
        "start_time": "2026-05-04T10:00:00", "end_time": "2026-05-04T10:01:00", "hostname": hostname,
        "profile": "main;work 1",
    }  # fmt: skip
    upload = read_json(json.dumps(body).encode(), tenant=DEFAULT_TENANT, service="web", now=datetime.now(UTC))
    Embedded(Objects(str(api.state_dir / "profile-store"))).add(gathered(upload))
    return upload.facts.profile_id


def a_schedule(api: Api) -> str:
    return str(api.ok("POST", SCHEDULES, token=api.admin, json=A_SCHEDULE)["id"])


def served_at(at: tuple[str, str], callers: list[Caller]) -> list[Caller]:
    """Who is not refused. Where nobody is even asked for a token, with none and with one tells as much as with all."""
    if ROUTES[at].kinds is None:
        return [callers[0], callers[-1]]
    return [caller for caller in callers if refusal_of(at[1], ROUTES[at], caller) is None]


def told_by(at: tuple[str, str], answer: httpx.Response) -> str:
    """What an answer tells. Of a chain: what was accepted, as a refusal has the names that the caller gave."""
    if at[1] != "/api/v1/audit/chain":
        return answer.text
    bodies = [link["body"] or {} for link in answer.json()["links"]]
    return str([body for body in bodies if body.get("outcome") == "accepted"])


def refusal_of(path: str, route: Route, caller: Caller) -> tuple[int, str, str] | None:
    """The refusal that is due, or None."""
    if route.kinds is None:
        return None
    if not caller.kind:
        return STRANGER
    if caller.kind not in route.kinds or (route.of_the_installation and caller.tenant != DEFAULT_TENANT):
        return KEY
    if route.to_others == KEY and caller.services != "*":
        return KEY  # making tokens is nobody's within some services: it could grant itself the rest
    if caller.tenant != DEFAULT_TENANT and to_other_tenants(path) is not None:
        return to_other_tenants(path)
    return None if caller.services in {"*", "web"} else route.to_others


def test_every_route_stands_in_the_table(tmp_path: Path) -> None:
    settings = ApiSettings(state_dir=tmp_path, insecure_no_auth=True)
    app = create_app(settings, BrokerSettings(state_dir=tmp_path))
    routes = {
        (method, route.path)
        for route in iter_route_contexts(app.routes)
        for method in (route.methods or ())
        if method != "HEAD"
    }
    missing, gone = sorted(routes - set(ROUTES)), sorted(set(ROUTES) - routes)
    assert not missing, f"add a row to ROUTES in tests/support/routes.py for {missing}: who may use it?"
    assert not gone, f"take the rows of {gone} from ROUTES in tests/support/routes.py: there is no such route"


class Called(NamedTuple):
    """One route as a caller finds it."""

    api: Api
    at: tuple[str, str]
    places: Mapping[str, str]

    def by(self, caller: Caller, *, anew: bool) -> httpx.Response:
        """Call it; `anew`: on a token and a schedule of this call alone, as it may end or change them."""
        method, path = self.at
        given = dict(self.places)
        if anew and "{token_id}" in path:
            given["token_id"] = self.api.make_token("viewer", "web")[1]
        if anew and "{schedule_id}" in path:
            given["schedule_id"] = a_schedule(self.api)
        another = f"h-{next(_numbers)}"
        body = {
            name: another if value == ANOTHER_EACH_TIME else value
            for name, value in (ROUTES[self.at].body or {}).items()
        }  # fmt: skip
        return self.api.call(method, path.format(**given), token=caller.secret, json=body, params=ROUTES[self.at].query)


@pytest.mark.parametrize("at", ROUTES, ids=" ".join)
def test_a_route_refuses_whom_it_should_and_nothing_changes(
    bare_api: Api, callers: list[Caller], places: dict[str, str], at: tuple[str, str]
) -> None:
    route = Called(bare_api, at, places)
    before = everything_in(bare_api.settings)
    wrong = []
    for caller in callers:
        refusal = refusal_of(at[1], ROUTES[at], caller)
        if refusal is None:
            continue
        status, code, field = refusal
        answer = route.by(caller, anew=False)
        if answer.status_code != status:
            wrong.append(f"{caller.name}: {answer.status_code} instead of {status}: {answer.text[:200]}")
            continue
        check_problem(answer, code=code, fields=[field])
        assert answer.headers.get("www-authenticate") == ("Bearer" if status == 401 else None)
        check_tells_no_secret(bare_api, answer)
    assert not wrong, "\n".join(wrong)
    assert everything_in(bare_api.settings) == before


@pytest.mark.parametrize("at", ROUTES, ids=" ".join)
def test_a_route_serves_whom_it_should_and_tells_nobody_of_another_tenant(
    bare_api: Api, callers: list[Caller], places: dict[str, str], at: tuple[str, str]
) -> None:
    route = Called(bare_api, at, places)
    wrong = []
    for caller in served_at(at, callers):
        answer = route.by(caller, anew=at[0] != "GET")
        if answer.status_code != ROUTES[at].status:
            wrong.append(f"{caller.name}: {answer.status_code} instead of {ROUTES[at].status}: {answer.text[:200]}")
        said = told_by(at, answer)
        told = [name for name, value in places.items() if name != "service_name" and value in said]
        if caller.tenant != DEFAULT_TENANT and told:
            wrong.append(f"{caller.name} is told of our {told}")
    assert not wrong, "\n".join(wrong)
