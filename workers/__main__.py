"""`python -m workers ROLE [ROLE ...]`: run roles in one process until SIGTERM or SIGINT."""

import argparse
import asyncio
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any, Final

import structlog

from broker import config
from broker.audit import AuditTrail
from broker.command_store import CommandStore
from broker.connection import Broker
from broker.errors import BrokerError, BrokerUnavailable
from broker.events import Events
from broker.host_registry import HostRegistry
from broker.inventory import Inventories
from broker.lag import Lag, due_firings, overdue, unsent
from broker.logs import configure_logging
from broker.request_log import RequestLog
from broker.request_store import RequestStore
from broker.results import Results
from broker.rollouts import Rollouts
from broker.roster import Roster
from broker.schedule_store import ScheduleStore
from broker.settings import BrokerSettings
from broker.standing import StandingRequests
from broker.streams import consumer_name
from broker.token_store import TokenStore
from broker.tracing import TracesNeedTheExtra, configure_tracing
from broker.uploads import Pushes, Uploads
from workers.dispatcher import Dispatcher
from workers.greeter import LOOK_EVERY as GREET_EVERY
from workers.greeter import Greeter
from workers.janitor import RING_EVERY, Janitor
from workers.job_queue import JobQueue, work
from workers.loop import ARCHIVER, NOTIFIER, Pass, run_forever
from workers.merger import Merger
from workers.pacer import PACE_EVERY, Pacer
from workers.projector import Projector
from workers.recoverer import Recoverer
from workers.scheduler import PASS_EVERY, Scheduler
from workers.settings import WorkerSettings
from workers.sinks import BadSinks, read_sinks
from workers.watch import Watch
from workers.webhooks import BadWebhooks, read_webhooks

log = structlog.get_logger(__name__)

LOOPED: Final = ("merger", "recoverer", "projector", "janitor", "dispatcher", "pacer", "greeter", "scheduler")
ALONE: Final = (ARCHIVER, NOTIFIER)
"""Looped like the others, and given a process of its own: what it waits for is outside."""
JOBS: Final = "jobs"


def passes(broker: Broker, settings: WorkerSettings, instance: str) -> dict[str, Pass]:
    """Every looped role that shares a process, wired."""
    request_log, store, results = RequestLog(broker), CommandStore(broker), Results(broker)
    requests, registry = RequestStore(broker), HostRegistry(broker)
    doorbells, changes = request_log.reader(instance), results.reader(consumer=instance)
    merger = Merger(request_log, store, doorbells)
    recoverer = Recoverer(request_log, merger, doorbells)
    projector = Projector(results, changes, waits_for=merger.caught_up)
    janitor = Janitor(
        request_log, results, registry, [doorbells, changes], events=Events(broker), audit=AuditTrail(broker)
    )
    watch = Watch(registry, store, Roster(broker))
    rollouts, standing = Rollouts(broker), StandingRequests(broker)
    pacer = Pacer(rollouts, requests, request_log)
    greeter = Greeter(standing, requests, registry, request_log, Inventories(broker), TokenStore(broker))
    queue = JobQueue(settings.job_queue_url)
    asked = requests.jobs_reader(instance)
    pushes = Pushes(broker) if settings.profiles_push.get_secret_value() else None
    dispatcher = Dispatcher(requests, queue, asked, Uploads(broker), pushes)
    scheduler = Scheduler(ScheduleStore(broker), queue)

    async def keep_time() -> int:
        return await janitor.ring() + await watch.look()

    async def not_paced() -> Lag:
        return await unsent(broker, await rollouts.all_open())

    async def not_greeted() -> Lag:
        return await unsent(broker, [stand.request_id for stand in await standing.all()])

    async def recover() -> int:
        return await recoverer.recover() + await projector.recover()

    async def held() -> Lag:
        return await doorbells.lag(only_held=True) + await changes.lag(only_held=True)

    return {
        "merger": Pass(merger.merge, lag=doorbells.lag),
        "recoverer": Pass(recover, timedelta(seconds=1), held),
        "projector": Pass(projector.project, lag=changes.lag),
        "janitor": Pass(keep_time, RING_EVERY, lambda: overdue(broker, now=time.time())),
        "dispatcher": Pass(dispatcher.dispatch, lag=asked.lag),
        "pacer": Pass(pacer.pace, PACE_EVERY, not_paced),
        "greeter": Pass(greeter.greet, GREET_EVERY, not_greeted),
        "scheduler": Pass(scheduler.schedule, PASS_EVERY, lambda: due_firings(broker, now=time.time())),
    }


