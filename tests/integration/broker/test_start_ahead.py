"""A start with a moment, on the server: who is told ahead of it, and what its clocks count from."""

from datetime import UTC, datetime

import pytest

from broker.connection import Broker
from broker.host_registry import facts_of
from protocol.heartbeats import Heartbeat
from tests.support.builders import NOW
from tests.support.played_host import PlayedHost

MOMENT = NOW + 60.5


@pytest.fixture
def host(broker: Broker) -> PlayedHost:
    return PlayedHost(broker)


def said(*, version: str = "2.0", waits: bool | None = None) -> dict[str, str]:
    """What is remembered of a heartbeat; `waits` None: it says nothing of capabilities."""
    beat = Heartbeat(
        ip_address="192.168.1.100", hostname="web-01", service_name="web", agent_version=version,
        capabilities=None if waits is None else {"start_at": waits},
    )  # fmt: skip
    return facts_of(beat, interval=30)


async def handed_out_ahead(host: PlayedHost) -> bool:
    """Ask for a start a minute ahead; whether the host is told of it now, in words that its agent understands."""
    await host.submit(start_at=datetime.fromtimestamp(MOMENT, UTC).isoformat())
    await host.settle()
    reply = (await host.command()).get("reply", "")
    assert ('"start_at"' in reply) == bool(reply)
    return bool(reply)


@pytest.mark.parametrize(
    ("heard", "is_told"),
    [
        ([said(waits=True)], True),
        ([said(waits=True), said()], True),
        ([said(waits=True), said(waits=False)], False),
        ([said()], False),
        ([said(version="", waits=True)], False),
        ([said(waits=True), said(version="1.53")], False),
    ],
    ids=["it can", "it said so once", "it can no more", "it never said", "nobody knows who said it",
         "another agent has taken its place"],
)  # fmt: skip
async def test_only_an_agent_that_says_so_is_told_ahead(
    host: PlayedHost, heard: list[dict[str, str]], is_told: bool
) -> None:
    for host.facts in heard:
        await host.beat()
    assert await handed_out_ahead(host) == is_told


async def test_it_stands_as_received_until_it_runs_and_is_not_lost_before(host: PlayedHost) -> None:
    host.facts = said(waits=True)
    await host.beat()
    assert await handed_out_ahead(host)
    taken = await host.take()
    await host.beat(last=taken.command_id, received=[taken.command_id])
    assert await host.state() == "received"
    host.now = MOMENT + 199
    assert not await host.lose(), "it has had no time to say that it begins"
    await host.beat(last=taken.command_id, begun=True)
    assert await host.state() == "running"
    host.now += 201
    assert await host.lose()


async def test_who_never_begins_is_lost_in_the_end(host: PlayedHost) -> None:
    host.facts = said(waits=True)
    await host.beat()
    assert await handed_out_ahead(host)
    taken = await host.take()
    await host.beat(last=taken.command_id, received=[taken.command_id])
    host.now = MOMENT + 201
    assert await host.lose()
