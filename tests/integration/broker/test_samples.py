"""Samples of a service's hosts go round: every host has its turn before any has a second one."""

import asyncio
from collections import Counter

from broker import keys
from broker.connection import Broker
from broker.samples import FORGOTTEN_AFTER, Samples
from tests.support.builders import NOW

HOSTS = [f"web-{number:02}" for number in range(10)]


async def test_every_host_has_its_turn_before_any_has_a_second(broker: Broker) -> None:
    samples, counts = Samples(broker), Counter[str]()
    for number in range(40):
        chosen = await samples.choose("t", "web", HOSTS, 3, now=NOW + number)
        assert len(set(chosen)) == 3
        counts.update(chosen)
        assert max(counts.values()) - min(counts[host] for host in HOSTS) <= 1, f"after {number + 1} samples"
    assert set(counts.values()) == {12}


async def test_ties_are_broken_by_chance(broker: Broker) -> None:
    first = {(await Samples(broker).choose("t", f"s{number}", HOSTS, 1, now=NOW))[0] for number in range(40)}
    assert len(first) > 3


async def test_samples_at_once_take_different_hosts(broker: Broker) -> None:
    samples = Samples(broker)
    chosen = await asyncio.gather(*(samples.choose("t", "web", HOSTS, 2, now=NOW) for _ in range(5)))
    assert Counter(host for some in chosen for host in some) == dict.fromkeys(HOSTS, 1)


async def test_a_host_that_is_new_comes_first(broker: Broker) -> None:
    samples = Samples(broker)
    await samples.choose("t", "web", HOSTS, 10, now=NOW)
    assert await samples.choose("t", "web", [*HOSTS, "new"], 1, now=NOW + 1) == ["new"]


async def test_a_clock_that_steps_back_changes_no_turns(broker: Broker) -> None:
    samples = Samples(broker)
    first = await samples.choose("t", "web", HOSTS, 5, now=NOW)
    second = await samples.choose("t", "web", HOSTS, 5, now=NOW - 3_600)
    third = await samples.choose("t", "web", HOSTS, 5, now=NOW - 3_600)
    assert set(first) == set(third)
    assert set(first) | set(second) == set(HOSTS)


async def test_a_dry_run_takes_no_turn(broker: Broker) -> None:
    samples = Samples(broker)
    assert len(await samples.choose("t", "web", HOSTS, 4, now=NOW, dry_run=True)) == 4
    async with broker.guarded() as redis:
        assert await redis.exists(keys.sampled("t", "web")) == 0


async def test_what_was_sampled_long_ago_is_forgotten(broker: Broker) -> None:
    samples, later = Samples(broker), NOW + FORGOTTEN_AFTER.total_seconds() + 1
    await samples.choose("t", "web", ["gone"], 1, now=NOW)
    await samples.choose("t", "web", ["here"], 1, now=later)
    async with broker.guarded() as redis:
        assert await redis.zrange(keys.sampled("t", "web"), 0, -1) == ["here"]
        assert 0 < await redis.ttl(keys.sampled("t", "web")) <= FORGOTTEN_AFTER.total_seconds()


async def test_services_and_tenants_have_turns_of_their_own(broker: Broker) -> None:
    samples = Samples(broker)
    for tenant, service in (("t", "a"), ("t", "b"), ("u", "a")):
        await samples.choose(tenant, service, ["x"], 1, now=NOW)
        assert await samples.choose(tenant, service, ["x", "y"], 1, now=NOW + 1) == ["y"]
