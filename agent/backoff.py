"""Trying again after a failed call: tenacity with the pauses of `protocol.pacing`."""

import asyncio
import random
from collections.abc import Callable
from datetime import timedelta

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from agent.transport import Refused, TransportError
from agent.waiting import pause
from protocol.pacing import retry_pause


def retrying(
    *,
    cap: timedelta,
    stopping: asyncio.Event,
    on_failure: Callable[[TransportError, int, timedelta], None],
    sooner: asyncio.Event | None = None,
) -> AsyncRetrying:
    """Try until the call succeeds or `stopping` is set; the last error is raised then.

    Args:
        cap: bounds the pause before jitter; `Retry-After` is a floor.
        stopping: ends the pause and the trying.
        on_failure: told of each failure: the error, the number of the try, the pause that follows.
        sooner: ends the pause; for a sign that the server is back.
    """

    def wait(state: RetryCallState) -> float:
        error = _error(state)
        retry_after = error.retry_after if isinstance(error, Refused) else None
        spread = random.random()  # noqa: S311 - jitter, not a secret
        return retry_pause(state.attempt_number, cap=cap, spread=spread, retry_after=retry_after).total_seconds()

    async def sleep(seconds: float) -> None:
        await pause(timedelta(seconds=seconds), stopping, *((sooner,) if sooner else ()))

    def before_sleep(state: RetryCallState) -> None:
        error = _error(state)
        if error is not None:
            on_failure(error, state.attempt_number, timedelta(seconds=state.upcoming_sleep))

    return AsyncRetrying(
        wait=wait,
        sleep=sleep,
        before_sleep=before_sleep,
        stop=lambda _: stopping.is_set(),
        retry=retry_if_exception_type(TransportError),
        reraise=True,
    )


def _error(state: RetryCallState) -> TransportError | None:
    error = state.outcome.exception() if state.outcome else None
    return error if isinstance(error, TransportError) else None
