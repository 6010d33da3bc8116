"""A continuous request for workloads follows them from host to host, on a real server."""

import json
import time
from typing import Any

import pytest

from broker import keys
from broker.connection import Broker
from broker.inventory import packed
from broker.request_record import RequestRecord
from broker.request_store import RequestStore
from broker.scripts import Beat, Delivered
from broker.standing import StandingRequests
from broker.submission import Intake, submit, targets_of
from broker.token_store import ANYBODY_ID
from protocol.heartbeats import Heartbeat
from protocol.names import DEFAULT_TENANT, HostKey
from protocol.pacing import DEFAULT_INTERVAL
from protocol.requests import ProfileRequest
from tests.integration.workers.test_standing_requests import a_greeter, a_played_host, stored
from tests.support.played_host import PlayedHost

SHOP = [{"namespace": "shop"}]


async def runs(host: PlayedHost, **pods: list[int]) -> None:
    """The host beats and says which pods it has, in the namespace that their names begin with."""
    containers = [
        {"container_id": pod, "container_name": "app", "namespace": pod.partition("_")[0], "pod_name": pod,
         "processes": [{"pid": pid} for pid in pids]}
        for pod, pids in pods.items()
    ]  # fmt: skip
    said = Heartbeat.model_validate(
        {"ip_address": "::1", "hostname": host.key.host, "service_name": host.key.service, "containers": containers}
    )
    host.now = time.time()
    await host._store.exchange(Beat(host.key, inventory=packed(said.containers)), now=host.now)


async def submitted(broker: Broker, **asked: Any) -> RequestRecord:
    """A request as the API submits it."""
    intake = Intake.of(broker, heartbeat_interval=DEFAULT_INTERVAL, fan_out_above=1_000)
    body = ProfileRequest.model_validate({"service_name": "web", "target_scope": "namespace", **asked})
    meant = await targets_of(body, DEFAULT_TENANT, intake)
    ticket = await RequestStore(broker).ticket(
        tenant=DEFAULT_TENANT, token_id=ANYBODY_ID, idempotency_key=None, body_digest="", now=time.time()
    )
    record = RequestRecord(
        ticket.request_id, ticket.command_id, DEFAULT_TENANT, ANYBODY_ID, ticket.accepted_at, body, meant.targets
    )
    return await submit(record, intake)


async def told(host: PlayedHost) -> Any:
    """What the host is told to do next: its pids, or "stop"; it takes it and begins. None when nothing is new."""
    host.now = time.time()
    await host.settle()
    answer = await host.beat()
    if not isinstance(answer, Delivered):
        return None
    command = json.loads(answer.command)
    begun = command["command_type"] == "start"
    await host.beat(last=answer.command_id, received=[answer.command_id], executed=[answer.command_id], begun=begun)
    return command["combined_config"]["pids"] if begun else "stop"


@pytest.fixture
def a(broker: Broker) -> PlayedHost:
    return a_played_host(broker, "node-a")


@pytest.fixture
def b(broker: Broker) -> PlayedHost:
    return a_played_host(broker, "node-b")


async def test_a_pod_that_moves_is_profiled_where_it_comes_to_and_comes_back(
    broker: Broker, a: PlayedHost, b: PlayedHost
) -> None:
    await runs(a, shop_cart=[1, 2], ops_x=[9])
    await runs(b, ops_y=[8])
    record, greeter = await submitted(broker, target_entities=SHOP, continuous=True), a_greeter(broker)
    assert dict(record.targets) == {"node-a": [1, 2]}
    assert await greeter.greet() == 0
    assert await told(a) == [1, 2]

    await runs(a, ops_x=[9])
    await runs(b, ops_y=[8], shop_cart=[4])
    assert await greeter.greet() == 1
    assert await told(b) == [4]
    assert await told(a) == "stop"

    await runs(a, ops_x=[9], shop_cart=[7])
    await runs(b, ops_y=[8])
    assert await greeter.greet() == 0
    assert await told(a) == [7]
    assert await told(b) == "stop"
    assert set((await stored(broker, record)).hosts) == {"node-a", "node-b"}
    assert (await a.states_of(record.request_id))[-1] == "running"


