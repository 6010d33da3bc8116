"""Very many hosts: a job appends them piece by piece, tells its progress, and may be killed at any moment."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import pytest
from redis import Redis
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from broker import keys
from broker.connection import Broker
from broker.request_log import RequestLog
from broker.request_record import RequestRecord
from broker.request_store import DISPATCHERS, RequestStore
from broker.settings import BrokerSettings
from protocol.names import DEFAULT_TENANT
from protocol.requests import ProfileRequest
from tests.support.mortal_jobs import mortal_jobs
from tests.support.processes import eventually, started, worker_role
from tests.support.roles_at_work import before_long, roles_at_work
from workers import dispatcher as dispatcher_module
from workers import job_queue
from workers.job_queue import JobQueue
from workers.jobs import fan_out as fan_out_module
from workers.jobs.fan_out import fan_out


@pytest.fixture(autouse=True)
def _same_broker(broker_settings: BrokerSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """rq finds its server by the environment, as the process `python -m workers` does."""
    monkeypatch.setenv("PCS_STATE_DIR", str(broker_settings.state_dir))


@pytest.fixture
def queue(broker: Broker) -> Iterator[JobQueue]:
    made = JobQueue(broker.settings.url)
    yield made
    made.close()


async def a_large_request(broker: Broker, hosts: int) -> RequestRecord:
    """A stored request that nothing is appended of yet."""
    names = [f"web-{number:05}" for number in range(hosts)]
    body = ProfileRequest.model_validate({"service_name": "web", "target_hostnames": names})
    record = RequestRecord(str(uuid4()), str(uuid4()), DEFAULT_TENANT, "t", time.time(), body, body.targets())
    await RequestStore(broker).put(record)
    return record


async def appended(broker: Broker, record: RequestRecord) -> int:
    async with broker.guarded() as redis:
        return int(await redis.hget(keys.request(record.request_id), "hosts_appended") or 0)


async def check_that_each_host_stands_once(broker: Broker, record: RequestRecord) -> None:
    """In its own stream, at the doorbell, and in the results."""
    rung: Counter[str] = Counter()
    told: Counter[str] = Counter()
    async with broker.guarded() as redis:
        for partition in range(broker.partitions):
            for _, fields in await redis.xrange(keys.doorbell(partition)):
                rung.update(fields["hosts"].split())
            told.update(fields["hostname"] for _, fields in await redis.xrange(keys.results(partition)))
        async with redis.pipeline(transaction=False) as pipe:
            for host in record.wishes():
                pipe.xlen(keys.requests(broker.place(host)))
            lengths = Counter(await pipe.execute())
    assert lengths == {1: len(record.targets)}
    assert rung == Counter(host.path for host in record.wishes())
    assert told == Counter(list(record.targets))


async def is_forgotten(broker: Broker) -> bool:
    """Whether nothing is left to dispatch."""
    async with broker.guarded() as redis:
        if await redis.xlen(keys.asked_jobs()):
            return False
        return bool((await redis.xpending(keys.asked_jobs(), DISPATCHERS))["pending"] == 0)


# --- through real processes -------------------------------------------------------------------------------------------


async def test_a_request_for_1500_hosts_goes_through_an_rq_worker(
    broker: Broker, broker_settings: BrokerSettings
) -> None:
    record = await a_large_request(broker, 1_500)
    await RequestStore(broker).ask_for_job("fan_out", record.request_id)
    with started(worker_role(broker_settings.state_dir, "jobs")) as jobs:
        async with roles_at_work(broker, "dispatcher"):

            async def done() -> bool:
                return await appended(broker, record) == 1_500

            await before_long(done, within=60, what="the fan-out")
            await before_long(lambda: is_forgotten(broker), what="the dispatcher's ack")
        assert jobs.stop() == 0
    await check_that_each_host_stands_once(broker, record)


async def test_an_rq_worker_killed_in_the_middle_leaves_nothing_undone_and_nothing_done_twice(
    broker: Broker, broker_settings: BrokerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_queue, "SILENT_MEANS_DEAD", timedelta(seconds=2))
    monkeypatch.setattr(dispatcher_module, "LOOK_AGAIN", timedelta(seconds=1))
    record = await a_large_request(broker, 5_000)
    await RequestStore(broker).ask_for_job("fan_out", record.request_id)
    async with roles_at_work(broker, "dispatcher"):
        with started(mortal_jobs(broker_settings.state_dir, appends=2)) as worker:
            await asyncio.to_thread(eventually, lambda: worker.process.poll() is not None, within=60, what="its death")
            assert worker.process.poll() == -signal.SIGKILL, worker.said()
        progress = [await appended(broker, record)]
        assert progress == [2_000], "it was killed in the middle, and progress is told piece by piece"
        assert not await is_forgotten(broker), "the dispatcher stays with what is not done"

        with started(worker_role(broker_settings.state_dir, "jobs")):

            async def done() -> bool:
                progress.append(await appended(broker, record))
                return progress[-1] == 5_000

            await before_long(done, within=60, what="the rest of the fan-out")
            await before_long(lambda: is_forgotten(broker), what="the dispatcher's ack")
    assert progress == sorted(progress), "progress never falls"
    await check_that_each_host_stands_once(broker, record)


# --- piece by piece ---------------------------------------------------------------------------------------------------


async def test_a_repeated_job_appends_nothing_twice(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fan_out_module, "PIECE", 100)
    store, log = RequestStore(broker), RequestLog(broker)
    record = await a_large_request(broker, 350)
    for _ in range(3):
        assert await fan_out(record.request_id, store, log) == 350
        await check_that_each_host_stands_once(broker, record)
    assert await appended(broker, record) == 350


async def test_two_jobs_at_once_append_each_host_once(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker was taken for dead and was not."""
    monkeypatch.setattr(fan_out_module, "PIECE", 100)
    store, log = RequestStore(broker), RequestLog(broker)
    record = await a_large_request(broker, 350)
    await asyncio.gather(*(fan_out(record.request_id, store, log) for _ in range(3)))
    await check_that_each_host_stands_once(broker, record)
    assert await appended(broker, record) == 350


