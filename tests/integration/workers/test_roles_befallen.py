"""Every role whose calls to Redis are refused, or executed and never answered: what it does is done once all the same.

Merger, recoverer and projector have a story of their own (`test_executed_but_timed_out.py`), and the API's calls are
befallen in the chaos of a fleet.
"""

import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from redis import Redis

from broker import keys
from broker.archiving import ArchivedStreams
from broker.audit import AuditTrail
from broker.command_store import CommandStore
from broker.connection import Broker
from broker.errors import BrokerUnavailable
from broker.events import Events
from broker.host_registry import HostRegistry
from broker.inventory import Inventories
from broker.lease import Lease
from broker.outbox import NOTIFIERS, Outbox
from broker.request_log import RequestLog
from broker.request_record import RequestRecord
from broker.request_store import DISPATCHERS, RequestStore
from broker.results import Results
from broker.rollouts import Rollouts
from broker.roster import API, Roster
from broker.schedule_store import ScheduleStore, ids_of
from broker.settings import BrokerSettings
from broker.standing import StandingRequests
from broker.submission import Intake
from broker.token_store import ANYBODY_ID, TokenStore
from broker.uploads import Uploads
from protocol.lifecycle import OUTCOMES
from protocol.names import DEFAULT_TENANT
from protocol.requests import ProfileRequest
from tests.support.builders import a_host
from tests.support.faults import LATE, REFUSED, Faults, befall_sync, befallen
from tests.support.played_host import PlayedHost
from tests.support.repeated_story import repeated
from tests.support.rollouts import PlayedRollout, a_pacer, most_open_at_once
from tests.support.schedules import DUE, a_schedule, entries_of
from tests.support.servers import emptied
from tests.support.webhook_receiver import receiving
from workers import dispatcher as dispatcher_module
from workers import job_queue, notifier, scheduler
from workers.archive import Archive
from workers.archiver import Archiver, Closing
from workers.dispatcher import Dispatcher
from workers.greeter import Greeter
from workers.janitor import Janitor
from workers.job_queue import JobQueue
from workers.jobs import fan_out as fan_out_module
from workers.jobs.fan_out import fan_out
from workers.jobs.fire_schedule import Parts, fire
from workers.notifier import Router, Sender
from workers.scheduler import Scheduler
from workers.segments import decode
from workers.verify_archive import verify
from workers.watch import Watch
from workers.webhook_client import WebhookClient
from workers.webhooks import Webhook

SHORTLY = timedelta(milliseconds=2)
AT_ONCE = timedelta(0)
MOST_PASSES = 300
Pass = Callable[[], Awaitable[object]]


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in nobody's hands is taken over at once, and nobody waits for work."""
    for module in (dispatcher_module, notifier):
        monkeypatch.setattr(module, "BLOCK", SHORTLY)
    for module, name in ((dispatcher_module, "LOOK_AGAIN"), (notifier, "TAKE_OVER_AFTER"), (scheduler, "LOOK_AGAIN")):
        monkeypatch.setattr(module, name, AT_ONCE)
    monkeypatch.setattr(fan_out_module, "PIECE", 20)


@pytest.fixture
async def broker(broker_settings: BrokerSettings) -> AsyncIterator[Broker]:
    """With few partitions: a pass that makes a call for each of sixteen would hardly ever come through."""
    async with emptied(broker_settings.model_copy(update={"partitions": 4})) as connected:
        yield connected


@pytest.fixture(params=range(int(os.environ.get("FAULT_SEEDS", "2"))))
def faults(request: pytest.FixtureRequest) -> Faults:
    return Faults(request.param, refused=0.04, late=0.08)


@pytest.fixture
async def shaky(broker: Broker, faults: Faults) -> AsyncIterator[Broker]:
    """A broker as the role under test has it; what the test itself looks at, it looks at by `broker`."""
    async with Broker.opened(broker.settings) as fresh, befallen(fresh, faults) as befallen_broker:
        yield befallen_broker
    assert faults.counts[LATE] + faults.counts[REFUSED], "nothing was befallen: this test sees nothing"


async def make_passes(*passes: Pass, until: Callable[[], Awaitable[bool]]) -> None:
    """As the roles' loop does: a pass that fails is made again, until what is to be is so."""
    for _ in range(MOST_PASSES):
        for one_pass in passes:
            try:
                await one_pass()
            except BrokerUnavailable:
                continue
        if await until():
            return
    raise AssertionError(f"not after {MOST_PASSES} passes")


async def a_request(broker: Broker, hosts: int, **asked: object) -> RequestRecord:
    """A stored request that nothing is appended of yet."""
    body = ProfileRequest.model_validate(
        {"service_name": "web", "target_hostnames": [f"web-{number:03}" for number in range(hosts)], **asked}
    )
    store, now = RequestStore(broker), time.time()
    ticket = await store.ticket(
        tenant=DEFAULT_TENANT, token_id=ANYBODY_ID, idempotency_key=None, body_digest="", now=now
    )
    record = RequestRecord(ticket.request_id, ticket.command_id, DEFAULT_TENANT, ANYBODY_ID, now, body, body.targets())
    await store.put(record)
    return record


