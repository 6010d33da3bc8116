"""What others may build on: every entry of the public streams is as the models say, and tells what happened."""

import re
from typing import Any

import pytest

from broker import keys
from broker.connection import Broker
from broker.events import KEPT_FOR, Events
from broker.host_registry import HostRegistry
from broker.public_streams import (
    EVENTS,
    STATES,
    AnyEvent,
    FleetEventReader,
    HostJoined,
    HostReturned,
    Result,
)
from broker.scripts import MOST_ATTEMPTS
from protocol.pacing import DEFAULT_INTERVAL, stale_after
from tests.support.builders import a_host
from tests.support.played_host import PlayedHost
from tests.support.processes import ROOT

SILENCE = stale_after(DEFAULT_INTERVAL).total_seconds()


@pytest.fixture
def host(broker: Broker) -> PlayedHost:
    return PlayedHost(broker)


async def told(host: PlayedHost) -> list[AnyEvent]:
    """The events of a host, each read by its model."""
    async with host.broker.guarded() as redis:
        entries = await redis.xrange(keys.events(host.at.partition))
    events = [FleetEventReader.validate_python(fields) for _, fields in entries]
    assert all(event.model_extra == {} for event in events), "a field that no model has"
    assert {(event.tenant, event.service) for event in events} <= {("default", host.key.service)}
    return [event for event in events if event.hostname == host.key.host]


# --- results ----------------------------------------------------------------------------------------------------------


async def test_every_result_of_every_fate_is_as_the_model_says(broker: Broker) -> None:
    ran, stopped, dropped, late, queued = (PlayedHost(broker, a_host(f"web-{number}")) for number in range(5))
    for host in (ran, stopped, dropped, late):
        await host.submit(pids=[1, 2], expires_in=60)
        await host.settle()
    said: dict[str, Any] = {
        "execution_time": 1.5,
        "samples": 3,
        "results_path": "/a b",
        "started_at": "2026-01-08T11:00:00Z",
    }
    await ran.complete((await ran.begin()).command_id, **said)
    run = await stopped.begin()
    await stopped.submit(command_type="stop")
    await stopped.settle()
    await stopped.complete(run.command_id, status="failed", error_message="it broke\nin two lines", **said)
    for _ in range(MOST_ATTEMPTS + 1):
        await dropped.beat()
    command = await late.take()
    late.now += 61
    await late.settle()
    await late.complete(command.command_id, finished_at="2026-01-08T11:00:01Z")
    await queued.submit()
    await queued.settle()
    await queued.submit(profiling_mode="wall")
    await queued.settle()
    seen = set()
    for host in (ran, stopped, dropped, late, queued):
        for entry in await host.results():
            result = Result.model_validate(entry)
            assert result.model_extra == {}, "a field that no model has"
            assert (result.tenant, result.service, result.hostname) == host.key
            seen.add(result.state)
    assert seen >= {
        "submitted", "queued", "pending", "delivered", "received", "running", "completed", "stopped", "expired",
        "undeliverable", "late_completion",
    }  # fmt: skip
    assert seen <= set(STATES)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [("v", "2"), ("state", "finished"), ("at", "2026-01-08"), ("generation", ""), ("hostname", None)],
)
async def test_the_model_refuses_what_is_no_result(host: PlayedHost, field: str, wrong: str | None) -> None:
    await host.submit()
    (entry,) = await host.results()
    assert Result.model_validate(entry).state == "submitted"
    with pytest.raises(ValueError, match=field):
        Result.model_validate({**entry, field: wrong})


# --- events -----------------------------------------------------------------------------------------------------------


async def test_a_hosts_first_beat_tells_that_it_joined(host: PlayedHost) -> None:
    await host.beat()
    (event,) = await told(host)
    assert isinstance(event, HostJoined)
    assert event.at == str(round(host.now * 1000))


async def test_the_beats_after_it_tell_nothing(host: PlayedHost) -> None:
    for pause in (0, 30, SILENCE, 0, -5):
        await host.beat()
        host.now += pause
    await host.beat()
    assert len(await told(host)) == 1


async def test_a_beat_after_a_silence_tells_that_the_host_returned(host: PlayedHost) -> None:
    await host.beat()
    before = host.now
    host.now += SILENCE + 0.001
    await host.beat()
    await host.beat()
    _, event = await told(host)
    assert isinstance(event, HostReturned)
    assert (event.silent_since, event.at) == (str(round(before * 1000)), str(round(host.now * 1000)))


async def test_a_host_that_was_forgotten_joins_again(host: PlayedHost, broker: Broker) -> None:
    await host.beat()
    host.now += 8 * 86_400
    assert await HostRegistry(broker).forget_silent(now=host.now) == 1
    await host.beat()
    assert [event.kind for event in await told(host)] == ["host_joined", "host_joined"]


async def test_each_host_joins_for_itself(broker: Broker) -> None:
    hosts = [PlayedHost(broker, key) for key in (a_host(), a_host("web-02"), a_host(service="shop"))]
    for host in hosts:
        await host.beat()
    assert [[event.kind for event in await told(host)] for host in hosts] == [["host_joined"]] * 3


async def test_events_are_kept_for_a_week_and_until_every_group_has_them(broker: Broker) -> None:
    hosts = [PlayedHost(broker, a_host(f"web-{number:03}")) for number in range(600)]
    for host in hosts:
        await host.beat()
    events = Events(broker)
    reader = events.reader("dashboard", "one")
    await reader.prepare()
    async with broker.guarded() as redis:
        newest = max(
            int(row["last-generated-id"].partition("-")[0])
            for row in [await redis.xinfo_stream(keys.events(partition)) for partition in range(broker.partitions)]
        )
    later = newest / 1000 + KEPT_FOR.total_seconds() + 60
    assert await events.trim(now=newest / 1000) == 0
    assert await events.trim(now=later) == 0, "the dashboard has not read them"
    await reader.ack(await reader.read(count=1000, block=DEFAULT_INTERVAL))
    assert await events.trim(now=later) > 300, "all but the last nodes of the streams, which go as a whole"


def test_every_kind_that_a_script_tells_has_a_model() -> None:
    kinds = set()
    for script in (ROOT / "broker" / "scripts").glob("*.lua"):
        kinds |= set(re.findall(r"\btell\([^,]+, [^,]+, '(\w+)'", script.read_text()))
    assert kinds == {model.model_fields["kind"].annotation.__args__[0] for model in EVENTS.entries}  # type: ignore[union-attr]  # a Literal