async def test_a_job_goes_on_where_the_one_before_it_stopped(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fan_out_module, "PIECE", 100)
    store, log = RequestStore(broker), RequestLog(broker)
    record = await a_large_request(broker, 350)
    await log.append(dict(sorted(record.wishes().items())[:100]), piece=0)
    await store.note_appended(record.request_id, 100)
    assert await fan_out(record.request_id, store, log) == 350
    await check_that_each_host_stands_once(broker, record)


async def test_a_job_for_an_unknown_request_says_so(broker: Broker) -> None:
    with pytest.raises(LookupError, match="no request nobody"):
        await fan_out("nobody", RequestStore(broker), RequestLog(broker))


async def test_an_entry_for_an_unknown_request_is_dropped(broker: Broker) -> None:
    await RequestStore(broker).ask_for_job("fan_out", "nobody")
    async with roles_at_work(broker, "dispatcher"):
        await before_long(lambda: is_forgotten(broker), what="dropping it")


# --- rq's queue -------------------------------------------------------------------------------------------------------


def the_job(broker: Broker, job_id: str) -> Job:
    connection = Redis.from_url(broker.settings.url, protocol=2)
    return Job.fetch(job_id, connection=connection, serializer=JSONSerializer)


def test_asking_twice_queues_a_job_once(broker: Broker, queue: JobQueue) -> None:
    job_id = queue.ensure("fan_out", "r")
    assert queue.ensure("fan_out", "r") == job_id
    assert queue.ensure("fan_out", "other") != job_id
    with Redis.from_url(broker.settings.url) as client:
        assert client.llen(f"rq:queue:{job_queue.QUEUE}") == 2


@pytest.mark.parametrize("ended", [JobStatus.FINISHED, JobStatus.FAILED, JobStatus.STOPPED])
def test_a_job_that_ended_and_is_asked_for_again_is_queued_again(
    broker: Broker, queue: JobQueue, ended: JobStatus
) -> None:
    job_id = queue.ensure("fan_out", "r")
    the_job(broker, job_id).set_status(ended)
    assert queue.ensure("fan_out", "r") == job_id
    assert the_job(broker, job_id).get_status() is JobStatus.QUEUED


def test_a_job_that_nobody_knows_is_refused(queue: JobQueue) -> None:
    with pytest.raises(KeyError):
        queue.ensure("make_coffee", "r")
