"""`python -m workers ROLE [ROLE ...]`: run roles in one process until SIGTERM or SIGINT."""

import argparse
import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, NamedTuple

import structlog

from broker.command_store import CommandStore
from broker.connection import Broker
from broker.errors import BrokerError, BrokerUnavailable
from broker.events import Events
from broker.host_registry import HostRegistry
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
from workers.dispatcher import Dispatcher
from workers.greeter import LOOK_EVERY, Greeter
from workers.janitor import RING_EVERY, Janitor
from workers.job_queue import JobQueue, work
from workers.loop import run_forever
from workers.merger import Merger
from workers.pacer import PACE_EVERY, Pacer
from workers.projector import Projector
from workers.recoverer import Recoverer
from workers.scheduler import PASS_EVERY, Scheduler
from workers.settings import WorkerSettings
from workers.watch import Watch

log = structlog.get_logger(__name__)

LOOPED: Final = ("merger", "recoverer", "projector", "janitor", "dispatcher", "pacer", "greeter", "scheduler")
JOBS: Final = "jobs"


class Pass(NamedTuple):
    """One role's pass and the pause after it."""

    make: Callable[[], Awaitable[object]]
    pause: timedelta = timedelta(0)


def passes(broker: Broker, settings: WorkerSettings, instance: str) -> dict[str, Pass]:
    """Every looped role, wired."""
    request_log, store, results = RequestLog(broker), CommandStore(broker), Results(broker)
    requests, registry = RequestStore(broker), HostRegistry(broker)
    doorbells, changes = request_log.reader(instance), results.reader(consumer=instance)
    merger = Merger(request_log, store, doorbells)
    recoverer = Recoverer(request_log, merger, doorbells)
    projector = Projector(results, changes)
    own = [request_log.reader(instance), results.reader(consumer=instance)]
    janitor = Janitor(request_log, results, registry, own, events=Events(broker))
    pacer = Pacer(Rollouts(broker), requests, request_log)
    greeter = Greeter(StandingRequests(broker), requests, registry, request_log)
    queue = JobQueue(settings.job_queue_url)
    dispatcher = Dispatcher(requests, queue, requests.jobs_reader(instance))
    scheduler = Scheduler(ScheduleStore(broker), queue)

    watch = Watch(registry, store, Roster(broker))

    async def keep_time() -> None:
        await janitor.ring()
        await watch.look()

    async def recover() -> None:
        await recoverer.recover()
        await projector.recover()

    return {
        "merger": Pass(merger.merge),
        "recoverer": Pass(recover, timedelta(seconds=1)),
        "projector": Pass(projector.project),
        "janitor": Pass(keep_time, RING_EVERY),
        "dispatcher": Pass(dispatcher.dispatch),
        "pacer": Pass(pacer.pace, PACE_EVERY),
        "greeter": Pass(greeter.greet, LOOK_EVERY),
        "scheduler": Pass(scheduler.schedule, PASS_EVERY),
    }


async def run(roles: list[str]) -> None:
    """Run looped roles until a signal comes; what is under way is finished first."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    instance = consumer_name()
    settings = WorkerSettings()
    _ = settings.job_queue_url  # what stands against it is said before anything starts
    async with Broker.opened(BrokerSettings()) as broker:
        waiting = asyncio.create_task(broker.wait_until_ready())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            waiting.cancel()
            return
        await waiting
        log.info("roles at work", roles=roles, instance=instance)
        wired = passes(broker, settings, instance)
        roster = Roster(broker)
        async with asyncio.TaskGroup() as group:
            for role in roles:
                make, pause = wired[role]
                group.create_task(
                    run_forever(role, make, roster=roster, instance=instance, stop=stop, pause=pause), name=role
                )
        stopping.cancel()
    log.info("roles stopped", roles=roles)


def _signer(role: str) -> Callable[[], None]:
    """For a role whose loop is not ours: signs the roster from outside any event loop."""
    instance = consumer_name()

    async def sign() -> None:
        try:
            async with Broker.opened(BrokerSettings()) as broker:
                await Roster(broker).sign(role, instance, now=time.time())
        except BrokerUnavailable as error:
            log.warning("roster not signed", role=role, reason=error.reason)

    return lambda: asyncio.run(sign())


def main() -> None:
    """Parse the roles and run them. `jobs` is rq's own loop and runs alone."""
    parser = argparse.ArgumentParser(prog="python -m workers", description=__doc__)
    parser.add_argument("roles", nargs="+", choices=[*LOOPED, JOBS], metavar="ROLE", help=", ".join([*LOOPED, JOBS]))
    roles: list[str] = parser.parse_args().roles
    configure_logging()
    if JOBS in roles:
        if len(roles) > 1:
            parser.error("jobs runs alone: rq forks for each job")
        try:
            url = WorkerSettings().job_queue_url
        except BrokerError as error:
            raise SystemExit(f"workers: {error}") from None
        work(url, _signer(JOBS))
        return
    try:
        asyncio.run(run(list(dict.fromkeys(roles))))
    except BrokerError as error:
        raise SystemExit(f"workers: {error}") from None


if __name__ == "__main__":
    main()
