"""rq, and the only place that knows it: slow and rare work, run in a process of its own."""

import contextlib
import functools
import gc
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from importlib import import_module
from types import FrameType
from typing import Any, Final, ParamSpec, TypeVar

import redis
import structlog
from rq import Queue, Worker
from rq.exceptions import NoSuchJobError
from rq.job import Job, JobStatus
from rq.scheduler import RQScheduler
from rq.serializers import JSONSerializer
from rq.utils import utcparse

from broker.errors import BrokerUnavailable

log = structlog.get_logger(__name__)

QUEUE: Final = "studio"
JOB_TIMEOUT_SECONDS: Final = 600
WORKER_TTL_SECONDS: Final = 20
"""rq waits for jobs this long less 15 s at a time, and signs in between."""
SILENT_MEANS_DEAD: Final = timedelta(seconds=30)
SIGN_EVERY: Final = timedelta(seconds=3)
LOOK_FOR_IT_EVERY_SECONDS: Final = 0.2
SCHEDULER_LOCK_SECONDS: Final = 15
"""A scheduler that dies keeps its lock for so long; meanwhile the others queue what is overdue."""
JOBS: Final[Mapping[str, str]] = {
    "fan_out": "workers.jobs.fan_out.run",
    "cancel": "workers.jobs.cancel.run",
    "schedule": "workers.jobs.fire_schedule.run",
    "index": "workers.jobs.index_profiles.run",
    "push": "workers.jobs.push_profiles.run",
    "tend": "workers.jobs.tend_profiles.run",
}
"""What may be asked for, and the function that does it."""
AWAY: Final = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError)
P = ParamSpec("P")
R = TypeVar("R")
AT_WORK: Final = frozenset({JobStatus.QUEUED, JobStatus.STARTED, JobStatus.DEFERRED})


