"""Real schedulers and real rq workers: each firing happens once and soon, whatever dies or is lost."""

import asyncio
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from redis import Redis

from broker.connection import Broker
from broker.errors import BrokerUnavailable
from broker.request_store import RequestStore
from broker.roster import Roster
from broker.schedule_store import Schedule, ScheduleStore, ids_of
from broker.settings import BrokerSettings
from tests.support.mortal_jobs import mortal_jobs
from tests.support.processes import eventually, started, worker_role
from tests.support.roles_at_work import before_long, roles_at_work
from tests.support.schedules import DUE, a_schedule, entries_of
from workers import job_queue
from workers import scheduler as scheduler_module
from workers.job_queue import JobQueue
from workers.scheduler import Scheduler


@pytest.fixture(autouse=True)
def _same_broker(broker_settings: BrokerSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCS_STATE_DIR", str(broker_settings.state_dir))


@pytest.fixture
def queue(broker: Broker) -> Iterator[JobQueue]:
    made = JobQueue(broker.settings.url)
    yield made
    made.close()


def waiting_jobs(broker: Broker) -> int:
    with Redis.from_url(broker.settings.url) as client:
        waiting: int = client.llen(f"rq:queue:{job_queue.QUEUE}")
        return waiting


def scheduled_jobs(broker: Broker) -> list[str]:
    with Redis.from_url(broker.settings.url, decode_responses=True) as client:
        return list(client.zrange(f"rq:scheduled:{job_queue.QUEUE}", 0, -1))


def lose_the_jobs(broker: Broker) -> None:
    with Redis.from_url(broker.settings.url) as client:
        client.delete(*client.scan_iter("rq:*"))


async def are_at_work(broker: Broker, wanted: dict[str, int]) -> bool:
    return await Roster(broker).present(now=time.time()) == wanted


async def settled(broker: Broker, schedule: Schedule, due: int) -> bool:
    return any(fired.due == due for fired in await ScheduleStore(broker).firings(schedule.schedule_id))


# --- through real processes -------------------------------------------------------------------------------------------


async def test_two_schedulers_and_two_rq_workers_fire_each_schedule_once_and_at_its_moment(
    broker: Broker, broker_settings: BrokerSettings
) -> None:
    state_dir = broker_settings.state_dir
    with (
        started(worker_role(state_dir, "jobs")),
        started(worker_role(state_dir, "jobs")),
    ):
        async with roles_at_work(broker, "scheduler"), roles_at_work(broker, "scheduler"):
            await before_long(lambda: are_at_work(broker, {"jobs": 2, "scheduler": 2}), within=40, what="all four")
            due = int(time.time()) + 2
            schedules = [await a_schedule(broker, due=due, catch_up=60) for _ in range(4)]

            async def all_fired() -> bool:
                return all([await settled(broker, schedule, due) for schedule in schedules])

            await before_long(all_fired, within=40, what="the firings")
    wanted = sorted((ids_of(schedule.schedule_id, due).request_id, "web-01") for schedule in schedules)
    assert await entries_of(broker) == wanted
    for schedule in schedules:
        (fired,) = await ScheduleStore(broker).firings(schedule.schedule_id)
        assert fired.outcome == "submitted"
        assert 0 <= fired.at - due < 3, "soon, on a machine that does other things too"


async def test_an_rq_worker_killed_in_the_middle_of_a_firing_leaves_one_request(
    broker: Broker, broker_settings: BrokerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_queue, "SILENT_MEANS_DEAD", timedelta(seconds=1))
    monkeypatch.setattr(scheduler_module, "LOOK_AGAIN", timedelta(seconds=1))
    monkeypatch.setenv("PCS_FAN_OUT_ABOVE", "100000")  # the firing itself is to append them all
    names = [f"web-{number:04}" for number in range(5_000)]
    due = int(time.time())
    schedule = await a_schedule(broker, due=due, request={"service_name": "web", "target_hostnames": names})
    ids = ids_of(schedule.schedule_id, due)
    state_dir = broker_settings.state_dir
    async with roles_at_work(broker, "scheduler"):
        with started(mortal_jobs(state_dir, appends=1)) as worker:
            await asyncio.to_thread(eventually, lambda: worker.process.poll() is not None, within=60, what="its death")
            assert worker.process.poll() == -signal.SIGKILL, worker.said()
        assert not await settled(broker, schedule, due), "it was killed in the middle"
        record = await RequestStore(broker).get(ids.request_id)
        assert record is not None
        assert record.hosts_appended == 0
        with started(worker_role(state_dir, "jobs")):
            await before_long(lambda: settled(broker, schedule, due), within=60, what="the repeated firing")
    assert await entries_of(broker) == [(ids.request_id, name) for name in names]


# --- pass by pass -----------------------------------------------------------------------------------------------------


async def test_the_next_firing_is_a_job_of_rqs_scheduler_under_its_own_id(broker: Broker, queue: JobQueue) -> None:
    due = int(time.time()) + 60
    schedule = await a_schedule(broker, due=due)
    await a_schedule(broker, due=due + 3_600)
    for _ in range(3):
        await Scheduler(ScheduleStore(broker), queue).schedule()
    assert scheduled_jobs(broker) == [f"schedule-{schedule.schedule_id}-{due}"]
    assert waiting_jobs(broker) == 0


async def test_a_job_that_rq_lost_is_made_again(
    broker: Broker, queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler_module, "LOOK_AGAIN_BEFORE", timedelta(0))
    await a_schedule(broker, due=int(time.time()) + 60)
    scheduler = Scheduler(ScheduleStore(broker), queue)
    await scheduler.schedule()
    lose_the_jobs(broker)
    await scheduler.schedule()
    assert len(scheduled_jobs(broker)) == 1


async def test_what_is_overdue_is_queued_though_a_dead_scheduler_holds_rqs_lock(
    broker: Broker, queue: JobQueue
) -> None:
    dead = JobQueue(broker.settings.url)
    assert dead.enqueue_due()
    assert not queue.enqueue_due()
    now = int(time.time())
    schedule = await a_schedule(broker, due=now - 2)
    queue.ensure("schedule", f"{schedule.schedule_id}-{now - 2}", at=datetime.fromtimestamp(now - 2, UTC))
    assert (len(scheduled_jobs(broker)), waiting_jobs(broker)) == (1, 0)
    await Scheduler(ScheduleStore(broker), queue).schedule()
    assert (len(scheduled_jobs(broker)), waiting_jobs(broker)) == (0, 1)
    dead.close()
    assert queue.enqueue_due(), "a scheduler that ends in peace gives its lock back"


async def test_rqs_server_is_waited_for_like_the_broker(broker: Broker, queue: JobQueue, tmp_path: Path) -> None:
    await a_schedule(broker, due=int(time.time()) + 60)
    away = JobQueue(f"unix://{tmp_path}/nobody-listens")
    for ask in (away.enqueue_due, lambda: away.ensure("schedule", "a-firing")):
        with pytest.raises(BrokerUnavailable):
            ask()
    with pytest.raises(BrokerUnavailable):
        await Scheduler(ScheduleStore(broker), away).schedule()
    await Scheduler(ScheduleStore(broker), queue).schedule()
    assert len(scheduled_jobs(broker)) == 1


async def test_a_firing_under_way_is_seen_to_when_its_schedule_has_moved_on(broker: Broker, queue: JobQueue) -> None:
    schedule = await a_schedule(broker)
    store = ScheduleStore(broker)
    await store.take(schedule.schedule_id, DUE, now=DUE)
    await store.delete(schedule)
    assert await Scheduler(store, queue).schedule(now=DUE + 1) == 0, "whoever has it may be at work"
    assert await Scheduler(store, queue).schedule(now=DUE + 10) == 1
    assert waiting_jobs(broker) == 1


async def test_a_paused_schedule_has_no_job(broker: Broker, queue: JobQueue) -> None:
    await a_schedule(broker, enabled=False)
    assert await Scheduler(ScheduleStore(broker), queue).schedule(now=DUE) == 0
