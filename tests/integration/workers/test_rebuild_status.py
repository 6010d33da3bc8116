"""The status of requests is a projection: lost, it is made anew from the results and the archive, to the letter."""

import asyncio
import json
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from broker import keys
from broker.archiving import ArchivedStreams
from broker.connection import Broker
from broker.lease import Lease
from broker.results import Results
from tests.support.builders import a_host
from tests.support.played_host import PlayedHost
from workers import projector as projector_module
from workers import rebuild_status
from workers.archive import Archive
from workers.archiver import Archiver, Closing
from workers.projector import Projector
from workers.rebuild_status import Rebuild
from workers.segments import BrokenSegment

Statuses = dict[str, dict[str, Any]]


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projector_module, "BLOCK", timedelta(milliseconds=20))


def a_projector(broker: Broker, group: str = "projectors") -> Projector:
    results = Results(broker)
    return Projector(results, results.reader(group=group, consumer="p"))


async def project_all(broker: Broker, group: str = "projectors") -> None:
    projector = a_projector(broker, group)
    while await projector.project():
        pass


async def statuses(broker: Broker) -> Statuses:
    """Every status that is stored, by key."""
    found: Statuses = {}
    async with broker.guarded() as redis:
        async for key in redis.scan_iter("pcs:{r:*}:hosts"):
            found[key] = {path: json.loads(text) for path, text in (await redis.hgetall(key)).items()}
    return found


async def lose_the_projection(broker: Broker) -> None:
    async with broker.guarded() as redis:
        for key in await statuses(broker):
            await redis.delete(key)
    assert await statuses(broker) == {}


async def a_story(broker: Broker, *, prefix: str = "web") -> list[PlayedHost]:
    """Requests in many states: open, ended in several ways, stopped with samples that came late."""
    hosts = [PlayedHost(broker, a_host(f"{prefix}-{number}")) for number in range(6)]
    for host in hosts:
        host.now = time.time() - 600
    shared = await hosts[0].submit(target_hostnames=[host.key.host for host in hosts])
    for host in hosts[1:]:
        await host.settle()
    for host in hosts[2:]:
        await host.begin()
    await hosts[3].complete(shared.command_id, samples=3, results_path="/p", execution_time=1.5)
    await hosts[4].complete(shared.command_id, status="failed", error_message="no perf")
    run = (await hosts[5].command())["id"]
    await hosts[5].submit(command_type="stop")
    await hosts[5].settle()
    await hosts[5].complete(run, samples=7, results_path="/kept")
    return hosts


def rebuild(broker: Broker, folder: Path) -> Rebuild:
    return Rebuild(broker, Archive(str(folder)))


async def test_a_lost_projection_is_rebuilt_to_the_letter(broker: Broker, tmp_path: Path) -> None:
    await a_story(broker)
    await project_all(broker)
    before = await statuses(broker)
    assert {status["state"] for hosts in before.values() for status in hosts.values()} == {
        "submitted", "pending", "running", "completed", "failed", "stopped",
    }  # fmt: skip
    await lose_the_projection(broker)
    assert await rebuild(broker, tmp_path).run(now=time.time()) == len(before)
    assert await statuses(broker) == before
    assert await rebuild(broker, tmp_path).run(now=time.time()) == len(before)
    assert await statuses(broker) == before, "repeating it changes nothing"
    async with broker.guarded() as redis:
        assert [key async for key in redis.scan_iter("pcs:*:rebuilt")] == []
        for key in before:
            assert 604_000 < await redis.ttl(key) <= 604_800


async def test_a_wrong_status_is_put_right(broker: Broker, tmp_path: Path) -> None:
    await a_story(broker)
    await project_all(broker)
    before = await statuses(broker)
    async with broker.guarded() as redis:
        for key, hosts in before.items():
            for path, status in hosts.items():
                wrong = {**status, "state": "wrong", "entry": "1-1"}
                await redis.hset(key, path, json.dumps(wrong))
    await rebuild(broker, tmp_path).run(now=time.time())
    assert await statuses(broker) == before