async def told_of(broker: Broker, request_id: str) -> Counter[tuple[str, str]]:
    """(host, state) -> how often the results tell of it."""
    async with broker.guarded() as redis:
        entries = [
            fields for number in range(broker.partitions) for _, fields in await redis.xrange(keys.results(number))
        ]
    return Counter((each["hostname"], each["state"]) for each in entries if request_id in each["request_ids"].split())


async def test_the_pacer_gives_each_host_one_turn_and_never_one_too_many(broker: Broker, shaky: Broker) -> None:
    rollout = await PlayedRollout.of(broker, 8, max_concurrency=3)
    await repeated(lambda: Rollouts(shaky).open(rollout.record))

    async def is_over() -> bool:
        await rollout.end_all()
        return not await Rollouts(broker).all_open()

    await make_passes(a_pacer(shaky).pace, until=is_over)
    told = await told_of(broker, rollout.record.request_id)
    assert {host: count for (host, state), count in told.items() if state == "submitted"} == dict.fromkeys(
        rollout.hosts, 1
    )
    assert await rollout.outcomes() == {"completed": 8}
    assert await most_open_at_once(broker, rollout.record.request_id) <= 3


async def test_the_greeter_gives_a_standing_request_to_each_joiner_once_and_ends_it(
    broker: Broker, shaky: Broker
) -> None:
    record = await a_request(broker, 0, target_hostnames=None, target_scope="service", continuous=True)
    standing, hosts = StandingRequests(shaky), [PlayedHost(broker, a_host(f"new-{number}")) for number in range(8)]
    await repeated(lambda: standing.open(record))
    greeter = Greeter(
        standing, RequestStore(shaky), HostRegistry(shaky), RequestLog(shaky), Inventories(shaky), TokenStore(shaky)
    )
    for host in hosts:
        host.now = time.time()
        await host.beat()

    async def all_have_it() -> bool:
        return len(await told_of(broker, record.request_id)) == len(hosts)

    await make_passes(greeter.greet, until=all_have_it)
    await repeated(lambda: standing.end(record.request_id, reason="stopped"))
    await repeated(lambda: RequestLog(shaky).cancel(record.request_id, (), reason="stopped"))

    async def is_cleared() -> bool:
        return not await StandingRequests(broker).all()

    await make_passes(greeter.greet, until=is_cleared)
    assert await told_of(broker, record.request_id) == {(host.key.host, "submitted"): 1 for host in hosts}


async def test_the_dispatcher_has_each_request_fanned_out_once(broker: Broker, shaky: Broker, faults: Faults) -> None:
    records = [await a_request(broker, 50) for _ in range(4)]
    for record in records:
        await repeated(lambda: RequestStore(shaky).ask_for_job("fan_out", record.request_id))  # noqa: B023 - run now
    queue = JobQueue(broker.settings.url)
    befall_sync(queue._connection, faults)
    asked = RequestStore(shaky).jobs_reader("d")

    async def work() -> None:
        """As an rq worker does: a job that fails is not in the queue any more."""
        with Redis.from_url(broker.settings.url, decode_responses=True) as client:
            while (job_id := client.lpop(f"rq:queue:{job_queue.QUEUE}")) is not None:
                client.hset(f"rq:job:{job_id}", "status", "failed")
                if not job_id.startswith("fan_out-"):
                    continue  # the dispatcher also has stored profiles tended
                await fan_out(job_id.removeprefix("fan_out-"), RequestStore(shaky), RequestLog(shaky))

    async def is_done() -> bool:
        async with broker.guarded() as redis:
            left = await redis.xlen(keys.asked_jobs())
            return not left and not (await redis.xpending(keys.asked_jobs(), DISPATCHERS))["pending"]

    await make_passes(Dispatcher(RequestStore(shaky), queue, asked, Uploads(shaky)).dispatch, work, until=is_done)
    with faults.off():
        queue.close()
    for record in records:
        assert await told_of(broker, record.request_id) == {(host, "submitted"): 1 for host in record.targets}


