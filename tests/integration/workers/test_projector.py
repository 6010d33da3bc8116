"""The projector: a request's status is what the results stream says of it, whatever is repeated or left behind."""

import time
from datetime import timedelta

import pytest

from broker.connection import Broker
from broker.request_store import RequestStore
from broker.results import Results
from tests.support.builders import a_host
from tests.support.played_host import PlayedHost
from workers import projector as projector_module
from workers.projector import Projector

SHORTLY = timedelta(milliseconds=50)


def a_projector(broker: Broker, consumer: str = "p") -> Projector:
    results = Results(broker)
    return Projector(results, results.reader(consumer=consumer))


async def test_a_requests_status_follows_its_hosts(broker: Broker) -> None:
    one, two = PlayedHost(broker), PlayedHost(broker, a_host("web-02"))
    record = await one.submit(target_hostnames=["web-01", "web-02"])
    projector = a_projector(broker)
    for host in (one, two):
        await host.settle()
    await one.begin()
    await projector.project()
    statuses = await RequestStore(broker).statuses(record.request_id)
    assert {host: status["state"] for host, status in statuses.items()} == {"web-01": "running", "web-02": "pending"}
    one.now += 61
    await one.complete(record.command_id, execution_time=60.5, samples=12, results_path="/p")
    await projector.project()
    status = (await RequestStore(broker).statuses(record.request_id))["web-01"]
    assert (status["state"], status["samples"], status["results_path"]) == ("completed", "12", "/p")
    assert list(status["timeline"]) == sorted(status["timeline"], key=lambda state: int(status["timeline"][state]))
    assert set(status["timeline"]) == {"submitted", "pending", "delivered", "received", "running", "completed"}


async def test_a_stopped_run_shows_where_its_samples_are(broker: Broker) -> None:
    host = PlayedHost(broker)
    record = await host.submit()
    await host.settle()
    run = await host.begin()
    await host.submit(command_type="stop")
    await host.settle()
    await host.complete(run.command_id, samples=7, execution_time=3.5, results_path="/kept")
    await a_projector(broker).project()
    status = (await RequestStore(broker).statuses(record.request_id))["web-01"]
    assert (status["state"], status["samples"], status["results_path"]) == ("stopped", "7", "/kept")


async def test_what_a_dead_projector_left_is_folded_in(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projector_module, "IDLE", timedelta(0))
    host = PlayedHost(broker)
    record = await host.submit()
    await host.settle()
    results = Results(broker)
    left = await results.reader(consumer="dead").read(count=100, block=SHORTLY)
    assert await RequestStore(broker).statuses(record.request_id) == {}
    assert await a_projector(broker, "heir").recover() == len(left) == 2
    assert (await RequestStore(broker).statuses(record.request_id))["web-01"]["state"] == "pending"
    assert await a_projector(broker, "heir").recover() == 0, "and acked"


async def test_folding_everything_in_again_changes_nothing(broker: Broker) -> None:
    host = PlayedHost(broker)
    record = await host.submit()
    await host.settle()
    await host.complete((await host.begin()).command_id)
    await a_projector(broker).project()
    before = await RequestStore(broker).statuses(record.request_id)
    results = Results(broker)
    again = Projector(results, results.reader(group="again", consumer="p"))
    assert await again.project() > 0
    assert await RequestStore(broker).statuses(record.request_id) == before


async def test_an_accepted_request_is_shown_before_anything_happened(broker: Broker) -> None:
    host = PlayedHost(broker)
    host.now = time.time()
    record = await host.submit()
    await a_projector(broker).project()
    assert (await RequestStore(broker).statuses(record.request_id))["web-01"]["state"] == "submitted"
