"""`Prefer: wait`: a heartbeat is held until a command comes, and no command is lost or wasted on the way."""

import asyncio
import json
import signal
import time
from typing import Any

import httpx
import pytest

from tests.support.api import HEARTBEAT, REQUEST, TOKENS, Api, PlayedAgent, running_api, talking_to

GENEROUS = 2.0
"""Seconds in which a nudge must arrive: it takes milliseconds on a machine that is not busy."""


def prefer(wait: int) -> dict[str, str]:
    return {"Prefer": f"wait={wait}"}


async def submit(client: httpx.AsyncClient, *hosts: str, **asked: Any) -> dict[str, Any]:
    body = {"service_name": "web", "target_hostnames": list(hosts), **asked}
    answer = await client.post(REQUEST, json=body)
    assert answer.status_code == 200, answer.text
    accepted: dict[str, Any] = answer.json()
    return accepted


async def held(
    client: httpx.AsyncClient, body: dict[str, Any], wait: int, *, settle: float = 0.2
) -> asyncio.Task[httpx.Response]:
    """A heartbeat that the server holds by now."""
    task = asyncio.create_task(client.post(HEARTBEAT, json=body, headers=prefer(wait)))
    await asyncio.sleep(settle)
    assert not task.done(), task.result().text
    return task


async def test_a_held_heartbeat_is_answered_as_soon_as_there_is_a_command(served: Api, agent: PlayedAgent) -> None:
    async with talking_to(served, served.admin) as client:
        task = await held(client, agent.body(), 25)
        begun = time.monotonic()
        accepted = await submit(client, agent.host, duration=7)
        answer = await task
        took = time.monotonic() - begun
    assert answer.status_code == 200
    assert answer.headers["preference-applied"] == "wait=25"
    assert answer.json()["command_id"] == accepted["command_id"]
    assert answer.json()["profiling_command"]["combined_config"]["duration"] == 7
    assert took < GENEROUS


async def test_a_held_heartbeat_is_answered_with_nothing_when_its_time_is_up(served: Api, agent: PlayedAgent) -> None:
    async with talking_to(served, served.agent) as client:
        begun = time.monotonic()
        answer = await client.post(HEARTBEAT, json=agent.body(), headers=prefer(1))
        took = time.monotonic() - begun
    assert answer.headers["preference-applied"] == "wait=1"
    assert (answer.json()["profiling_command"], answer.json()["command_id"]) == (None, None)
    assert 0.9 <= took < 1 + GENEROUS


@pytest.mark.parametrize("preference", [None, "wait=0", "respond-async", "wait=soon", "wait=-5"])
async def test_without_a_wait_the_answer_is_immediate(served: Api, agent: PlayedAgent, preference: str | None) -> None:
    headers = {"Prefer": preference} if preference else {}
    async with talking_to(served, served.agent) as client:
        begun = time.monotonic()
        answer = await client.post(HEARTBEAT, json=agent.body(), headers=headers)
    assert answer.status_code == 200
    assert "preference-applied" not in answer.headers
    assert time.monotonic() - begun < GENEROUS


async def test_a_command_that_is_there_already_is_not_waited_for(served: Api, agent: PlayedAgent) -> None:
    taken_before = served.submit(agent.host)
    served.wait_for(taken_before["request_id"], "pending")
    async with talking_to(served, served.agent) as client:
        answer = await client.post(HEARTBEAT, json=agent.body(), headers=prefer(3600))
    assert answer.json()["command_id"] == taken_before["command_id"]
    assert answer.headers["preference-applied"] == "wait=60", "nothing is held for longer than a minute"


async def test_a_nudge_wakes_the_host_it_is_for_and_no_other(served: Api, agent: PlayedAgent) -> None:
    other = PlayedAgent(served, f"{agent.host}-other")
    async with talking_to(served, served.admin) as client:
        mine, others = await held(client, agent.body(), 25), await held(client, other.body(), 2)
        accepted = await submit(client, agent.host)
        assert (await mine).json()["command_id"] == accepted["command_id"]
        assert (await others).json()["command_id"] is None


async def test_a_client_that_goes_away_does_not_take_the_command_with_it(served: Api, agent: PlayedAgent) -> None:
    async with talking_to(served, served.agent) as client:
        task = await held(client, agent.body(), 25)
        task.cancel()
        await asyncio.wait({task})
    for _ in range(10):  # each a turn of the server's loop, in which it hears of the closed connection
        assert served.http.get("/healthz").status_code == 200
    accepted = served.submit(agent.host)
    served.wait_for(accepted["request_id"], "pending")
    assert agent.beat()["command_id"] == accepted["command_id"]
    deliveries = [
        line
        for line in map(json.loads, served.log.splitlines())
        if line["event"] == "command delivered" and line["command_id"] == accepted["command_id"]
    ]
    assert [line["attempt"] for line in deliveries] == [1]