async def test_what_was_trimmed_comes_from_the_archive(broker: Broker, tmp_path: Path) -> None:
    archiver = Archiver(
        ArchivedStreams(broker), Archive(str(tmp_path)), Lease(broker, "a", "a"), Closing(age=timedelta(0))
    )
    hosts = await a_story(broker)
    await archiver.archive()
    async with broker.guarded() as redis:
        for partition in range(broker.partitions):
            await redis.xtrim(keys.results(partition), maxlen=1, approximate=False)
    await project_all(broker, "another")
    await lose_the_projection(broker)
    await hosts[2].complete((await hosts[2].command())["id"], samples=9)
    await rebuild(broker, tmp_path).run(now=time.time())
    found = {path: status for hosts_ in (await statuses(broker)).values() for path, status in hosts_.items()}
    by_host = {path.rpartition("/")[2]: status for path, status in found.items()}
    assert by_host["web-2"]["state"] == "completed"
    assert set(by_host["web-2"]["timeline"]) == {
        "submitted", "pending", "delivered", "received", "running", "completed",
    }  # fmt: skip
    assert by_host["web-4"]["reason"] == "no perf"


async def test_a_history_without_its_beginning_replaces_nothing(broker: Broker, tmp_path: Path) -> None:
    await a_story(broker)
    await project_all(broker)
    before = await statuses(broker)
    async with broker.guarded() as redis:
        for partition in range(broker.partitions):
            await redis.xtrim(keys.results(partition), maxlen=1, approximate=False)
    await rebuild(broker, tmp_path).run(now=time.time())
    assert await statuses(broker) == before


async def test_it_is_safe_while_the_projector_runs_and_requests_go_on(broker: Broker, tmp_path: Path) -> None:
    stop = asyncio.Event()

    async def projecting() -> None:
        projector = a_projector(broker)
        while not stop.is_set():
            await projector.project()

    async def living() -> None:
        for round_ in range(4):
            await a_story(broker, prefix=f"live{round_}")

    async with asyncio.TaskGroup() as group:
        group.create_task(projecting())
        life = group.create_task(living())
        while not life.done():
            await lose_the_projection_of_some(broker)
            await rebuild(broker, tmp_path).run(now=time.time())
        stop.set()
    await rebuild(broker, tmp_path).run(now=time.time())
    found = await statuses(broker)
    await project_all(broker)
    assert await statuses(broker) == found
    await lose_the_projection(broker)
    await project_all(broker, "from the beginning")
    assert await statuses(broker) == found


async def lose_the_projection_of_some(broker: Broker) -> None:
    async with broker.guarded() as redis:
        for key in list(await statuses(broker))[::2]:
            await redis.delete(key)


async def test_requests_older_than_a_week_are_not_brought_back(broker: Broker, tmp_path: Path) -> None:
    host = PlayedHost(broker)
    host.now = time.time() - 8 * 86_400
    await host.submit()
    assert await rebuild(broker, tmp_path).run(now=time.time()) == 0
    assert await statuses(broker) == {}


async def test_a_broken_archive_is_said_and_changes_nothing(broker: Broker, tmp_path: Path) -> None:
    await a_story(broker)
    await Archiver(
        ArchivedStreams(broker), Archive(str(tmp_path)), Lease(broker, "a", "a"), Closing(age=timedelta(0))
    ).archive()
    await project_all(broker)
    before = await statuses(broker)
    for file in tmp_path.rglob("*.gz"):  # noqa: ASYNC240 - a handful
        file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(BrokenSegment):
        await rebuild(broker, tmp_path).run(now=time.time())
    assert await statuses(broker) == before


async def test_the_command_says_how_many(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await a_story(broker)
    monkeypatch.setenv("PCS_STATE_DIR", str(broker.settings.state_dir))
    monkeypatch.setattr("sys.argv", ["rebuild_status"])
    monkeypatch.setattr(rebuild_status, "configure_logging", lambda: None)
    await asyncio.to_thread(rebuild_status.main)  # it has an event loop of its own
    assert capsys.readouterr().out == "rebuilt: the status of 2 requests\n"
    assert len(await statuses(broker)) == 2
