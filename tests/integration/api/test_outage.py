"""Heartbeats go on while the broker is away: 503 with when to come again, and all is well soon after its return.

`PCS_OUTAGE_SECONDS=60 PCS_OUTAGE_RATE=200` plays the long version.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.support.api import HEARTBEAT, REQUEST, Api, PlayedAgent, running_api, talking_to
from tests.support.private_broker import PrivateBroker, private_broker
from tests.support.processes import eventually

AWAY_SECONDS = float(os.environ.get("PCS_OUTAGE_SECONDS", "3"))
RATE = int(os.environ.get("PCS_OUTAGE_RATE", "50"))
"""Heartbeats a second, whether or not the ones before are answered."""
BACK_WITHIN_SECONDS = 5.0
"""What the product promises."""
PATIENCE_SECONDS = 30.0
"""What a test gives a busy machine to keep it."""


@dataclass
class Heard:
    """What came back: when the call was made, when it was answered, and how."""

    answers: list[tuple[float, float, httpx.Response]] = field(default_factory=list)

    def between(self, since: float, until: float) -> list[httpx.Response]:
        """The answers to calls that were made and answered in a span of time."""
        return [answer for at, answered, answer in self.answers if since <= at <= answered < until]

    def last_refused(self) -> float:
        """When the last call was made that was not answered with 200."""
        return max((at for at, _, answer in self.answers if answer.status_code != 200), default=0.0)


@asynccontextmanager
async def beating(api: Api) -> AsyncIterator[Heard]:
    """A fleet that beats at its rate, whatever it is answered."""
    heard = Heard()
    bodies = [PlayedAgent(api, f"fleet-{number:03}").body() for number in range(RATE)]

    async def beat(client: httpx.AsyncClient, body: dict[str, object]) -> None:
        at = time.monotonic()
        answer = await client.post(HEARTBEAT, json=body)
        heard.answers.append((at, time.monotonic(), answer))

    async def beat_on(client: httpx.AsyncClient) -> None:
        async with asyncio.TaskGroup() as group:
            while not over.is_set():
                for body in bodies:
                    group.create_task(beat(client, body))
                    await asyncio.sleep(1 / RATE)
                    if over.is_set():
                        return

    over = asyncio.Event()
    async with talking_to(api, api.agent) as client:
        fleet = asyncio.create_task(beat_on(client))
        try:
            yield heard
        finally:
            over.set()
            await fleet


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Api, PrivateBroker]]:
    folder: Path = tmp_path_factory.mktemp("outage")
    with private_broker(folder) as broker, running_api(folder) as api:
        yield api, broker


@pytest.mark.parametrize("how", ["crashes", "hangs"])
@pytest.mark.timeout(120 + 2 * AWAY_SECONDS)
async def test_heartbeats_are_refused_while_the_broker_is_away_and_taken_soon_after(
    own: tuple[Api, PrivateBroker], how: str
) -> None:
    api, broker = own
    async with beating(api) as heard, talking_to(api, api.admin) as operator:
        await asyncio.sleep(1)
        asked: list[httpx.Response] = []

        async def ask_while_away() -> None:
            end = time.monotonic() + AWAY_SECONDS
            while time.monotonic() < end:
                asked.append(await operator.post(REQUEST, json={"service_name": "web", "target_hostnames": ["web-01"]}))
                await asyncio.sleep(0.2)

        gone = time.monotonic()
        if how == "crashes":
            await asyncio.to_thread(broker.crash)
            gone = time.monotonic()
            await ask_while_away()
            back = time.monotonic()
            await asyncio.to_thread(broker.come_back)
        else:
            with broker.asleep():
                await ask_while_away()
                back = time.monotonic()
        returned = time.monotonic()

        def is_well() -> bool:
            last = heard.answers[-20:]
            return all(answer.status_code == 200 and at > returned for at, _, answer in last)

        await asyncio.to_thread(eventually, is_well, within=PATIENCE_SECONDS, what="twenty good answers in a row")
    answers = [answer for _, _, answer in heard.answers]
    assert Counter(answer.status_code for answer in answers).keys() <= {200, 503}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers if answer.status_code == 503)
    if how == "crashes":
        assert {answer.status_code for answer in heard.between(gone, back)} == {503}
        assert {answer.status_code for answer in asked} == {503}, "no request is accepted meanwhile"
    if "PCS_OUTAGE_SECONDS" in os.environ:
        assert heard.last_refused() - returned <= BACK_WITHIN_SECONDS
    api.check_log()