def _told_as_ours(ask: Callable[P, R]) -> Callable[P, R]:
    """Rq speaks to its server by itself; to the roles that one is away as the broker is."""

    @functools.wraps(ask)
    def told(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return ask(*args, **kwargs)
        except AWAY as error:
            raise BrokerUnavailable(type(error).__name__) from error

    return told


class JobQueue:
    """Jobs by unique id: asking twice for the same runs it once at a time."""

    def __init__(self, url: str) -> None:
        self._connection = redis.Redis.from_url(url, protocol=2)
        self._queue = Queue(QUEUE, connection=self._connection, serializer=JSONSerializer)
        # rq's locks live 60 s longer than the interval. Nothing else depends on it, as rq's own loop is not run:
        # a role's loop calls `enqueue_due` instead, which leaves no forked process behind when it is killed.
        self._scheduler: Any = RQScheduler(
            [QUEUE], self._connection, interval=SCHEDULER_LOCK_SECONDS - 60, logging_level="WARNING",
            serializer=JSONSerializer,
        )  # fmt: skip

    @_told_as_ours
    def ensure(self, job: str, argument: str, *, at: datetime | None = None) -> str:
        """Make sure that this job is queued or at work, or that rq's scheduler has it for a moment; gives its id.

        A job whose worker died is in nobody's hands any more: it is queued anew. Every job may be repeated. Without
        `at` a scheduled job is queued at once: its moment is over, and no scheduler has seen to it.

        Raises:
            KeyError: no such job.
            BrokerUnavailable: rq's server cannot be reached.
        """
        function = JOBS[job]
        job_id = f"{job}-{argument}"
        try:
            known = Job.fetch(job_id, connection=self._connection, serializer=JSONSerializer)
            status = known.get_status(refresh=True)
            if status in AT_WORK and not self._is_orphan(known):
                return job_id
            if status is JobStatus.SCHEDULED and at is not None:
                return job_id
            known.delete()
        except NoSuchJobError:
            pass
        options = {"job_id": job_id, "job_timeout": JOB_TIMEOUT_SECONDS, "result_ttl": 3600, "failure_ttl": 86_400}
        if at is None:
            self._queue.enqueue(function, argument, **options)
        else:
            self._queue.enqueue_at(at, function, argument, **options)
        return job_id

    @_told_as_ours
    def enqueue_due(self) -> bool:
        """One pass of rq's scheduler: queue the jobs whose moment has come. False when another holds its lock.

        Raises:
            BrokerUnavailable: rq's server cannot be reached.
        """
        if not self._scheduler.acquire_locks():
            return False
        self._scheduler.enqueue_scheduled_jobs()
        return True

    def _is_orphan(self, job: Job) -> bool:
        """Whether the worker that took it is gone: workers sign every few seconds while they live."""
        if job.get_status() != JobStatus.STARTED or not job.worker_name:
            return False
        key = f"{Worker.redis_worker_namespace_prefix}{job.worker_name}"
        signed: Any = self._connection.hget(key, "last_heartbeat")
        if signed is None:
            return True
        return utcparse(signed.decode()) < datetime.now(UTC) - SILENT_MEANS_DEAD

    def close(self) -> None:
        """Give the connection and the scheduler's lock back."""
        self._scheduler.release_locks()
        self._scheduler.connection.connection_pool.disconnect()
        self._connection.close()


class StudioWorker(Worker):
    """rq's worker, signing the roster of roles whenever it signs rq's own."""

    max_connection_wait_time = 5.0
    is_told_to_stop = False

    def __init__(self, connection: redis.Redis, sign: Callable[[Mapping[str, Any]], None]) -> None:
        # One queue alone: rq recovers a crashed worker's job only for a worker that listens on a single queue.
        super().__init__(
            [QUEUE], connection=connection, serializer=JSONSerializer,
            worker_ttl=WORKER_TTL_SECONDS, job_monitoring_interval=5,
        )  # fmt: skip
        self._sign = sign
        self._signed_at = -SIGN_EVERY.total_seconds()

    def request_stop(self, signum: Any, frame: Any) -> None:
        """Begin to stop: a signal came."""
        self.is_told_to_stop = True
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]  # the library does not say

    def heartbeat(self, timeout: int | None = None, pipeline: redis.client.Pipeline | None = None) -> None:
        """Say that this worker lives."""
        super().heartbeat(timeout, pipeline)
        if time.monotonic() - self._signed_at < SIGN_EVERY.total_seconds():
            return  # rq comes here several times a job: signing each time would hold the job up
        self._signed_at = time.monotonic()
        # rq stops by raising from its signal handler. Raised in here, that would be taken for a broker that is away,
        # and the worker would go on; so the signal waits.
        with _stops_wait():
            self._sign({"behind": self.queues[0].count})


@contextlib.contextmanager
def _stops_wait() -> Iterator[None]:
    """Put off SIGTERM and SIGINT to the end of the block.

    By handlers, not by a mask: a mask is one thread's, and a signal to the process takes another thread then.
    """
    came: list[int] = []
    handlers = {
        number: signal.signal(number, lambda stop, _frame: came.append(stop))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for stop in came:
            signal.raise_signal(stop)


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def work(url: str, sign: Callable[[Mapping[str, Any]], None]) -> None:
    """Run an rq worker on our queue until SIGTERM or SIGINT; each job runs in a forked process.

    Args:
        url: rq's Redis.
        sign: called whenever the worker shows that it lives; its broker may be away, so it must not raise for that.
            It is given how many jobs wait.
    """
    connection = redis.Redis.from_url(url, protocol=2)
    _leave_when_told()
    _wait_for(connection)
    for function in JOBS.values():
        import_module(function.rpartition(".")[0])  # once, here: each job would read it anew in its own process
    gc.freeze()  # what is here stays; a collection in a forked process would copy all its pages
    while True:
        worker = StudioWorker(connection, sign)
        try:
            worker.work(logging_level="WARNING")
        except AWAY as error:
            log.warning("the server of jobs went away", reason=type(error).__name__)
        if worker.is_told_to_stop:
            return
        # rq's loop waits for a server that is away only while it has no job in hand; else it ends.
        _leave_when_told()
        log.warning("the worker of jobs ended by itself; another one begins")
        _wait_for(connection)


def _leave_when_told() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)  # rq puts its own handlers in place once it works


def _wait_for(connection: redis.Redis) -> None:
    while True:
        time.sleep(LOOK_FOR_IT_EVERY_SECONDS)
        try:
            connection.ping()
        except AWAY:
            continue
        return
