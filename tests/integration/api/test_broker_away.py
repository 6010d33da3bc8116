"""The broker goes away: the API says so at once, with 503 and when to come again, and recovers by itself."""

import asyncio
import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import httpx
import pytest
import redis

from broker.settings import BrokerSettings
from tests.support.api import HEARTBEAT, REQUEST, TOKENS, Api, PlayedAgent, running_api, talking_to
from tests.support.processes import Role, broker_role, eventually, started, worker_role
from tests.support.refusals import check_problem
from tests.support.routes import ROUTES
from tests.support.servers import wait_for_broker

WITHOUT_IT: Final = ("/metrics", "/api/v1/profiles", "/api/v1/flamegraph")
"""What needs no broker for callers who are known: stored profiles are files."""
NEEDS_THE_BROKER: Final = [
    at for at, route in ROUTES.items() if "admin" in (route.kinds or ()) and not at[1].startswith(WITHOUT_IT)
]  # fmt: skip
PATIENCE: Final = 15.0
"""Seconds in which a call is answered while the broker hangs: it is given five, and connecting five more."""


@dataclass
class Site:
    """A system whose broker a test may kill or stop, if it starts it again."""

    api: Api
    broker: Role | None = None
    early: dict[str, httpx.Response] = field(default_factory=dict)
    """What the API answered when there had never been a broker."""

    def restart_broker(self) -> None:
        assert self.broker is not None
        self.broker.restart()
        wait_for_broker(self.api.settings)
        eventually(self.api.is_ready, within=20, what="recovery")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The API comes first, then a look at what it says without a broker, then the rest."""
    state_dir = tmp_path_factory.mktemp("fragile")
    with contextlib.ExitStack() as stack:
        site = Site(stack.enter_context(running_api(state_dir, until="serves")))
        agent = PlayedAgent(site.api, "early")
        site.early = {path: site.api.http.get(path) for path in ("/healthz", "/readyz", "/docs")}
        site.early["beat"] = site.api.call("POST", HEARTBEAT, token=site.api.agent, json=agent.body())
        site.broker = stack.enter_context(started(broker_role(state_dir)))
        wait_for_broker(BrokerSettings(state_dir=state_dir))
        eventually(site.api.is_ready, within=20, what="an API that found its broker")
        stack.enter_context(started(worker_role(state_dir)))
        eventually(lambda: "merger" in site.api.http.get("/readyz").text, what="workers")
        yield site


def held_by(api: Api) -> float:
    """How many heartbeats wait, as the API says itself."""
    text = api.call("GET", "/metrics", token=api.admin).text
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith("pcs_held_heartbeats "))


def check_unavailable(answer: httpx.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) >= 1
    check_problem(answer, code="broker_unavailable", fields=[])


def good_query(at: tuple[str, str]) -> Mapping[str, str] | None:
    """The query of a route's good call; one that is refused for its query alone is asked without."""
    return None if ROUTES[at].status == 422 else ROUTES[at].query


async def every_answer(api: Api) -> dict[tuple[str, str], httpx.Response]:
    """What each route that needs the broker answers, all asked at once."""
    ids = {"request_id": "r-1", "token_id": "t-1", "service_name": "web", "hostname": "web-01"}
    ids |= {"schedule_id": "s-1", "letter_id": "0-1-1", "name": "20260504T10-0"}
    async with talking_to(api, api.admin) as client:
        calls = [
            client.request(method, path.format(**ids), json=ROUTES[at].body, params=good_query(at))
            for at in NEEDS_THE_BROKER
            for method, path in [at]
        ]
        answers = await asyncio.gather(*calls, client.get("/readyz"))
    return dict(zip([*NEEDS_THE_BROKER, ("GET", "/readyz")], answers, strict=True))


def check_all_unavailable(answers: dict[tuple[str, str], httpx.Response]) -> None:
    ready = answers.pop(("GET", "/readyz"))
    assert ready.status_code == 503
    assert int(ready.headers["retry-after"]) >= 1
    assert ready.json()["status"] == "unavailable"
    assert ready.json()["checks"]["broker"]["ok"] is False
    for answer in answers.values():
        check_unavailable(answer)


