"""Worker roles as tasks of the test's own loop, wired as `python -m workers` wires them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from broker.connection import Broker
from broker.roster import Roster
from broker.streams import consumer_name
from workers.__main__ import passes
from workers.loop import run_forever
from workers.settings import WorkerSettings


@contextlib.asynccontextmanager
async def roles_at_work(broker: Broker, *roles: str) -> AsyncIterator[None]:
    """These roles, running until the end of the block."""
    stop, instance = asyncio.Event(), consumer_name()
    wired = passes(broker, WorkerSettings(), instance)
    async with asyncio.TaskGroup() as group:
        for role in roles:
            make, pause, _ = wired[role]
            group.create_task(run_forever(role, make, roster=Roster(broker), instance=instance, stop=stop, pause=pause))
        try:
            yield
        finally:
            stop.set()


async def before_long(check: Callable[[], Awaitable[object]], *, within: float = 20.0, what: str = "it") -> None:
    """Wait until `check` gives something true.

    Raises:
        AssertionError: it did not in time.
    """
    end = asyncio.get_running_loop().time() + within
    while asyncio.get_running_loop().time() < end:
        if await check():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{what} did not happen within {within} s")
