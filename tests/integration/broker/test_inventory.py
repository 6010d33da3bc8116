"""What runs on a host is kept when it changes, and only then, on a real server."""

from typing import Any

import pytest

from broker import keys
from broker.command_store import CommandStore
from broker.connection import Broker
from broker.host_registry import facts_of
from broker.inventory import Inventories, packed, unpacked
from broker.scripts import Beat, Contested, Delivered, Idle, New
from protocol.heartbeats import Heartbeat
from tests.support.builders import NOW, a_host
from tests.support.played_host import PlayedHost

SHOP: dict[str, Any] = {
    "container_id": "c1", "container_name": "app", "runtime": "containerd", "namespace": "shop", "pod_name": "cart-0",
    "workload_name": "cart", "workload_kind": "StatefulSet",
    "processes": [{"pid": 20, "process_name": "sh"}, {"pid": 1234, "process_name": "java"}],
}  # fmt: skip
SIDECAR: dict[str, Any] = {**SHOP, "container_id": "c2", "container_name": "proxy", "processes": [{"pid": 21}]}


def read(containers: list[dict[str, Any]] | None) -> Heartbeat:
    return Heartbeat.model_validate(
        {"ip_address": "::1", "hostname": "web-01", "service_name": "web", "containers": containers}
    )


async def beat(broker: Broker, containers: list[dict[str, Any]] | None) -> Idle | Delivered:
    heartbeat = read(containers)
    facts = facts_of(heartbeat, interval=30)
    heard = Beat(a_host(), facts=facts, inventory=packed(heartbeat.containers))
    answer = await CommandStore(broker).exchange(heard, now=NOW)
    assert not isinstance(answer, Contested | New), "nobody asked whose the host is, nor whether it may join"
    return answer


async def kept(broker: Broker) -> tuple[list[dict[str, Any]], str | None]:
    (seen,) = [each async for each in Inventories(broker).seen([a_host()])]
    digest = (await Inventories(broker).digests([a_host()])).get(a_host())
    return [container.model_dump(mode="json", exclude_defaults=True) for container in seen.containers], digest


async def written(broker: Broker) -> int:
    """How often the server has set a string: the inventory's is the only one here."""
    async with broker.guarded() as redis:
        return int((await redis.info("commandstats")).get("cmdstat_set", {"calls": 0})["calls"])


async def test_an_inventory_is_kept_once_and_again_when_it_changes(broker: Broker) -> None:
    assert await beat(broker, [SHOP]) == Idle(0)
    shown, digest = await kept(broker)
    assert shown == [SHOP]
    before = await written(broker)
    for _ in range(3):
        assert (await beat(broker, [SHOP])).inventory_wanted is False
    assert await written(broker) == before, "an unchanged inventory is not written"
    await beat(broker, [SIDECAR, SHOP])
    assert await kept(broker) != (shown, digest)
    assert await written(broker) == before + 1
    await beat(broker, [])
    assert (await kept(broker))[0] == []


async def test_the_order_of_things_is_no_change(broker: Broker) -> None:
    turned = {**SHOP, "processes": SHOP["processes"][::-1]}
    await beat(broker, [SHOP, SIDECAR])
    before = await kept(broker), await written(broker)
    await beat(broker, [SIDECAR, turned])
    assert (await kept(broker), await written(broker)) == before


async def test_an_inventory_that_is_not_said_again_stays_and_lives_as_long_as_its_host(broker: Broker) -> None:
    at = broker.place(a_host())
    await beat(broker, [SHOP])
    async with broker.guarded() as redis:
        await redis.expire(keys.inventory(at), 100)
    assert (await beat(broker, None)).inventory_wanted is False
    assert (await kept(broker))[0] == [SHOP]
    async with broker.guarded() as redis:
        assert 604_700 < await redis.ttl(keys.inventory(at)) <= 604_800


@pytest.mark.parametrize("lost", ["never said", "the inventory", "its digest"])
async def test_what_is_not_known_is_asked_for(broker: Broker, lost: str) -> None:
    at = broker.place(a_host())
    if lost != "never said":
        await beat(broker, [SHOP])
        async with broker.guarded() as redis:
            await (
                redis.delete(keys.inventory(at)) if lost == "the inventory" else redis.hdel(keys.host(at), "inventory")
            )
    if lost != "its digest":
        assert (await beat(broker, None)).inventory_wanted is True
    assert (await beat(broker, [SHOP])).inventory_wanted is False
    assert (await kept(broker))[0] == [SHOP]
    assert (await beat(broker, None)).inventory_wanted is False


async def test_a_command_comes_with_the_question_too(broker: Broker) -> None:
    host = PlayedHost(broker)
    await host.submit()
    await host.settle()
    answer = await host.beat()
    assert isinstance(answer, Delivered)
    assert answer.inventory_wanted is True


async def test_one_inventory_that_cannot_be_read_hides_no_other(broker: Broker) -> None:
    hosts = [a_host("broken"), a_host(), a_host("nobody")]
    await beat(broker, [SHOP])
    async with broker.guarded() as redis:
        await redis.set(keys.inventory(broker.place(hosts[0])), "no base64 of anything", ex=60)
    found = {each.hostname: len(each.containers) async for each in Inventories(broker).seen(hosts)}
    assert found == {"broken": 0, "web-01": 1, "nobody": 0}


def test_a_large_inventory_is_packed_small() -> None:
    pods = [
        {**SHOP, "container_id": f"{number:064}", "pod_name": f"cart-{number}",
         "processes": [{"pid": 1 + number * 20 + each, "process_name": "java"} for each in range(20)]}
        for number in range(300)
    ]  # fmt: skip
    containers = read(pods).containers
    assert containers is not None
    inventory = packed(containers)
    assert inventory is not None
    assert len(inventory.body) < 32 * 1024
    assert sorted(unpacked(inventory.body), key=str) == sorted(containers, key=str)