def test_an_api_that_starts_before_its_broker_serves_at_once_and_finds_it_later(site: Site) -> None:
    assert site.early["/healthz"].json() == {"status": "alive"}
    assert site.early["/docs"].status_code == 200
    assert site.early["/readyz"].status_code == 503
    assert site.early["/readyz"].json()["status"] == "unavailable"
    check_unavailable(site.early["beat"])
    assert PlayedAgent(site.api, "early").beat()["success"] is True
    assert "Traceback" not in site.api.log


async def test_every_route_answers_503_without_a_broker_and_recovers_with_it(site: Site) -> None:
    accepted = site.api.submit("before-the-kill")
    assert site.broker is not None
    site.broker.kill()
    try:
        begun = time.monotonic()
        for _ in range(2):
            check_all_unavailable(await every_answer(site.api))
            assert site.api.http.get("/healthz").status_code == 200
        assert time.monotonic() - begun < PATIENCE
    finally:
        site.restart_broker()
    agent = PlayedAgent(site.api, "before-the-kill")
    assert agent.run()["command_id"] == accepted["command_id"]
    assert site.api.wait_for(accepted["request_id"])["status"] == "completed"
    site.api.check_log()


async def test_a_broker_that_hangs_is_as_good_as_none(site: Site) -> None:
    assert site.broker is not None
    site.broker.pause()
    try:
        begun = time.monotonic()
        async with talking_to(site.api, None) as client:
            hanging = asyncio.create_task(every_answer(site.api))
            await asyncio.sleep(0.5)
            asked = time.monotonic()
            assert (await client.get("/healthz")).status_code == 200
            assert time.monotonic() - asked < 2, "what needs no broker does not wait for it"
        check_all_unavailable(await hanging)
        assert time.monotonic() - begun < PATIENCE
    finally:
        site.broker.resume()
    eventually(site.api.is_ready, within=20, what="recovery")
    assert PlayedAgent(site.api, "after-the-pause").beat()["success"] is True
    site.api.check_log()


@pytest.mark.parametrize(
    "setting", [("maxmemory", "1", "0"), ("min-replicas-to-write", "1", "0")], ids=lambda it: it[0]
)
def test_a_broker_that_takes_no_writes_is_as_good_as_none(site: Site, setting: tuple[str, str, str]) -> None:
    """Its memory is full, or too few replicas follow: 503, never a cheerful 200, and nothing unexpected in the log."""
    name, bad, good = setting
    agent = PlayedAgent(site.api, "unwritten")
    with redis.Redis.from_url(site.api.settings.url) as client:
        client.config_set(name, bad)
        try:
            for path in (HEARTBEAT, REQUEST, TOKENS):
                body = ROUTES["POST", path].body
                check_unavailable(site.api.call("POST", path, token=site.api.admin, json=body))
            assert site.api.http.get("/healthz").status_code == 200
        finally:
            client.config_set(name, good)
    eventually(site.api.is_ready, within=20, what="recovery")
    assert agent.beat()["success"] is True
    site.api.check_log()


async def test_a_held_heartbeat_outlives_the_death_of_the_broker(site: Site) -> None:
    agent = PlayedAgent(site.api, "patient")
    async with talking_to(site.api, site.api.admin) as client:
        held = asyncio.create_task(client.post(HEARTBEAT, json=agent.body(), headers={"Prefer": "wait=30"}))
        await asyncio.to_thread(eventually, lambda: held_by(site.api) == 1, what="the heartbeat's being held")
        await asyncio.sleep(0.3)  # its first question is answered
        assert site.broker is not None
        site.broker.kill()
        try:
            await asyncio.sleep(0.3)
            assert not held.done(), held.result().text
        finally:
            await asyncio.to_thread(site.restart_broker)
        accepted = await asyncio.to_thread(site.api.submit, agent.host)
        answer = await held
    assert answer.status_code == 200, answer.text
    assert answer.json()["command_id"] == accepted["command_id"]
    site.api.check_log()


async def test_a_broker_that_comes_back_empty_is_set_up_anew(site: Site) -> None:
    """The data is gone, the tokens of the first start are not: they are registered again."""
    with redis.Redis.from_url(site.api.settings.url) as client:
        client.flushall()

    def registered() -> bool:
        listed = site.api.call("GET", TOKENS, token=site.api.admin)
        return listed.status_code == 200 and len(listed.json()["items"]) == 2

    await asyncio.to_thread(eventually, registered, within=25, what="the first tokens' return")
    accepted = site.api.submit("anew")
    assert PlayedAgent(site.api, "anew").run()["command_id"] == accepted["command_id"]
