"""Waiting for the first of several things."""

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, TypeVar

T = TypeVar("T")


async def pause(duration: timedelta, *events: asyncio.Event) -> bool:
    """Wait for the duration, or until one of the events is set; say whether one was."""
    if any(event.is_set() for event in events) or duration <= timedelta(0):
        return any(event.is_set() for event in events)
    waiters = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        done, _ = await asyncio.wait(waiters, timeout=duration.total_seconds(), return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _cancel(*waiters)
    return bool(done)


async def unless(work: Coroutine[Any, Any, T], *events: asyncio.Event) -> T | None:
    """Do the work, or drop it as soon as one of the events is set; None when it was dropped.

    Work that is done at that very moment counts: a command in its answer must not be lost.
    """
    task = asyncio.ensure_future(work)
    waiters = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait({task, *waiters}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _cancel(task, *waiters)
    return None if task.cancelled() else task.result()


async def _cancel(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
