"""A continuous request for a whole service is given to the hosts that join it, on a real server."""

import time
from typing import Any

import pytest

from broker import keys
from broker.connection import Broker
from broker.host_registry import HostRegistry
from broker.inventory import Inventories
from broker.request_log import RequestLog
from broker.request_record import RequestRecord
from broker.request_store import RequestStore
from broker.standing import StandingRequests
from broker.token_store import ANYBODY_ID, TokenKind, TokenStore, new_secret
from protocol.lifecycle import OUTCOMES
from protocol.names import DEFAULT_TENANT, HostKey
from protocol.requests import ProfileRequest
from tests.support.key_leaks import leaked_keys
from tests.support.mortal_broker import Killed, MortalBroker
from tests.support.played_host import PlayedHost
from workers.greeter import Greeter


def a_greeter(broker: Broker) -> Greeter:
    """One greeter, wired as the role is."""
    return Greeter(
        StandingRequests(broker),
        RequestStore(broker),
        HostRegistry(broker),
        RequestLog(broker),
        Inventories(broker),
        TokenStore(broker),
    )


def a_played_host(broker: Broker, name: str, service: str = "web", tenant: str = DEFAULT_TENANT) -> PlayedHost:
    host = PlayedHost(broker, HostKey(tenant, service, name))
    host.now = time.time()
    return host


async def a_standing_request(broker: Broker, *hosts: str, by: str = ANYBODY_ID, **asked: Any) -> RequestRecord:
    """Stored, standing and appended as the API does it; `by`: the id of a token."""
    body = ProfileRequest.model_validate(
        {"service_name": "web", "target_scope": "service", "continuous": True, **asked}
    )
    store, now = RequestStore(broker), time.time()
    ticket = await store.ticket(tenant=DEFAULT_TENANT, token_id=by, idempotency_key=None, body_digest="", now=now)
    record = RequestRecord(
        ticket.request_id, ticket.command_id, DEFAULT_TENANT, by, now, body, dict.fromkeys(hosts, None)
    )
    await store.put(record)
    await StandingRequests(broker).open(record)
    await RequestLog(broker).append(record.wishes())
    return record


async def stored(broker: Broker, record: RequestRecord) -> RequestRecord:
    found = await RequestStore(broker).get(record.request_id)
    assert found is not None
    return found


async def end(broker: Broker, record: RequestRecord, reason: str) -> None:
    """As the API ends it, before it appends a stop."""
    await StandingRequests(broker).end(record.request_id, reason=reason)
    await RequestLog(broker).cancel(record.request_id, (), reason=reason)


async def test_a_host_that_joins_is_given_the_request_once(broker: Broker) -> None:
    record, greeter = await a_standing_request(broker, "old"), a_greeter(broker)
    joiner = a_played_host(broker, "new")
    await joiner.beat()
    await a_played_host(broker, "old").beat()
    assert [await greeter.greet() for _ in range(3)] == [1, 0, 0]
    await joiner.settle()
    assert (await joiner.take()).command_id == record.command_id
    assert await joiner.states_of(record.request_id) == ["submitted", "pending", "delivered"]
    assert await a_played_host(broker, "old").states_of(record.request_id) == ["submitted"]
    found = await stored(broker, record)
    assert (set(found.targets), set(found.hosts)) == ({"old"}, {"old", "new"})


async def test_joiners_that_share_a_partition_are_told_apart(broker: Broker) -> None:
    record = await a_standing_request(broker, "old")
    joiners = [a_played_host(broker, f"new-{number}") for number in range(broker.partitions + 1)]
    for joiner in joiners:
        await joiner.beat()
    assert await a_greeter(broker).greet() == len(joiners)
    assert [await joiner.states_of(record.request_id) for joiner in joiners] == [["submitted"]] * len(joiners)


async def test_hosts_of_others_and_other_requests_are_left_alone(broker: Broker) -> None:
    await a_standing_request(broker, "old")
    greeter = a_greeter(broker)
    for host in (a_played_host(broker, "x", "web2"), a_played_host(broker, "x", "web", "other tenant")):
        await host.beat()
    assert await greeter.greet() == 0


async def test_a_host_that_was_silent_when_it_was_submitted_joins_on_its_return(broker: Broker) -> None:
    silent = a_played_host(broker, "silent")
    silent.now -= 3_600
    await silent.beat()
    record, greeter = await a_standing_request(broker, "old"), a_greeter(broker)
    assert await greeter.greet() == 0
    silent.now = time.time()
    await silent.beat()
    assert await greeter.greet() == 1
    assert await silent.states_of(record.request_id) == ["submitted"]