async def run(roles: list[str]) -> None:
    """Run looped roles until a signal comes; what is under way is finished first.

    Raises:
        BadWebhooks: the notifier is among them and cannot know whom to tell.
        BadSinks: nobody can know to whom profiles are to be pushed.
    """
    settings = WorkerSettings()
    hooks = read_webhooks(settings.webhooks.get_secret_value()) if NOTIFIER in roles else []
    if NOTIFIER in roles and not hooks:
        raise BadWebhooks("PCS_WEBHOOKS names no webhook: there is nobody to notify")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    instance = consumer_name()
    read_sinks(settings.profiles_push.get_secret_value())
    _ = settings.job_queue_url  # what stands against it is said before anything starts
    async with Broker.opened(BrokerSettings()) as broker, AsyncExitStack() as further:
        waiting = asyncio.create_task(broker.wait_until_ready())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            waiting.cancel()
            return
        await waiting
        log.info("roles at work", roles=roles, instance=instance)
        wired = passes(broker, settings, instance)
        if not {*ALONE}.isdisjoint(roles):
            from workers import alone  # noqa: PLC0415 - an HTTP client and every kind of file: for these roles alone

            wired |= await alone.passes(broker, settings, instance, hooks=hooks, until=further)
        roster = Roster(broker)
        async with asyncio.TaskGroup() as group:
            for role in (name for name in wired if name.partition(":")[0] in roles):
                make, pause, lag = wired[role]
                group.create_task(
                    run_forever(role, make, roster=roster, instance=instance, stop=stop, pause=pause, lag=lag),
                    name=role,
                )
        stopping.cancel()
    log.info("roles stopped", roles=roles)


def _signer(role: str) -> Callable[[Mapping[str, Any]], None]:
    """For a role whose loop is not ours: signs the roster from outside any event loop."""
    instance = consumer_name()

    async def sign(facts: Mapping[str, Any]) -> None:
        try:
            async with Broker.opened(BrokerSettings()) as broker:
                await Roster(broker).sign(role, instance, now=time.time(), facts=facts)
        except BrokerUnavailable as error:
            log.warning("roster not signed", role=role, reason=error.reason)

    return lambda facts: asyncio.run(sign(facts))


def main() -> None:
    """Parse the roles and run them. `jobs` is rq's own loop and runs alone."""
    parser = argparse.ArgumentParser(prog="python -m workers", description=__doc__)
    known = [*LOOPED, *ALONE, JOBS]
    parser.add_argument("roles", nargs="+", choices=known, metavar="ROLE", help=", ".join(known))
    config.add_arguments(parser)
    given = parser.parse_args()
    roles: list[str] = given.roles
    classes = (WorkerSettings, BrokerSettings)
    try:
        flags = config.apply(given, classes)
        if given.show_config:
            print(config.as_json(classes, flags))  # noqa: T201 - what was asked for
            return
    except ValueError as error:
        raise SystemExit(f"workers: {error}") from None
    configure_logging()
    try:
        configure_tracing(roles[0] if len(roles) == 1 else "workers")
    except TracesNeedTheExtra as error:
        raise SystemExit(f"workers: {error}") from None
    if JOBS in roles:
        if len(roles) > 1:
            parser.error("jobs runs alone: rq forks for each job")
        try:
            url = WorkerSettings().job_queue_url
        except BrokerError as error:
            raise SystemExit(f"workers: {error}") from None
        from profiles.objects import load_client_of  # noqa: PLC0415 - every kind of file store: for this role alone

        load_client_of(WorkerSettings().profiles_at)
        work(url, _signer(JOBS))
        return
    try:
        asyncio.run(run(list(dict.fromkeys(roles))))
    except (BrokerError, BadWebhooks, BadSinks) as error:
        raise SystemExit(f"workers: {error}") from None


if __name__ == "__main__":
    main()
