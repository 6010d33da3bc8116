"""The one loop that every role runs in: make a pass, say so, go on; survive a broker that is away."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, NamedTuple

import structlog

from broker.errors import BrokerUnavailable
from broker.lag import Lag
from broker.roster import Roster
from workers.meter import Meter

log = structlog.get_logger(__name__)

PAUSE_AFTER_FAILURE: Final = timedelta(seconds=0.5)
SIGN_EVERY: Final = timedelta(seconds=3)
ARCHIVER: Final = "archiver"
NOTIFIER: Final = "notifier"


class Pass(NamedTuple):
    """One role's pass and the pause after it."""

    make: Callable[[], Awaitable[object]]
    pause: timedelta = timedelta(0)
    lag: Callable[[], Awaitable[Lag]] | None = None


async def run_forever(
    role: str,
    one_pass: Callable[[], Awaitable[object]],
    *,
    roster: Roster,
    instance: str,
    stop: asyncio.Event,
    pause: timedelta = timedelta(0),
    lag: Callable[[], Awaitable[Lag]] | None = None,
) -> None:
    """Make passes until `stop` is set; every few seconds sign the roster with what was measured.

    A broker that is away is waited for. Any other failure is logged with its traceback and the pass is made again: what
    it was about is still in its stream, unacked, and the recoverer parks what fails for good.
    """
    signed_at = 0.0
    meter = Meter(started=time.monotonic())
    away = False
    while not stop.is_set():
        try:
            began = time.monotonic()
            done = await one_pass()
            now = time.monotonic()
            meter.note(done if isinstance(done, int) else 0, took=now - began, now=now)
            if now - signed_at >= SIGN_EVERY.total_seconds():
                await _sign(roster, role, instance, meter, lag)
                signed_at = now
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


async def _sign(
    roster: Roster, role: str, instance: str, meter: Meter, lag: Callable[[], Awaitable[Lag]] | None
) -> None:
    facts = meter.facts(now=time.monotonic())
    now = time.time()
    if lag is not None:
        behind = await lag()
        facts |= {"behind": behind.behind, "oldest_seconds": round(behind.age(now=now), 3)}
    await roster.sign(role, instance, now=now, facts=facts)


async def _sleep(stop: asyncio.Event, pause: timedelta) -> None:
    try:
        async with asyncio.timeout(pause.total_seconds()):
            await stop.wait()
    except TimeoutError:
        return
