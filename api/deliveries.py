"""What is told of a command that is handed out, and of one that has ended: in log, metrics and its trace."""

import time

import structlog

from api.metrics import COMPLETIONS, DELIVERY
from broker import tracing
from broker.codec import origin_of
from broker.command_store import CommandStore
from broker.scripts import Delivered, Recorded
from protocol.completions import Completion
from protocol.names import HostKey

log = structlog.get_logger(__name__)


def tell_delivered(given: Delivered) -> None:
    """A command goes into a reply. What it took is known from the command itself: nobody is asked for it."""
    origin = origin_of(given.command)
    with tracing.span(
        "deliver command", parent=origin.traceparent, command_id=given.command_id, generation=given.generation,
        attempt=given.attempt,
    ):  # fmt: skip
        log.info("command delivered", command_id=given.command_id, generation=given.generation, attempt=given.attempt)
    if given.attempt == 1 and origin.installed_at is not None:
        DELIVERY.observe(max(0.0, time.time() - origin.installed_at / 1000))


async def tell_completed(host: HostKey, completion: Completion, recorded: Recorded, store: CommandStore) -> None:
    """An agent has said how a command ended. Where nobody traces, nobody is asked for the trace.

    Raises:
        BrokerUnavailable: the trace cannot be looked up; the completion is recorded, and may be repeated.
    """
    COMPLETIONS.labels(completion.status, recorded.value).inc()
    parent = await store.trace_of(host, completion.command_id) if tracing.is_on() else ""
    with tracing.span(
        "complete command", parent=parent, command_id=completion.command_id, outcome=recorded.value,
        status=completion.status,
    ):  # fmt: skip
        log.info(
            "completion", outcome=recorded.value, status=completion.status, host=host.path,
            command_id=completion.command_id, samples=completion.samples,
        )  # fmt: skip