async def test_the_scheduler_and_a_job_fire_a_schedule_once(broker: Broker, shaky: Broker, faults: Faults) -> None:
    made = await a_schedule(broker, overlap="allow")
    queue = JobQueue(broker.settings.url)
    befall_sync(queue._connection, faults)
    befall_sync(queue._scheduler.connection, faults)
    role = Scheduler(ScheduleStore(shaky), queue)
    intake = Intake.of(shaky, heartbeat_interval=timedelta(seconds=30), fan_out_above=1_000)
    parts = Parts(ScheduleStore(shaky), TokenStore(shaky), intake, AuditTrail(shaky))
    moments = [DUE + hours * 3_600 for hours in range(4)]
    now = DUE + 2.0

    async def work() -> None:
        with Redis.from_url(broker.settings.url, decode_responses=True) as client:
            while (job_id := client.lpop(f"rq:queue:{job_queue.QUEUE}")) is not None:
                client.hset(f"rq:job:{job_id}", "status", "failed")
                schedule_id, _, due = job_id.removeprefix("schedule-").rpartition("-")
                await fire(schedule_id, int(due), parts, now=now)

    async def is_fired() -> bool:
        fired = await ScheduleStore(broker).firings(made.schedule_id)
        return any(each.due == due for each in fired) and not await ScheduleStore(broker).under_way(since=now, most=9)

    for due in moments:
        now = due + 2.0
        await make_passes(lambda: role.schedule(now=now), work, until=is_fired)  # noqa: B023 - run before the next one
    with faults.off():
        queue.close()
    assert await entries_of(broker) == sorted((ids_of(made.schedule_id, due).request_id, "web-01") for due in moments)
    fired = await ScheduleStore(broker).firings(made.schedule_id)
    assert [(each.due, each.outcome) for each in fired] == [(due, "submitted") for due in reversed(moments)]


async def test_the_archiver_stores_every_result_once_in_one_chain(
    broker: Broker, shaky: Broker, tmp_path: Path
) -> None:
    archive = Archive(str(tmp_path))
    archiver = Archiver(ArchivedStreams(shaky), archive, Lease(shaky, "archiver", "a"), Closing(age=AT_ONCE))
    told: list[str] = []
    for batch in range(4):
        async with broker.guarded() as redis:
            told += [await redis.xadd(keys.results(3), {"state": "running", "n": batch}) for _ in range(5)]

        async def is_archived() -> bool:
            return not any(lag.behind for lag in (await ArchivedStreams(broker).lag()).values())

        await make_passes(archiver.archive, until=is_archived)
    paths = [path for path in archive.paths("results") if "/0003-" in path]
    assert [record.entry_id for path in paths for record in decode(path, archive.read(path)).records] == told
    assert verify(archive, await ArchivedStreams(broker).heads(archive.name)).ok


async def test_the_notifier_makes_one_notification_of_each_request(broker: Broker, shaky: Broker) -> None:
    with receiving() as receiver:
        hook = Webhook.model_validate({"name": "ops", "url": receiver.url})
        outcomes = Results(shaky).reader(NOTIFIERS, "n", since="0")
        outbox = Outbox(shaky)
        router = Router([hook], outbox, RequestStore(shaky), outcomes)
        host = PlayedHost(broker)
        ids = set()
        for _ in range(5):
            record = await host.submit()
            ids.add(record.request_id)
            await host.settle()
            await host.complete((await host.begin()).command_id)
        async with WebhookClient(first_wait_s=0.01) as client:
            sender = Sender(hook, outbox, outbox.reader(hook.name, "n"), client)

            async def is_told() -> bool:
                async with broker.guarded() as redis:
                    left = await redis.xlen(keys.outbox("ops"))
                return not left and {each["request_id"] for each in receiver.bodies} == ids

            await make_passes(router.route, sender.send, until=is_told)
        by_request: dict[str, set[str]] = {}
        for body in receiver.bodies:
            by_request.setdefault(body["request_id"], set()).add(body["id"])
        assert {len(notifications) for notifications in by_request.values()} == {1}, "sent again under the same id"


async def test_the_janitor_rings_and_the_watch_gives_up_on_a_host_once(broker: Broker, shaky: Broker) -> None:
    late, gone = PlayedHost(broker, a_host("late")), PlayedHost(broker, a_host("gone"))
    roster = Roster(broker)
    readers = [RequestLog(shaky).reader("j"), Results(shaky).reader(consumer="j")]
    janitor = Janitor(
        RequestLog(shaky), Results(shaky), HostRegistry(shaky), readers, events=Events(shaky), audit=AuditTrail(shaky)
    )
    watch = Watch(HostRegistry(shaky), CommandStore(shaky), Roster(shaky))
    began = time.time()  # the janitor's clock is the real one
    late.now, gone.now = began - 3_600, began
    overdue = await late.submit(duration=60)
    silent = await gone.submit(duration=80_000)
    for host in (late, gone):
        await host.settle()
        await host.begin()

    before = await late.rings()

    async def is_rung_for() -> bool:
        return await late.rings() > before

    await make_passes(janitor.sweep, janitor.ring, until=is_rung_for)
    late.now = time.time()
    await late.settle()

    async def look() -> None:
        gone.now += 1  # a pass that fails is soon made again
        await roster.sign(API, "an-api", now=gone.now)
        await watch.look_at(gone.now)

    async def is_lost() -> bool:
        return await gone.state() == "lost"

    await make_passes(look, until=is_lost)
    for record, outcome in ((overdue, "timed_out"), (silent, "lost")):
        told = await told_of(broker, record.request_id)
        assert {state: count for (_, state), count in told.items() if state in OUTCOMES} == {outcome: 1}
