"""`workload_status` of a fleet that is larger than what one call looks at: the application in this process."""

import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.app import create_app
from api.dependencies import Studio
from api.routes import fleet_status
from api.settings import ApiSettings
from broker.connection import Broker
from broker.inventory import packed
from broker.keys import Place
from broker.scripts import Beat
from protocol.field_status import SCOPES
from protocol.inventory import Container
from protocol.names import DEFAULT_TENANT, HostKey
from tests.support.api import WORKLOAD_STATUS

SERVICES = {"cart": 3, "mail": 2, "shop": 3}
MOST = 3


class Fleet:
    """Hosts with a pod of two processes each, and pages of what runs there."""

    def __init__(self, parts: Studio, http: httpx.AsyncClient) -> None:
        self.parts = parts
        self._http = http

    async def beat(self, service: str, number: int) -> None:
        container = {
            "container_id": f"c-{number}", "container_name": "app", "namespace": service, "pod_name": f"pod-{number}",
            "processes": [{"pid": pid, "process_name": "java"} for pid in (7, 8)],
        }  # fmt: skip
        beat = Beat(
            host=HostKey(DEFAULT_TENANT, service, f"h-{number}"), facts={"ip_address": f"10.0.0.{number}"},
            inventory=packed([Container.model_validate(container)]),
        )  # fmt: skip
        await self.parts.command_store.exchange(beat, now=time.time())

    async def pages(self, scope: str, **params: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while not found or found[-1]["nextCursor"] is not None:
            assert len(found) < 50, "it does not end"
            cursor = {"cursor": found[-1]["nextCursor"]} if found else {}
            answer = await self._http.get(WORKLOAD_STATUS, params={"scope": scope, **params, **cursor})
            assert answer.status_code == 200, answer.text
            found.append(answer.json())
        return found


@pytest.fixture
async def fleet(tmp_path: Path, broker: Broker) -> AsyncIterator[Fleet]:
    settings = ApiSettings(state_dir=tmp_path, insecure_no_auth=True)
    app = create_app(settings, broker.settings)
    app.state.studio = Studio(settings, broker)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://studio") as http:
        made = Fleet(app.state.studio, http)
        for service, count in SERVICES.items():
            for number in range(count):
                await made.beat(service, number)
        yield made


@pytest.mark.parametrize("limit", [2, 1_000])
@pytest.mark.parametrize("scope", SCOPES)
async def test_all_rows_come_although_no_call_looks_at_more_than_some_hosts(
    fleet: Fleet, scope: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (whole,) = await fleet.pages(scope)
    assert whole["isPartial"] is False
    monkeypatch.setattr(fleet_status, "MOST_HOSTS", MOST)
    read: list[int] = []
    on = fleet.parts.inventories.on

    def noted(places: Sequence[Place]) -> AsyncIterator[list[Container]]:
        read.append(len(places))
        return on(places)

    monkeypatch.setattr(fleet.parts.inventories, "on", noted)
    pages = await fleet.pages(scope, limit=limit)
    assert all(page["isPartial"] for page in pages)
    assert [row for page in pages for row in page["rows"]] == whole["rows"]
    assert all(len(page["rows"]) <= limit for page in pages)
    assert max(read) <= MOST
    assert all(page["tabCounts"]["host"] <= MOST for page in pages), "counts are of what was looked at"


async def test_a_service_of_more_hosts_is_told_by_its_first_ones(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_status, "MOST_HOSTS", 2)
    rows = [row for page in await fleet.pages("service") for row in page["rows"]]
    assert [(row["serviceName"], row["hostCount"]) for row in rows] == [("cart", 2), ("mail", 2), ("shop", 2)]
    hosts = [row for page in await fleet.pages("host") for row in page["rows"]]
    assert len(hosts) == sum(SERVICES.values()), "its hosts are all there"


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ({"service_name": "mail"}, 2), ({"hostname": "h-2"}, 2), ({"ip_address": "10.0.0.1"}, 3),
        ({"profiling_status": "sent"}, 0), ({"command_type": "start"}, 0), ({"pod_name": "pod-1"}, 8),
    ],
)  # fmt: skip
async def test_what_runs_on_a_host_is_read_only_where_the_host_passes_without_it(
    fleet: Fleet, asked: dict[str, str], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Place] = []
    on = fleet.parts.inventories.on

    def noted(places: Sequence[Place]) -> AsyncIterator[list[Container]]:
        read.extend(places)
        return on(places)

    monkeypatch.setattr(fleet.parts.inventories, "on", noted)
    await fleet.pages("host", **asked)
    assert len(read) == len(set(read)) == count
