"""An agent that keeps at it while the broker is away, and runs each command once."""

import asyncio
import time
from collections import Counter
from typing import Any

from broker.errors import BrokerUnavailable
from broker.scripts import Delivered
from tests.support.played_host import PlayedHost


async def carried_out(host: PlayedHost) -> Counter[str]:
    """Play the agent until nothing is open any more: each command runs once, whatever is repeated. Gives the runs."""
    runs: Counter[str] = Counter()
    quiet_since = time.monotonic()
    last = ""
    while time.monotonic() - quiet_since < 1.0 or await persistently(host.open_ids) or await persistently(host.rings):
        answer = await persistently(host.beat, last=last, begun=bool(last), received=list(runs), executed=())
        if isinstance(answer, Delivered) and answer.command_id not in runs:
            runs[answer.command_id] += 1
            last = answer.command_id
            await persistently(host.beat, last=last, begun=True, received=list(runs))
            await persistently(host.complete, last)
            quiet_since = time.monotonic()
        await asyncio.sleep(0.05)
        assert time.monotonic() - quiet_since < 30, "it never came to an end"
    return runs


async def persistently(act: Any, *args: Any, **said: Any) -> Any:
    """As agents do: what was refused is repeated."""
    while True:
        try:
            return await act(*args, **said)
        except BrokerUnavailable:
            await asyncio.sleep(0.1)