async def test_a_hundred_held_heartbeats_all_wake(served: Api) -> None:
    agents = [PlayedAgent(served, f"many-{number:03}", service="many") for number in range(100)]
    async with talking_to(served, served.admin) as client:
        tasks = [asyncio.create_task(client.post(HEARTBEAT, json=a.body(), headers=prefer(30))) for a in agents]
        await asyncio.sleep(1)
        accepted = await submit(client, *(agent.host for agent in agents), service_name="many")
        answers = await asyncio.gather(*tasks)
    assert {answer.json()["command_id"] for answer in answers} == {accepted["command_id"]}


async def test_no_wake_up_is_lost_when_beat_and_request_meet(served: Api, agent: PlayedAgent) -> None:
    """Two hundred rounds: the request comes before, while and after the heartbeat is registered."""
    async with talking_to(served, served.admin) as client:
        for number in range(200):
            beating = asyncio.create_task(client.post(HEARTBEAT, json=agent.body(), headers=prefer(20)))
            await asyncio.sleep((number % 10) * 0.0007)
            accepted = await submit(client, agent.host)
            begun = time.monotonic()
            answer = await beating
            assert answer.json()["command_id"] == accepted["command_id"], f"round {number}"
            assert time.monotonic() - begun < 10, f"round {number} was not woken"
            agent.last_command_id = accepted["command_id"]
            assert agent.complete(accepted["command_id"]).status_code == 200


async def test_a_held_heartbeat_ends_when_its_token_is_revoked(served: Api, agent: PlayedAgent) -> None:
    secret, token_id = served.make_token("agent", "*")
    async with talking_to(served, secret) as client:
        task = await held(client, agent.body(), 50)
        served.ok("DELETE", f"{TOKENS}/{token_id}", token=served.admin)
        begun = time.monotonic()
        answer = await task
        took = time.monotonic() - begun
    assert answer.status_code == 401
    assert took < 5


async def test_a_held_heartbeat_ends_when_its_token_runs_out(served: Api, agent: PlayedAgent) -> None:
    secret, _ = served.make_token("agent", "*", expires_in=2)
    async with talking_to(served, secret) as client:
        task = await held(client, agent.body(), 50)
        begun = time.monotonic()
        assert (await task).status_code == 401
        assert time.monotonic() - begun < 5


async def test_a_heartbeat_that_is_held_on_an_old_secret_ends_with_the_overlap(served: Api, agent: PlayedAgent) -> None:
    secret, token_id = served.make_token("agent", "*")
    async with talking_to(served, secret) as client:
        task = await held(client, agent.body(), 50)
        rotated = served.ok("POST", f"{TOKENS}/{token_id}/rotate", token=served.admin, json={"overlap": 3})
        served.made_tokens.append(rotated["token"])
        assert served.call("GET", f"{TOKENS}/self", token=secret).json()["id"] == token_id, "good for the overlap"
        assert (await task).status_code == 401
        assert served.call("GET", f"{TOKENS}/self", token=secret).status_code == 401
    assert served.ok("GET", f"{TOKENS}/self", token=rotated["token"])["id"] == token_id


async def test_a_token_revoked_meanwhile_gets_no_command(served: Api, agent: PlayedAgent) -> None:
    secret, token_id = served.make_token("agent", "*")
    async with talking_to(served, secret) as client:
        task = await held(client, agent.body(), 25)
        served.ok("DELETE", f"{TOKENS}/{token_id}", token=served.admin)
        assert (await task).status_code == 401
        accepted = served.submit(agent.host)
    assert agent.take()["command_id"] == accepted["command_id"]


async def test_sigterm_answers_every_held_heartbeat_and_ends_the_process(served: Api, agent: PlayedAgent) -> None:
    with running_api(served.state_dir, log="stopped.log") as api:
        assert api.ok("GET", TOKENS, token=served.admin), "a later process keeps to the tokens of the first"
        async with talking_to(api, api.agent) as client:
            bodies = [PlayedAgent(api, f"{agent.host}-{one}").body() for one in range(20)]
            tasks = [asyncio.create_task(client.post(HEARTBEAT, json=body, headers=prefer(50))) for body in bodies]
            await asyncio.sleep(0.7)
            assert not any(task.done() for task in tasks)
            begun = time.monotonic()
            api.role.process.send_signal(signal.SIGTERM)
            answers = await asyncio.gather(*tasks)
            answered = time.monotonic() - begun
            exit_code = await asyncio.to_thread(api.role.process.wait, 10)
            ended = time.monotonic() - begun
        assert {answer.status_code for answer in answers} == {200}
        assert {answer.json()["command_id"] for answer in answers} == {None}
        assert answered < 2 * GENEROUS
        assert ended < 2 * GENEROUS + 2
        assert exit_code == 0
        api.check_log()
