"""Many files of an hour become few, and whoever asks sees each profile once, at any moment and whoever dies where."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from profiles.compacting import NEVER_NAMED, STILL_READ, Compactor, places
from profiles.embedded import Embedded
from profiles.objects import Objects
from profiles.questions import Place, Selection
from profiles.reindexing import as_tables
from profiles.shelves import GONE, SAMPLES, STACKS, path_of
from profiles.tables import samples_and_stacks
from profiles.upload import read_json

START = datetime(2026, 5, 4, 10, 15, tzinfo=UTC)
WHOLE = Selection("t", "s", START - timedelta(hours=1), START + timedelta(hours=1))
HERE = "t/s/2026-05-04/10"
EACH = {"main;shared": 5, "main": 1}


class Killed(BaseException):
    """As SIGKILL: nothing that we wrote runs any more."""


def tables(host: str) -> tuple[str, bytes, bytes]:
    body = {
        "hostname": host, "start_time": START.isoformat(), "end_time": START.isoformat(),
        "profile": f"main;shared 5\nmain 1\nown;{host} 2",
    }  # fmt: skip
    upload = read_json(json.dumps(body).encode(), tenant="t", service="s", now=START)
    return upload.facts.profile_id, *samples_and_stacks(upload)


def add(engine: Embedded, *hosts: str) -> list[str]:
    ids = []
    for host in hosts:
        profile_id, samples, stacks = tables(host)
        engine.add(samples, stacks, Place("t", "s", profile_id))
        ids.append(profile_id)
    return ids


def check(engine: Embedded, *hosts: str) -> None:
    """Each host's profile is there once, with its texts."""
    assert sorted(each.host for each in engine.profiles(WHOLE, after="", most=99)) == sorted(hosts)
    expected = {stack: count * len(hosts) for stack, count in EACH.items()} | {f"own;{host}": 2 for host in hosts}
    assert engine.merged(WHOLE) == (expected if hosts else {})


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    return Objects(str(tmp_path))


@pytest.fixture
def engine(objects: Objects) -> Embedded:
    return Embedded(objects)


@pytest.fixture
def packer(objects: Objects) -> Compactor:
    return Compactor(objects)


def files(objects: Objects, kind: str) -> list[str]:
    return sorted(objects.names(f"{kind}/{HERE}"))


def test_packed_profiles_are_seen_once_before_and_after_their_own_files_go(
    engine: Embedded, packer: Compactor, objects: Objects
) -> None:
    add(engine, "a", "b", "c")
    now = datetime.now(UTC)
    assert packer.tend(HERE, now=now) == 3
    check(engine, "a", "b", "c")
    assert len(files(objects, SAMPLES)) == 4  # whoever has listed them finds them
    add(engine, "a", "d")  # one is indexed again, one is late
    check(engine, "a", "b", "c", "d")
    assert packer.tend(HERE, now=now + STILL_READ + timedelta(minutes=1)) == 0
    check(engine, "a", "b", "c", "d")
    assert [len(files(objects, kind)) for kind in (SAMPLES, STACKS)] == [2, 2]
    add(engine, "e")
    assert packer.tend(HERE, now=now) == 2
    check(engine, "a", "b", "c", "d", "e")