async def test_a_restarted_container_is_followed_to_its_new_processes(broker: Broker, a: PlayedHost) -> None:
    await runs(a, shop_cart=[1, 2])
    record, greeter = await submitted(broker, target_entities=SHOP, continuous=True), a_greeter(broker)
    assert await told(a) == [1, 2]
    await runs(a, shop_cart=[2, 3])
    await greeter.greet()
    assert await told(a) == [2, 3]
    await greeter.greet()
    assert await told(a) is None, "nothing has changed since"
    assert await a.open_ids() == {record.request_id}


async def test_another_greeter_goes_on_where_the_first_one_died(broker: Broker, a: PlayedHost, b: PlayedHost) -> None:
    await runs(a, shop_cart=[1])
    await runs(b, shop_web=[4])
    record = await submitted(broker, target_entities=SHOP, continuous=True)
    c = a_played_host(broker, "node-c")
    await runs(c, shop_web=[5])
    number = await StandingRequests(broker).join(record.request_id, c.at.path)
    assert number == 0, "it joined, and the greeter died before it appended anything"
    await runs(a, shop_cart=[2])
    await a_greeter(broker).greet()
    await a_greeter(broker).greet()
    assert [await told(host) for host in (a, b, c)] == [[2], [4], [5]]
    assert await told(a) is None


async def test_a_joiner_whose_pod_has_left_meanwhile_is_never_told_to_profile_the_whole_host(
    broker: Broker, a: PlayedHost, b: PlayedHost
) -> None:
    await runs(a, shop_cart=[1])
    record = await submitted(broker, target_entities=SHOP, continuous=True)
    await runs(b, ops_x=[5])
    await StandingRequests(broker).join(record.request_id, b.at.path)
    await a_greeter(broker).greet()
    assert await told(b) is None
    assert await b.states_of(record.request_id) == ["submitted", "queued"]


async def test_a_stop_of_the_workloads_ends_the_following(broker: Broker, a: PlayedHost, b: PlayedHost) -> None:
    await runs(a, shop_cart=[1])
    record, greeter = await submitted(broker, target_entities=[{"namespace": "shop", "pod_name": "shop_cart"}],
                                      target_scope="pod", continuous=True), a_greeter(broker)  # fmt: skip
    other = await submitted(broker, target_entities=[{"pod_name": "shop_cart"}], target_scope="pod", continuous=True)
    assert await told(a) == [1]
    await submitted(broker, target_entities=SHOP, command_type="stop")
    assert await told(a) == "stop"
    await runs(a)
    await runs(b, shop_cart=[4])
    await greeter.greet()
    assert (await stored(broker, record)).standing == "ended"
    assert record.request_id not in await b.open_ids()
    assert (await stored(broker, other)).standing == "open", "it is not all in what was stopped"


async def test_a_request_for_processes_by_number_does_not_stand(broker: Broker, a: PlayedHost) -> None:
    await runs(a, shop_cart=[1])
    record = await submitted(
        broker, target_scope="process", target_entities=[{"hostname": "node-a", "pid": 1}], continuous=True
    )
    assert await StandingRequests(broker).all() == []
    assert dict(record.targets) == {"node-a": [1]}


async def test_an_inventory_without_processes_is_no_reason_to_profile_more(broker: Broker, a: PlayedHost) -> None:
    await runs(a, shop_cart=[1])
    await submitted(broker, target_entities=SHOP, continuous=True)
    await told(a)
    await runs(a, shop_cart=[])
    await a_greeter(broker).greet()
    assert await told(a) == "stop"


async def test_another_tenants_pods_are_not_followed(broker: Broker, a: PlayedHost) -> None:
    await runs(a, shop_cart=[1])
    await submitted(broker, target_entities=SHOP, continuous=True)
    stranger = a_played_host(broker, "node-z", tenant="other")
    await runs(stranger, shop_cart=[3])
    assert await a_greeter(broker).greet() == 0
    async with broker.guarded() as redis:
        assert await redis.exists(keys.requests(broker.place(HostKey("other", "web", "node-z")))) == 0
