"""The janitor keeps time: clocks end what is overdue, end to end; and order: what is done with goes."""

import asyncio
import time
from datetime import timedelta

import pytest

from broker import keys, streams
from broker.audit import AuditTrail
from broker.connection import Broker
from broker.events import Events
from broker.host_registry import HostRegistry
from broker.request_log import RequestLog
from broker.request_store import RequestStore
from broker.results import KEPT_FOR, Results
from broker.scripts import Idle
from tests.support.builders import a_host, a_start
from tests.support.played_host import PlayedHost
from tests.support.roles_at_work import before_long, roles_at_work
from workers import janitor as janitor_module
from workers.janitor import Janitor

ALL = ("merger", "projector", "janitor", "recoverer")


def a_host_at(broker: Broker, moment: float) -> PlayedHost:
    host = PlayedHost(broker)
    host.now = moment
    return host


async def ends(host: PlayedHost, request_id: str, outcome: str) -> None:
    """Wait until the request's status, as people see it, is this outcome."""
    store = RequestStore(host.broker)

    async def ended() -> bool:
        status = (await store.statuses(request_id)).get(host.key.host, {})
        return status.get("state") == outcome

    await before_long(ended, what=f"the outcome {outcome}")
    assert (await host.states_of(request_id)).count(outcome) == 1


async def test_what_nobody_takes_expires(broker: Broker) -> None:
    host = a_host_at(broker, time.time())
    record = await host.submit(expires_in=1)
    await host.settle()  # before anybody is at work: a merger that comes late finds it expired already
    async with roles_at_work(broker, *ALL):
        await ends(host, record.request_id, "expired")
    assert time.time() >= host.now + 1
    assert "pending" in await host.states_of(record.request_id)
    assert await host.beat() == Idle(1), "nothing is offered"
    assert await host.state() == "expired"


async def test_what_runs_too_long_times_out(broker: Broker) -> None:
    host = a_host_at(broker, time.time() - 88)
    record = await host.submit(duration=60, expires_in=600)
    await host.settle()
    await host.begin()
    async with roles_at_work(broker, *ALL):
        await ends(host, record.request_id, "timed_out")
    assert time.time() >= host.now + 90, "duration and grace"


async def test_a_run_of_which_only_the_start_was_said_is_completed_by_the_clock(broker: Broker) -> None:
    host = a_host_at(broker, time.time() - 58)
    record = await host.submit(duration=60, expires_in=600)
    await host.settle()
    await host.complete((await host.take()).command_id, execution_time=0)
    async with roles_at_work(broker, *ALL):
        await ends(host, record.request_id, "completed")
    assert time.time() >= host.now + 60


async def test_what_waits_for_another_mode_has_its_turn(broker: Broker) -> None:
    host = a_host_at(broker, time.time())
    async with roles_at_work(broker, *ALL):
        await host.submit()
        await before_long(host.state, what="the installation")
        first = await host.begin()
        other = await host.submit(profiling_mode="wall")
        await ends(host, other.request_id, "queued")
        await host.complete(first.command_id)
        await ends(host, other.request_id, "pending")
        assert (await host.take()).command_id == other.command_id


async def test_a_pass_rings_for_hosts_that_are_due(broker: Broker) -> None:
    host = a_host_at(broker, time.time())
    await host.submit(expires_in=60)
    await host.settle()
    janitor = a_janitor(broker)
    before = await host.rings()
    assert await janitor.ring() == 0
    async with broker.guarded() as redis:  # a minute goes by
        assert await redis.zincrby(keys.deadlines(host.at.partition), -60_001, host.at.path) < time.time() * 1000
    assert await janitor.ring() == 1
    assert await host.rings() == before + 1
    assert await janitor.ring() == 0, "once, until somebody had time to answer"


def a_janitor(broker: Broker) -> Janitor:
    log, results = RequestLog(broker), Results(broker)
    readers = [log.reader("j"), results.reader(consumer="j")]
    return Janitor(log, results, HostRegistry(broker), readers, events=Events(broker), audit=AuditTrail(broker))


async def test_a_sweep_of_an_empty_server_finds_nothing(broker: Broker) -> None:
    await a_janitor(broker).sweep()


async def test_a_sweep_goes_on_after_the_server_was_emptied(broker: Broker) -> None:
    janitor = a_janitor(broker)
    await janitor.sweep()
    async with broker.guarded() as redis:
        await redis.flushall()
    await janitor.sweep()
    await janitor.sweep()


async def test_a_sweep_takes_away_what_is_done_with(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    host = a_host_at(broker, now)
    for _ in range(100):
        await host.append(a_start())
    results = Results(broker)
    reader = results.reader(consumer="long gone")
    await reader.ack(await reader.read(count=1_000, block=timedelta(milliseconds=50)))
    silent = PlayedHost(broker, a_host("web-02"))
    silent.now = now - 8 * 86_400
    await silent.beat()

    monkeypatch.setattr(streams, "CONSUMER_FORGOTTEN_AFTER", timedelta(0))
    monkeypatch.setattr("broker.results.KEPT_FOR", timedelta(seconds=-60))
    await asyncio.sleep(0.01)
    await a_janitor(broker).sweep()
    async with broker.guarded() as redis:
        assert await redis.xlen(keys.results(host.at.partition)) < 50
        assert await redis.xinfo_consumers(keys.results(host.at.partition), "projectors") == []
        assert await redis.zscore(keys.beats(silent.at.partition), silent.at.path) is None
    assert timedelta(hours=24) == KEPT_FOR


async def test_the_broom_is_taken_up_once_a_minute(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    janitor = a_janitor(broker)
    silent = PlayedHost(broker)
    silent.now = time.time() - 8 * 86_400
    await silent.beat()
    await janitor.ring()
    async with broker.guarded() as redis:
        assert await redis.zcard(keys.beats(silent.at.partition)) == 1
    monkeypatch.setattr(janitor_module, "SWEEP_EVERY", timedelta(0))
    await janitor.ring()
    async with broker.guarded() as redis:
        assert await redis.zcard(keys.beats(silent.at.partition)) == 0
