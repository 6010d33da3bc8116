"""What this process counts of itself, for Prometheus. Labels have few values, whatever is called."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
IS_SHARED: Final = FOLDER in os.environ
"""Whether several processes of one server count together, in files of this folder."""
disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each, of which nobody here makes use
REGISTRY: Final = CollectorRegistry()
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNMATCHED: Final = "unmatched"

REQUESTS: Final = Counter(
    "pcs_http_requests", "Calls that were answered, by route as declared", ["method", "route", "status"],
    registry=REGISTRY,
)  # fmt: skip
DURATION: Final = Histogram(
    "pcs_http_request_duration_seconds", "From the call's head to the end of its answer; held heartbeats not counted",
    ["method", "route"], registry=REGISTRY,
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)  # fmt: skip
LIMITED: Final = Counter("pcs_rate_limited", "Calls that were one too many, by lane", ["lane"], registry=REGISTRY)
DELIVERY: Final = Histogram(
    "pcs_command_delivery_seconds", "From a command's installation until it was handed out first", registry=REGISTRY,
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300),
)  # fmt: skip
HELD: Final = Gauge(
    "pcs_held_heartbeats", "Heartbeats that wait for a command just now", registry=REGISTRY,
    multiprocess_mode="livesum",
)  # fmt: skip
LISTENERS: Final = Gauge(
    "pcs_live_listeners", "Streams and websockets that are told of live events just now", registry=REGISTRY,
    multiprocess_mode="livesum",
)  # fmt: skip
COMPLETIONS: Final = Counter(
    "pcs_completions", "Completions that agents sent, by their status and what became of them",
    ["status", "recorded"], registry=REGISTRY,
)  # fmt: skip
if not IS_SHARED:
    ProcessCollector(registry=REGISTRY)  # of one process: among several it would tell of whoever answers

_counters: Final[dict[tuple[str, str, int], Callable[[float], None]]] = {}
_durations: Final[dict[tuple[str, str], Callable[[float], None]]] = {}


def note_call(method: str, route: str, status: int, seconds: float | None) -> None:
    """A call was answered. `route`: its path as declared; `seconds`: None where it was held on purpose."""
    note_calls(method, route, status, (seconds,))


def note_calls(method: str, route: str, status: int, seconds: Sequence[float | None]) -> None:
    """Calls were answered alike, at once; `seconds` has each."""
    method = method if method in METHODS else "OTHER"
    key = (method, route, status)
    counter = _counters.get(key)
    if counter is None:
        counter = _counters[key] = REQUESTS.labels(method, route, str(status)).inc
    counter(len(seconds))
    observe = _durations.get(key[:2])
    if observe is None:
        observe = _durations[key[:2]] = DURATION.labels(method, route).observe
    for each in seconds:
        if each is not None:
            observe(each)


def counted() -> CollectorRegistry:
    """What this process has counted, or all processes of this server together."""
    if not IS_SHARED:
        return REGISTRY
    together = CollectorRegistry()
    MultiProcessCollector(together)  # type: ignore[no-untyped-call]  # the library does not say
    return together


@contextlib.contextmanager
def counting_together() -> Iterator[None]:
    """Have the processes that are started meanwhile count as one: a scrape reaches any of them, and tells of all."""
    with tempfile.TemporaryDirectory(prefix="pcs-metrics-") as folder:
        os.environ[FOLDER] = folder
        try:
            yield
        finally:
            del os.environ[FOLDER]


def gone(pid: int) -> None:
    """A process of those that count together has ended: what it had under way is over, what it counted stays."""
    if FOLDER in os.environ:
        mark_process_dead(pid)  # type: ignore[no-untyped-call]  # the library does not say
