"""Uploads that wait are indexed together, and one that cannot be costs no other."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from broker.streams import Entry
from broker.uploads import Uploads
from profiles.embedded import Embedded
from profiles.gathering import Gathering
from profiles.objects import Objects
from profiles.questions import Selection
from profiles.shelves import Envelope, RawUploads
from profiles.upload import read_json
from workers import indexing
from workers.indexing import Indexer

START = datetime(2026, 5, 4, 10, 15, tzinfo=UTC)
WHOLE = Selection("t", "s", START, START + timedelta(hours=1))


class Waiting(Uploads):
    """What waits, without a server."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.taken_over: set[str] = set()
        self.acked: list[str] = []

    async def take(self, *, idle: timedelta, most: int) -> list[Entry]:
        del idle, most
        taken, self.entries = self.entries, []
        return taken

    async def hold(self, entries: list[Entry], *, idle: timedelta) -> list[Entry]:
        del idle
        return [entry for entry in entries if entry.entry_id not in self.taken_over]

    async def done(self, entries: list[Entry]) -> None:
        self.acked += [entry.entry_id for entry in entries]


class Noting(Embedded):
    """An engine that notes how many it is given at a time, and may refuse."""

    def __init__(self, objects: Objects) -> None:
        super().__init__(objects)
        self.given: list[int] = []
        self.refuses: Callable[[Gathering], bool] = lambda _: False
        self.error: Exception = ValueError("a text that is none")

    def add(self, gathering: Gathering) -> None:
        self.given.append(len(gathering.profiles))
        if self.refuses(gathering):
            raise self.error
        super().add(gathering)


class Site:
    """A store and its indexer."""

    def __init__(self, folder: Path) -> None:
        objects = Objects(str(folder))
        self.folder = folder
        self.raw, self.engine, self.uploads = RawUploads(objects), Noting(objects), Waiting()
        self.indexer = Indexer(self.uploads, self.raw, self.engine)

    def upload(self, host: str, *, deliveries: int = 1, **header: object) -> Path:
        """Stored and announced. Gives its file."""
        when = START.isoformat()
        body = {
            "hostname": host,
            "start_time": when,
            "end_time": when,
            "profile": f"# {json.dumps(header)}\nmain;{host} 1",
        }
        content = json.dumps(body).encode()
        facts = read_json(content, tenant="t", service="s", now=START).facts
        path = self.raw.keep(facts.profile_id, Envelope("t", "s", host, "agent", False, when, when, when), content)
        self.uploads.entries.append(Entry("uploads", host, {"path": path}, deliveries))
        return self.folder / path

    def hosts(self) -> str:
        return "".join(
            sorted(each.host for each in Embedded(Objects(str(self.folder))).profiles(WHOLE, after="", most=99))
        )


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def test_what_waits_is_indexed_together_and_what_cannot_be_read_costs_only_itself(site: Site) -> None:
    for host in "abcdefgh":
        site.upload(host)
    damaged, gone = site.upload("x"), site.upload("y")
    damaged.write_bytes(b"no envelope")
    gone.unlink()
    assert await site.indexer.index() == 10
    assert site.engine.given == [8]
    assert site.hosts() == "abcdefgh"
    assert site.uploads.acked == [*"abcdefghxy"]


async def test_what_was_taken_twice_before_is_indexed_by_itself(site: Site) -> None:
    for host, deliveries in zip("abcdefg", (1, 2, 3, 3, 1, 1, 4), strict=True):
        site.upload(host, deliveries=deliveries)
    await site.indexer.index()
    assert site.engine.given == [2, 1, 1, 2, 1]
    assert site.hosts() == "abcdefg"


@pytest.mark.parametrize("error", [ValueError, TypeError, OverflowError, RuntimeError, pa.ArrowCapacityError])
async def test_one_that_the_engine_cannot_take_keeps_none_of_the_others_out(
    site: Site, error: type[Exception]
) -> None:  # fmt: skip
    site.engine.error = error("a text that is none")
    for host in "abcde":
        site.upload(host)
    site.engine.refuses = lambda gathering: "main;c" in gathering.texts
    await site.indexer.index()
    assert site.hosts() == "abde"
    assert site.uploads.acked == [*"abcde"]


async def test_what_another_took_over_meanwhile_is_left_to_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "HELD_AGAIN_AFTER", timedelta(0))
    for host in "abc":
        site.upload(host, deliveries=3)
    site.uploads.taken_over = {"b"}
    await site.indexer.index()
    assert site.hosts() == "ac"
    site.upload("d")
    site.uploads.taken_over = {"d"}
    await site.indexer.index()
    assert site.hosts() == "ac"
    assert site.uploads.acked == ["a", "c"]


async def test_a_store_that_is_away_has_all_of_them_come_again(site: Site) -> None:
    site.engine.error, site.engine.refuses = OSError("away"), lambda _: True
    site.upload("a")
    with pytest.raises(OSError, match="away"):
        await site.indexer.index()
    assert site.uploads.acked == []


async def test_facts_of_another_kind_than_ours_are_not_said_and_cost_nothing(site: Site) -> None:
    odd: tuple[object, ...] = (True, 1.5, "9", [], {}, None, 10**30, -1, 0)
    for host, value in zip("abcdefghi", odd, strict=True):
        site.upload(
            host, frequency_hz=value, command_id=value, request_ids=[value], capture_id=value, profiling_mode=value,
            metadata=value, processes=[value], agent_version=value, application_metadata_enabled=value,
        )  # fmt: skip
    await site.indexer.index()
    assert site.engine.given == [9]
    assert site.hosts() == "abcdefghi"
    stored = Embedded(Objects(str(site.folder))).profiles(WHOLE, after="", most=99)
    assert {each.frequency_hz for each in stored} == {0}
