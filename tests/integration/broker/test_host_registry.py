"""The fleet as the heartbeats tell it."""

import pytest

from broker.command_store import CommandStore
from broker.connection import Broker
from broker.host_registry import HostRegistry, facts_of
from broker.keys import Place
from broker.scripts import Beat
from protocol.heartbeats import Heartbeat
from protocol.names import HostKey
from tests.support.builders import NOW, a_host


@pytest.fixture
def registry(broker: Broker) -> HostRegistry:
    return HostRegistry(broker)


async def beats(broker: Broker, *hosts: HostKey, at: float = NOW, **said: object) -> None:
    for host in hosts:
        body = {"ip_address": "10.0.0.1", "hostname": host.host, "service_name": host.service, **said}
        said_by_it = Heartbeat.model_validate(body)
        heard = Beat(host, facts=facts_of(said_by_it, interval=30), agent_time=said_by_it.timestamp or "")
        await CommandStore(broker).exchange(heard, now=at)


async def names(registry: HostRegistry, after: Place | None = None, tenant: str = "default") -> list[str]:
    return [host.key.host async for host in registry.all_of(tenant, after=after)]


async def test_live_hosts_are_those_that_have_beaten_since(broker: Broker, registry: HostRegistry) -> None:
    hosts = [a_host(f"web-{number}") for number in range(30)]
    await beats(broker, *hosts[:20], at=NOW)
    await beats(broker, *hosts[20:], at=NOW - 100)
    await beats(broker, a_host(service="shop"), HostKey("other", "web", "web-01"), at=NOW)
    assert set(await registry.live("default", "web", since=NOW)) == set(hosts[:20])
    assert set(await registry.live("default", "web", since=NOW - 100)) == set(hosts)
    assert await registry.live("default", "web", since=NOW + 0.001) == []
    assert await registry.live("default", "We", since=0) == []


async def test_a_host_shows_what_its_agent_said(broker: Broker, registry: HostRegistry) -> None:
    await beats(
        broker, a_host(), status="active", agent_version="1.0", timestamp="noon", last_command_id="c",
        capabilities={"perf": True}, pod_name="p", run_mode="k8s",
    )  # fmt: skip
    (host,) = [host async for host in registry.all_of("default")]
    assert host.key == a_host()
    assert host.last_beat.timestamp() == NOW, "by the server's clock"
    assert host.facts["agent_time"] == "noon"
    assert (host.facts["agent_status"], host.facts["agent_version"], host.facts["run_mode"]) == ("active", "1.0", "k8s")
    assert (host.facts["capabilities"], host.facts["pod_name"]) == ('{"perf":true}', "p")


async def test_what_is_not_said_again_is_kept_or_cleared_by_its_kind(broker: Broker, registry: HostRegistry) -> None:
    await beats(broker, a_host(), status="running", capabilities={"perf": True})
    await beats(broker, a_host(), at=NOW + 1)
    (host,) = [host async for host in registry.all_of("default")]
    assert host.facts["agent_status"] == "", "said with every beat"
    assert host.facts["capabilities"] == '{"perf":true}', "said when it changes"


async def test_every_page_goes_on_where_the_last_one_stopped(broker: Broker, registry: HostRegistry) -> None:
    hosts = [a_host(f"web-{number:02}") for number in range(40)]
    await beats(broker, *hosts, HostKey("other", "web", "hidden"))
    everybody = await names(registry)
    assert sorted(everybody) == [host.host for host in hosts]
    paged: list[str] = []
    last: Place | None = None
    while True:
        page = []
        async for host in registry.all_of("default", after=last, first_page=8):
            page.append(host)
            if len(page) == 7:
                break
        if not page:
            break
        last = registry.place_of(page[-1])
        paged += [host.key.host for host in page]
    assert paged == everybody


async def test_a_cursor_holds_where_its_host_has_gone(broker: Broker, registry: HostRegistry) -> None:
    hosts = [a_host(f"web-{number:02}") for number in range(20)]
    await beats(broker, *hosts)
    everybody = [host async for host in registry.all_of("default")]
    last = registry.place_of(everybody[9])
    await beats(broker, everybody[9].key, at=NOW - 8 * 86_400)
    assert await registry.forget_silent(now=NOW) == 1
    assert await names(registry, last) == [host.key.host for host in everybody[10:]]


async def test_a_host_is_forgotten_after_a_week_of_silence(broker: Broker, registry: HostRegistry) -> None:
    week = 7 * 86_400
    await beats(broker, a_host("gone"), at=NOW - week)
    await beats(broker, a_host("quiet"), at=NOW - week + 1)
    assert await registry.forget_silent(now=NOW) == 1
    assert await names(registry) == ["quiet"]


async def test_a_fact_that_is_too_large_is_not_kept_and_the_host_is(broker: Broker, registry: HostRegistry) -> None:
    await beats(broker, a_host(), perf_supported_events=["cycles"], capabilities={"perf": True})
    await beats(broker, a_host(), perf_supported_events=["x" * 250] * 300, capabilities={"perf": False})
    (known,) = [host async for host in registry.all_of("default")]
    assert known.facts["perf_supported_events"] == '["cycles"]', "as it was said last in good measure"
    assert known.facts["capabilities"] == '{"perf":false}'
