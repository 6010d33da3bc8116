"""The one loop that every role runs in: make a pass, say so, go on; survive a broker that is away."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

import structlog

from broker.errors import BrokerUnavailable
from broker.roster import Roster

log = structlog.get_logger(__name__)

PAUSE_AFTER_FAILURE: Final = timedelta(seconds=0.5)
SIGN_EVERY: Final = timedelta(seconds=3)


async def run_forever(
    role: str,
    one_pass: Callable[[], Awaitable[object]],
    *,
    roster: Roster,
    instance: str,
    stop: asyncio.Event,
    pause: timedelta = timedelta(0),
) -> None:
    """Make passes until `stop` is set.

    A broker that is away is waited for. Any other failure is logged with its traceback and the pass is made again: what
    it was about is still in its stream, unacked, and the recoverer parks what fails for good.
    """
    signed_at = 0.0
    away = False
    while not stop.is_set():
        try:
            await one_pass()
            if time.monotonic() - signed_at >= SIGN_EVERY.total_seconds():
                await roster.sign(role, instance, now=time.time())
                signed_at = time.monotonic()
            if away:
                log.info("broker is back", role=role)
                away = False
        except BrokerUnavailable as error:
            if not away:
                log.warning("broker is away", role=role, reason=error.reason)
                away = True
            await _sleep(stop, PAUSE_AFTER_FAILURE)
        except Exception:
            log.exception("pass failed", role=role)
            await _sleep(stop, PAUSE_AFTER_FAILURE)
        if pause:
            await _sleep(stop, pause)


async def _sleep(stop: asyncio.Event, pause: timedelta) -> None:
    try:
        async with asyncio.timeout(pause.total_seconds()):
            await stop.wait()
    except TimeoutError:
        return