async def test_each_request_that_stands_is_given_to_a_joiner(broker: Broker) -> None:
    records = [await a_standing_request(broker, "old", duration=duration) for duration in (10, 20)]
    joiner = a_played_host(broker, "new")
    await joiner.beat()
    assert await a_greeter(broker).greet() == 2
    assert [await joiner.states_of(record.request_id) for record in records] == [["submitted"]] * 2


async def test_nobody_joins_what_has_ended(broker: Broker) -> None:
    record, greeter = await a_standing_request(broker, "old"), a_greeter(broker)
    await end(broker, record, "cancelled by token t")
    await a_played_host(broker, "new").beat()
    assert await greeter.greet() == 0
    assert (await stored(broker, record)).standing == "ended"
    assert await StandingRequests(broker).all() == []
    await StandingRequests(broker).open(record)
    assert await StandingRequests(broker).all() == [], "a repeated submission does not bring it back"


async def test_a_joiner_that_is_overtaken_by_the_end_ends_cancelled(broker: Broker) -> None:
    record = await a_standing_request(broker, "old")
    joiner = a_played_host(broker, "new")
    await StandingRequests(broker).join(record.request_id, joiner.at.path)  # and then its greeter was killed
    await end(broker, record, "the service was stopped")
    await a_greeter(broker).greet()
    assert await joiner.states_of(record.request_id) == ["submitted", "cancelled"]
    assert (await joiner.results())[-1]["reason"] == "the service was stopped"
    assert await joiner.rings() == 0
    assert await StandingRequests(broker).all() == []
    await a_played_host(broker, "old").settle()
    async with broker.guarded() as redis:
        await redis.delete(keys.open_requests(a_played_host(broker, "old").at))  # that host has not ended yet
    assert [key for key in leaked_keys(broker.settings) if ":command:" not in key] == []


@pytest.mark.parametrize("services", [("web",), ("web-*", "db")])
async def test_nobody_joins_once_its_token_may_no_longer(broker: Broker, services: tuple[str, ...]) -> None:
    tokens = TokenStore(broker)
    token = await tokens.add(new_secret(), kind=TokenKind.OPERATOR, tenant=DEFAULT_TENANT, services=services)
    record, greeter = await a_standing_request(broker, "there", by=token.token_id), a_greeter(broker)
    await a_played_host(broker, "early").beat()
    assert await greeter.greet() == (1 if token.covers("web") else 0)
    await tokens.revoke(token.token_id, tenant=DEFAULT_TENANT)
    await a_played_host(broker, "late").beat()
    assert await greeter.greet() == 0
    assert "late" not in (await stored(broker, record)).joined


async def test_the_record_is_kept_while_it_stands(broker: Broker) -> None:
    record, greeter = await a_standing_request(broker, "old"), a_greeter(broker)
    async with broker.guarded() as redis:
        await redis.expire(keys.request(record.request_id), 60)
        await greeter.greet()
        assert await redis.ttl(keys.request(record.request_id)) > 86_400


async def test_a_record_that_is_gone_is_forgotten(broker: Broker) -> None:
    record = await a_standing_request(broker, "old")
    async with broker.guarded() as redis:
        await redis.delete(keys.request(record.request_id))
    assert await a_greeter(broker).greet() == 0
    assert await StandingRequests(broker).all() == []


@pytest.mark.parametrize("dies_after", [False, True], ids=["before a call", "after a call"])
async def test_greeters_killed_at_every_call_give_the_request_to_every_joiner_once(
    broker: Broker, dies_after: bool
) -> None:
    record = await a_standing_request(broker, "old")
    joiners = [a_played_host(broker, f"new-{number}") for number in range(14)]
    for joiner in joiners[:2]:
        await joiner.beat()
    mortal, killed = MortalBroker(broker.settings, dies_after=dies_after), 0
    try:
        for life in range(120):
            mortal.calls_to_live = life
            try:
                await a_greeter(mortal).greet()
                break
            except Killed:
                killed += 1
            if life == 4:  # in the middle of the joins of the first two
                for joiner in joiners[2:]:
                    await joiner.beat()
    finally:
        await mortal.close()
    assert killed > 15
    for joiner in joiners:
        states = await joiner.states_of(record.request_id)
        assert states == ["submitted"]
        assert not OUTCOMES & set(states)
    assert set((await stored(broker, record)).joined) == {joiner.key.host for joiner in joiners}