def dies_after(objects: Objects, many: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Let some changes of the store happen; the next one kills. Gives how many there were."""
    made = 0

    def deadly(change: Callable[..., Any]) -> Callable[..., Any]:
        def called(*given: Any) -> Any:
            nonlocal made
            made += 1
            if made > many:
                raise Killed
            return change(*given)

        return called

    for name in ("write", "remove"):
        monkeypatch.setattr(objects, name, deadly(getattr(objects, name)))
    return lambda: made


def test_killed_after_any_change_nothing_is_lost_or_counted_twice(tmp_path: Path) -> None:
    """Packing, taking a profile out and clearing, killed after each of their changes in turn, and then done again."""
    for many in range(60):
        objects = Objects(f"memory:/{tmp_path / str(many)}")
        engine, packer = Embedded(objects), Compactor(objects)
        ids = add(engine, "a", "b", "c", "d")
        late = datetime.now(UTC) + NEVER_NAMED + timedelta(hours=1)
        steps: list[tuple[Callable[[], object], str]] = [
            (lambda: packer.tend(HERE, now=late), "abcd"),  # noqa: B023 - called in this round
            (lambda: packer.forget(HERE, {ids[1]}), "acd"),  # noqa: B023 - likewise
            (lambda: packer.tend(HERE, now=late), "acd"),  # noqa: B023 - likewise
        ]
        killed = False
        with pytest.MonkeyPatch.context() as deadly:
            made = dies_after(objects, many, deadly)
            hosts = "abcd"
            for step, after in steps:
                try:
                    step()
                except Killed:
                    killed = True
                    seen = "".join(sorted(each.host for each in Embedded(objects).profiles(WHOLE, after="", most=9)))
                    assert seen in {hosts, after}, many
                    break
                hosts = after
        assert made() >= many
        engine, packer = Embedded(objects), Compactor(objects)  # as the next process
        for step, _ in steps[1:]:
            step()
        packer.forget(HERE, {ids[1]})
        packer.tend(HERE, now=late)
        check(engine, "a", "c", "d")
        if not killed:
            return
    raise AssertionError("it never came to its end")


def test_of_two_who_pack_at_once_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = Objects(str(tmp_path))
    add(Embedded(objects), "a", "b")
    write = objects.write

    def slow(path: str, data: bytes) -> None:
        if path.startswith(SAMPLES):
            monkeypatch.setattr(objects, "write", write)
            assert Compactor(Objects(str(tmp_path))).tend(HERE, now=datetime.now(UTC)) == 2
        write(path, data)

    monkeypatch.setattr(objects, "write", slow)
    assert Compactor(objects).tend(HERE, now=datetime.now(UTC)) == 0
    check(Embedded(objects), "a", "b")


def test_a_profile_that_is_deleted_stays_so_whoever_packs_or_indexes_it_just_then(
    engine: Embedded, packer: Compactor, objects: Objects
) -> None:
    ids = add(engine, "a", "b", "c")
    now = datetime.now(UTC)
    packer.tend(HERE, now=now)
    objects.write(path_of(GONE, "t", "s", ids[0]), b"")
    packer.tend(HERE, now=now)
    check(engine, "b", "c")
    add(engine, "a")
    check(engine, "b", "c")
    objects.write(path_of(GONE, "t", "s", add(engine, "d")[0]), b"")
    check(engine, "b", "c", "d")
    packer.tend(HERE, now=now)
    check(engine, "b", "c")
    packer.forget(HERE, set(ids))
    check(engine)


def test_an_hour_made_anew_is_whole_and_keeps_what_cannot_be_made(
    engine: Embedded, packer: Compactor, objects: Objects
) -> None:
    packed, loose = add(engine, "a", "b"), []
    packer.tend(HERE, now=datetime.now(UTC))
    loose = add(engine, "c")
    made = {each: as_tables(*tables(host)[1:]) for each, host in (*zip(packed[:1], "a", strict=True), (loose[0], "c"))}
    for _ in range(2):
        assert packer.rebuild(HERE, lambda ids: {each: made[each] for each in ids if each in made}) >= 1
        check(engine, "a", "b", "c")


def test_an_index_that_was_lost_and_made_anew_is_seen_by_who_has_read_the_former(
    engine: Embedded, packer: Compactor, objects: Objects
) -> None:
    add(engine, "a", "b")
    packer.tend(HERE, now=datetime.now(UTC))
    add(engine, "a")
    check(engine, "a", "b")
    for kind in (SAMPLES, STACKS):
        objects.remove_below(kind)
    other = Embedded(Objects(objects.root))
    add(other, "c", "d", "e")
    Compactor(Objects(objects.root)).tend(HERE, now=datetime.now(UTC))
    add(other, "a")
    check(engine, "a", "c", "d", "e")


def test_a_damaged_file_does_not_keep_the_others_from_being_packed(
    engine: Embedded, packer: Compactor, objects: Objects, tmp_path: Path
) -> None:
    damaged, *_ = add(engine, "a", "b", "c")
    (tmp_path / path_of(SAMPLES, "t", "s", damaged)).write_bytes(b"PAR1 and no more")
    assert packer.tend(HERE, now=datetime.now(UTC)) == 2


def test_hours_are_found_by_tenant_service_and_time(engine: Embedded, packer: Compactor, objects: Objects) -> None:
    add(engine, "a")
    day = timedelta(days=1)
    assert [*places(objects, since=START, until=START)] == [HERE]
    assert [*places(objects, since=START, until=START, tenant="t", service="s")] == [HERE]
    assert not [*places(objects, since=START + day, until=START + day)]
    assert not [*places(objects, since=START, until=START, tenant="u")]
