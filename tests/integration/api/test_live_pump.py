"""How one stream is served: beats while nothing happens, and an end for who takes nothing."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from api import live
from api.live import Ended, Event, as_sse
from broker import keys
from broker.connection import Broker
from broker.live import LiveFeed


class Pipe:
    """A client that takes what it is sent, or nothing."""

    def __init__(self) -> None:
        self.taken: list[Event] = []
        self.takes = asyncio.Event()
        self.takes.set()

    async def send(self, event: Event) -> None:
        await self.takes.wait()
        self.taken.append(event)


async def never() -> Any:
    await asyncio.Event().wait()


async def test_a_silent_stream_beats_and_moves_on_and_a_stuck_one_ends(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "BEATS_EVERY", timedelta(seconds=0.05))
    monkeypatch.setattr(live, "STUCK_AFTER", timedelta(seconds=0.3))
    feed, pipe = LiveFeed(broker), Pipe()
    async with feed.listening(lambda _: False, ("results",)) as listener, asyncio.timeout(20):
        streaming = asyncio.create_task(live.stream(feed, listener, pipe, gone=never(), identify=never))
        for beats in (1, 2):
            while len({event.cursor for event in pipe.taken if event.kind == "beat"}) < beats:  # noqa: ASYNC110 - no event for it
                await asyncio.sleep(0.01)
            await broker.send([("XADD", keys.results(0), "*", "state", "x")])
        pipe.takes.clear()
        assert await streaming is Ended.STUCK
    assert pipe.taken[0].kind == "hello"
    assert as_sse(pipe.taken[-1]) == f": beat\nid: {pipe.taken[-1].cursor}\n\n".encode()
