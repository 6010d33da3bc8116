"""What is too old goes, what is old is folded, what is deleted stays deleted; all of it may be done again."""

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from profiles.compacting import Compactor
from profiles.embedded import Embedded
from profiles.folding import FOLDED, folded
from profiles.gathering import gathered
from profiles.keeping import Expiry, Keeping, Loss, NotTold
from profiles.objects import Objects
from profiles.packs import Shelves
from profiles.questions import Place, Selection
from profiles.shelves import RAW, SAMPLES, Envelope, RawUploads
from profiles.upload import read_json
from workers import reindex_profiles
from workers.tending import WHAT_IS_TOO_OLD, Tender

START = datetime(2026, 5, 4, 10, 15, tzinfo=UTC)
NOW = START + timedelta(days=10)
LONG = timedelta(hours=1)
STACKS = {"web;main;work": 900, "web;main;rare": 1, "web;main;rarer;deep": 2, "db;loop": 97}


class Store:
    """A store with one engine, and uploads as the API keeps them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.objects = Objects(str(folder / "profile-store"))
        self.engine = Embedded(self.objects)
        self.raw = RawUploads(self.objects)
        self.told: list[Sequence[Loss]] = []

    def upload(self, host: str, *, at: datetime = START, tenant: str = "default", indexed: bool = True) -> Place:
        lines = "\n".join(f"{stack} {count}" for stack, count in STACKS.items())
        body = {"hostname": host, "start_time": at.isoformat(), "end_time": at.isoformat(), "profile": lines}
        content = json.dumps(body).encode()
        upload = read_json(content, tenant=tenant, service="s", now=at)
        when = at.isoformat()
        self.raw.keep(
            upload.facts.profile_id, Envelope(tenant, "s", host, "agent", False, when, when, when, ["r-1"]), content
        )  # fmt: skip
        place = Place(tenant, "s", upload.facts.profile_id)
        if indexed:
            self.engine.add(gathered(upload))
        return place

    def merged(self, *, tenant: str = "default", at: datetime = START) -> dict[str, int]:
        return {**Embedded(self.objects).merged(self.around(at, tenant)).stacks}

    def hosts(self, *, tenant: str = "default", at: datetime = START) -> list[str]:
        found = Embedded(self.objects).profiles(self.around(at, tenant), after="", most=99)
        return sorted(each.host for each in found)

    def around(self, at: datetime, tenant: str) -> Selection:
        return Selection(tenant, "s", at - timedelta(hours=1), at + timedelta(hours=1))

    def tend(self, keeping: Keeping, *, now: datetime = NOW, since: datetime | None = None) -> tuple[int, int, int]:
        done = Tender(self.objects, self.engine, keeping, self.told.append).tend(now=now, patience=LONG, since=since)
        assert not done.failed
        return done.packed, done.folded, done.expired_days


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_what_is_too_old_goes_by_tenant_and_by_whole_days(store: Store) -> None:
    for tenant, at in (("default", START), ("default", NOW), ("short", START), ("short", NOW), ("ever", START)):
        store.upload("a", at=at, tenant=tenant)
    keeping = Keeping(timedelta(days=30), {"short": timedelta(days=7), "ever": None})
    assert store.tend(keeping)[2] == 1
    assert store.tend(keeping)[2] == 0
    assert [store.hosts(tenant=tenant) for tenant in ("default", "short", "ever")] == [["a"], [], ["a"]]
    assert store.hosts(tenant="short", at=NOW) == ["a"]
    assert store.tend(keeping, now=NOW + timedelta(days=25))[2] == 2
    assert store.hosts() == []
    assert store.hosts(at=NOW) == ["a"]
    assert store.hosts(tenant="ever") == ["a"]
    assert not [*store.objects.names(f"{RAW}/default/s/{START:%Y-%m-%d}")]


def test_what_goes_for_its_age_is_told_before_any_of_it_goes_and_stays_where_nobody_can_be_told(store: Store) -> None:
    for tenant, at in (("a/b", START), ("a/b", START + timedelta(days=1)), ("a/b", NOW), ("other", START)):
        store.upload("a", at=at, tenant=tenant)
    keeping = Keeping(of_tenant={"a/b": timedelta(days=7)})

    def refuses(_expiries: Sequence[Loss]) -> None:
        raise NotTold("nobody answers")

    done = Tender(store.objects, store.engine, keeping, refuses).tend(now=NOW, patience=LONG)
    assert (done.failed, store.hosts(tenant="a/b")) == ([WHAT_IS_TOO_OLD], ["a"])
    assert done.packed + done.expired_days == 0

    def looks(expiries: Sequence[Loss]) -> None:
        assert store.hosts(tenant="a/b") == ["a"]
        store.told.append(expiries)

    assert Tender(store.objects, store.engine, keeping, looks).tend(now=NOW, patience=LONG).expired_days == 2
    (((expiry,)),) = store.told
    assert isinstance(expiry, Expiry)
    assert (expiry.tenant, expiry.service, expiry.first_kept) == ("a/b", "s", "2026-05-07")
    assert expiry.days == {"2026-05-04", "2026-05-05"}
    assert (store.hosts(tenant="a/b"), store.hosts(tenant="other")) == ([], ["a"])
    assert Tender(store.objects, store.engine, keeping, looks).tend(now=NOW, patience=LONG).expired_days == 0
    assert len(store.told) == 1


def test_a_day_ends_in_utc(store: Store) -> None:
    store.upload("a")
    keeping = Keeping(timedelta(days=2))
    for last in (datetime(2026, 5, 6, 23, 59, tzinfo=UTC), datetime(2026, 5, 7, 0, 1, tzinfo=UTC)):
        assert store.hosts() == ["a"]
        store.tend(keeping, now=last)
    assert store.hosts() == []


def test_old_hours_are_folded_once_and_every_sample_still_counts(store: Store) -> None:
    for host in ("a", "b"):
        store.upload(host)
    keeping = Keeping(fold_after=timedelta(days=8), fold_below=0.01)
    assert store.tend(keeping)[:2] == (2, 1)
    expected = {"web;main;work": 1800, f"web;main;{FOLDED}": 6, "db;loop": 194}
    assert store.merged() == expected
    assert store.hosts() == ["a", "b"]
    assert not [*store.objects.names(f"{RAW}/default/s/2026-05-04/10")]
    assert store.tend(keeping)[:2] == (0, 0)
    assert store.merged() == expected
    by_process = (
        Embedded(store.objects)
        .merged(Selection("default", "s", START, START + timedelta(1), {"process": ["db"], "request_id": ["r-1"]}))
        .stacks
    )
    assert by_process in ({}, {"db;loop": 194})


def test_what_is_young_is_not_folded(store: Store) -> None:
    for host in ("a", "b"):
        store.upload(host)
    assert store.tend(Keeping(fold_after=timedelta(days=20), fold_below=0.5), since=START)[:2] == (2, 0)
    assert store.merged() == {stack: 2 * count for stack, count in STACKS.items()}


@settings(suppress_health_check=[HealthCheck.too_slow])  # so it says of a machine that is busy
@given(
    st.dictionaries(st.lists(st.sampled_from("abc"), min_size=1, max_size=5).map(";".join), st.integers(1, 99)),
    st.floats(0.001, 0.9),
)
def test_folding_keeps_what_is_heavy_and_cuts_below_it(counts: dict[str, int], below: float) -> None:
    new = folded(counts, below=below)
    total = sum(counts.values())
    assert new.keys() == counts.keys()
    for stack, short in new.items():
        if short == stack:
            continue
        kept = short.removesuffix(FOLDED)
        assert stack.startswith(kept)
        cut = kept + stack.removeprefix(kept).partition(";")[0]
        assert sum(n for one, n in counts.items() if f"{one};".startswith(f"{cut};")) < total * below


def reindex(store: Store, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    monkeypatch.setenv("PCS_STATE_DIR", str(store.folder))
    monkeypatch.setattr(sys, "argv", ["reindex_profiles", *arguments])
    said: list[str] = []
    monkeypatch.setattr("builtins.print", lambda *given, **_: said.append(str(given[0])))
    reindex_profiles.main()
    return said[-1]


def whole(store: Store, hosts: Sequence[str]) -> None:
    assert store.hosts() == sorted(hosts)
    assert store.merged() == {stack: len(hosts) * count for stack, count in STACKS.items()}


def test_an_index_is_made_again_from_uploads_and_nothing_counts_twice(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted = store.upload("gone")
    for host in ("a", "b", "c"):
        store.upload(host)
    store.upload("late", indexed=False)
    store.raw.delete(deleted)
    store.engine.forget(deleted)
    store.tend(Keeping(), since=START)
    assert reindex(store, monkeypatch, "reindex").startswith("indexed: 1 of 4")
    assert reindex(store, monkeypatch, "reindex").startswith("indexed: 0 of 4")
    whole(store, ["a", "b", "c", "late"])
    assert reindex(store, monkeypatch, "reindex", "--anew").startswith("indexed: 4 of 4")
    whole(store, ["a", "b", "c", "late"])
    for kind in ("samples", "stacks"):
        store.objects.remove_below(kind)
    assert store.hosts() == []
    assert reindex(store, monkeypatch, "reindex", "--service", "other").startswith("indexed: 0 of 0")
    assert reindex(store, monkeypatch, "reindex", "--since", "2026-05-04", "--until", "2026-05-04") != ""
    whole(store, ["a", "b", "c", "late"])
    assert reindex(store, monkeypatch, "compact").startswith("packed: 0")  # they were put together as they came
    whole(store, ["a", "b", "c", "late"])


def test_a_profile_that_is_indexed_while_it_is_deleted_is_taken_out_when_its_hour_is_packed(store: Store) -> None:
    ours = store.upload("a")
    store.upload("b")
    store.raw.delete(ours)
    store.tend(Keeping(), since=START)
    whole(store, ["b"])
    shelf = Shelves(store.objects).shelf(f"{SAMPLES}/default/s/2026-05-04/10")
    assert ours.profile_id not in shelf.ids


def test_one_hour_that_is_damaged_does_not_stop_the_others(store: Store) -> None:
    for host in ("a", "b"):
        store.upload(host)
        store.upload(host, at=START + timedelta(hours=3))
    here = "default/s/2026-05-04/10"
    Compactor(store.objects).tend(here, now=NOW)
    pack = next(name for name in store.objects.names(f"{SAMPLES}/{here}") if name.startswith("pack"))
    (store.folder / "profile-store" / SAMPLES / here / pack).write_bytes(b"PAR1 and no more")
    done = Tender(store.objects, store.engine, Keeping(), store.told.append).tend(now=NOW, patience=LONG, since=START)
    assert done.failed == [here]
    assert done.packed == 2


def test_a_pass_gives_way_after_a_step_and_each_does_one(store: Store) -> None:
    for hour in range(3):
        for host in ("a", "b"):
            store.upload(host, at=START + timedelta(hours=hour))
    tender = Tender(store.objects, store.engine, Keeping(), store.told.append)
    packed = [tender.tend(now=NOW, patience=LONG, since=START, gives_way=lambda: True).packed for _ in range(4)]
    assert packed == [2, 2, 2, 0]
    assert tender.tend(now=NOW, patience=-LONG, since=START).packed == 0


def test_an_hour_at_rest_is_known_by_its_names(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for host in ("a", "b"):
        store.upload(host)
    tender = Tender(store.objects, store.engine, Keeping(), store.told.append)
    tender.tend(now=NOW, patience=LONG, since=START)
    later = datetime.now(UTC) + timedelta(hours=1)
    Compactor(store.objects).tend("default/s/2026-05-04/10", now=later)
    for opened in ("table", "schema", "modified", "size", "listed"):
        monkeypatch.setattr(store.objects, opened, None)
    assert tender.tend(now=NOW, patience=LONG, since=START).failed == []
    assert store.upload("c") is not None
    with pytest.raises(TypeError):
        tender.tend(now=NOW, patience=LONG, since=START)
