"""What is refused is a record too: the first of a kind in full, the others counted, and no flood reaches the broker.

The application runs in this process.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from api.audit import MOST_KINDS_OF_STRANGERS
from broker.connection import Broker
from broker.errors import BrokerUnavailable
from broker.token_store import TokenKind, new_secret
from tests.support.api import COMPLETION, HEARTBEAT, REQUEST, bearer
from tests.support.app import App
from tests.support.audit import records_of

START: Final = {"service_name": "web", "target_hostnames": ["web-01", "web-02"]}


@pytest.fixture
async def app(tmp_path: Path, broker: Broker) -> AsyncIterator[App]:
    made = App(tmp_path, broker)
    async with made.http:
        yield made


@pytest.fixture
async def closed(tmp_path: Path, broker: Broker) -> AsyncIterator[App]:
    """The application with authentication."""
    made = App(tmp_path, broker, insecure=False)
    async with made.http:
        yield made


async def test_a_completion_for_an_unknown_command_is_told_with_its_id(app: App, broker: Broker) -> None:
    body = {"command_id": "c-1", "hostname": "web-01", "service_name": "web", "status": "completed"}
    assert (await app.http.post(COMPLETION, json=body)).status_code == 404
    await app.parts.refusals.write()
    (record,) = await records_of(broker)
    assert (record["action"], record["outcome"], record["code"]) == ("command.complete", "refused", "unknown_command")
    assert record["objects"] == "c-1 web-01"


async def test_a_flood_of_refused_calls_is_one_record_with_a_count_and_costs_no_call_of_the_broker(
    closed: App, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as asleep:
        asleep.setattr(broker, "run_all", None)
        for _ in range(50):
            assert (await closed.http.post(HEARTBEAT, json={})).status_code == 401
            assert (await closed.http.delete("/api/v1/requests/r-1", headers=bearer(" "))).status_code == 401
    assert await records_of(broker) == []
    await closed.parts.refusals.write()
    beats, cancels = await records_of(broker)
    assert (beats["count"], beats["action"], beats["route"]) == ("50", "call", f"POST {HEARTBEAT}")
    assert (cancels["count"], cancels["action"], cancels["objects"]) == ("50", "request.cancel", "r-1")
    assert "actor" not in beats
    assert beats["tenant"] == ""


async def test_refusals_of_very_many_addresses_are_counted_together(closed: App, broker: Broker) -> None:
    token = await closed.parts.tokens.add(
        secret := new_secret(), kind=TokenKind.VIEWER, tenant="default", services=("*",)
    )  # fmt: skip
    for number in range(3 * MOST_KINDS_OF_STRANGERS):
        transport = httpx.ASGITransport(app=closed.app, client=(f"192.0.2.{number}", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://studio") as http:
            await http.get("/api/v1/hosts")
    assert (await closed.http.post(REQUEST, json=START, headers=bearer(secret))).status_code == 403
    await closed.parts.refusals.write()
    records = await records_of(broker)
    assert len(records) == MOST_KINDS_OF_STRANGERS + 2
    assert sum(int(record.get("count", "1")) for record in records) == 3 * MOST_KINDS_OF_STRANGERS + 1
    known = [record for record in records if record.get("actor")]
    assert [(record["actor"], record["code"]) for record in known] == [(token.token_id, "forbidden")]


async def test_refusals_are_kept_while_the_broker_is_away_and_told_once_it_is_back(
    closed: App, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any, **__: Any) -> None:
        raise BrokerUnavailable("TimeoutError")

    with monkeypatch.context() as gone:
        gone.setattr(broker, "run_all", away)
        for _ in range(3):
            await closed.http.get("/api/v1/hosts")
            with pytest.raises(BrokerUnavailable):
                await closed.parts.refusals.write()
    await closed.parts.refusals.close()
    assert [record.get("count", "1") for record in await records_of(broker)] == ["1", "2"]


async def test_the_writer_writes_by_itself(closed: App, broker: Broker) -> None:
    writing = asyncio.create_task(closed.parts.refusals.keep_writing())
    await closed.http.get("/api/v1/hosts")
    async with asyncio.timeout(10):
        while not await records_of(broker):  # noqa: ASYNC110 - the writer has no event for it
            await asyncio.sleep(0.02)
    writing.cancel()


async def test_reads_that_are_merely_wrong_are_nobodys_business(app: App, broker: Broker) -> None:
    assert (await app.http.get("/api/v1/requests/none")).status_code == 404
    assert (await app.http.get("/api/v1/hosts", params={"limit": 0})).status_code == 422
    assert (await app.http.get("/nowhere")).status_code == 404
    await app.parts.refusals.close()
    assert await records_of(broker) == []
