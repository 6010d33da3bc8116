"""Many files of an hour become few, and whoever asks sees each profile once, at any moment and whoever dies where."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from profiles.compacting import NEVER_NAMED, STILL_READ, Compactor, places, together
from profiles.embedded import Embedded
from profiles.gathering import gathered
from profiles.objects import Objects
from profiles.packs import Pack, PackFacts, newest_of, parsed
from profiles.questions import Selection
from profiles.shelves import GONE, SAMPLES, STACKS, path_of
from profiles.tables import tables_of
from profiles.upload import Upload, read_json

START = datetime(2026, 5, 4, 10, 15, tzinfo=UTC)
WHOLE = Selection("t", "s", START - timedelta(hours=1), START + timedelta(hours=1))
HERE = "t/s/2026-05-04/10"
EACH = {"main;shared": 5, "main": 1}


class Killed(BaseException):
    """As SIGKILL: nothing that we wrote runs any more."""


def upload(host: str) -> Upload:
    body = {
        "hostname": host, "start_time": START.isoformat(), "end_time": START.isoformat(),
        "profile": f"main;shared 5\nmain 1\nown;{host} 2",
    }  # fmt: skip
    return read_json(json.dumps(body).encode(), tenant="t", service="s", now=START)


def add(engine: Embedded, *hosts: str) -> list[str]:
    """Each by itself."""
    uploads = [upload(host) for host in hosts]
    for each in uploads:
        engine.add(gathered(each))
    return [each.facts.profile_id for each in uploads]


def add_together(engine: Embedded, *hosts: str) -> list[str]:
    uploads = [upload(host) for host in hosts]
    engine.add(gathered(*uploads))
    return [each.facts.profile_id for each in uploads]


def check(engine: Embedded, *hosts: str) -> None:
    """Each host's profile is there once, with its texts."""
    assert sorted(each.host for each in engine.profiles(WHOLE, after="", most=99)) == sorted(hosts)
    expected = {stack: count * len(hosts) for stack, count in EACH.items()} | {f"own;{host}": 2 for host in hosts}
    assert engine.merged(WHOLE).stacks == (expected if hosts else {})


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


Step = tuple[Callable[[], object], str]
"""What is done, and the hosts that are there once it is."""


def killed_after_each_change(folder: Path, steps_of: Callable[[Objects, Embedded], list[Step]]) -> None:
    """Do steps one after the other and kill after the first change, all again and after the second, and so on.

    Right after the kill everything is as before the step or as after it; then the step is done again, and the others.
    """
    for many in range(99):
        objects = Objects(f"memory:/{folder / str(many)}")
        steps = steps_of(objects, Embedded(objects))
        hosts, begun = "", 0
        with pytest.MonkeyPatch.context() as deadly:
            made = dies_after(objects, many, deadly)
            try:
                for step, after in steps:
                    step()
                    hosts, begun = after, begun + 1
            except Killed:
                seen = "".join(sorted(each.host for each in Embedded(objects).profiles(WHOLE, after="", most=99)))
                assert seen in {hosts, steps[begun][1]}, many
        assert made() >= many
        for step, after in steps_of(objects, Embedded(objects))[begun:]:  # as the next process
            step()
            check(Embedded(objects), *after)
        if made() == many:
            return
    raise AssertionError("it never came to its end")


def test_killed_after_any_change_nothing_is_lost_or_counted_twice(tmp_path: Path) -> None:
    late = datetime.now(UTC) + NEVER_NAMED + timedelta(hours=1)

    def steps(objects: Objects, engine: Embedded) -> list[Step]:
        packer = Compactor(objects)
        gone = upload("b").facts.profile_id
        return [
            (lambda: add(engine, "a"), "a"),
            (lambda: add(engine, "b"), "ab"),
            (lambda: packer.tend(HERE, now=late), "ab"),
            (lambda: packer.forget(HERE, {gone}), "a"),
            (lambda: packer.tend(HERE, now=late), "a"),
        ]

    killed_after_each_change(tmp_path, steps)


def test_killed_after_any_change_of_packs_that_are_made_one_none_is_lost_or_counted_twice(tmp_path: Path) -> None:
    late = datetime.now(UTC) + NEVER_NAMED + timedelta(hours=1)

    def steps(objects: Objects, engine: Embedded) -> list[Step]:
        packer = Compactor(objects)
        return [
            (lambda: add_together(engine, *"abcd"), "abcd"),
            (lambda: add_together(engine, *"bcdefgh"), "abcdefgh"),  # three come again
            (lambda: packer.tend(HERE, now=late), "abcdefgh"),
            (lambda: add_together(engine, *"ijklmnopa"), "abcdefghijklmnop"),
            (lambda: packer.tend(HERE, now=late), "abcdefghijklmnop"),
        ]

    killed_after_each_change(tmp_path, steps)


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


@pytest.mark.parametrize("between", ["listing and reading", "reading and writing"])
def test_what_another_packs_meanwhile_is_not_packed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, between: str
) -> None:
    objects = Objects(str(tmp_path))
    add(Embedded(objects), "a", "b")
    name = "table" if between == "listing and reading" else "write"
    act = getattr(objects, name)

    def slow(path: str, *given: bytes) -> Any:
        if path.startswith(SAMPLES):
            monkeypatch.setattr(objects, name, act)
            assert Compactor(Objects(str(tmp_path))).tend(HERE, now=datetime.now(UTC)) == 2
            add_together(Embedded(Objects(str(tmp_path))), *"cdef")  # numbers go on
        return act(path, *given)

    monkeypatch.setattr(objects, name, slow)
    Compactor(objects).tend(HERE, now=datetime.now(UTC))
    check(Embedded(objects), *"abcdef")


def test_of_two_who_index_the_same_together_each_profile_is_there_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = Objects(str(tmp_path))
    write = objects.write

    def slow(path: str, data: bytes) -> None:
        if path.startswith(SAMPLES):
            monkeypatch.setattr(objects, "write", write)
            add_together(Embedded(Objects(str(tmp_path))), *"bcdefg")
        write(path, data)

    monkeypatch.setattr(objects, "write", slow)
    add_together(Embedded(objects), *"abcdehij")
    check(Embedded(objects), *"abcdefghij")
    assert len(files(objects, SAMPLES)) == len(files(objects, STACKS)) == 2, "texts that nobody needs are left"


def test_profiles_that_come_together_are_one_file_and_are_made_one_with_others(
    engine: Embedded, packer: Compactor, objects: Objects
) -> None:
    now = datetime.now(UTC)
    for hosts in ("abcd", "efgh", "hijkl"):
        add_together(engine, *hosts)
    assert [len(files(objects, kind)) for kind in (SAMPLES, STACKS)] == [3, 3]
    check(engine, *"abcdefghijkl")
    assert packer.tend(HERE, now=now) == 12
    check(engine, *"abcdefghijkl")
    packer.forget(HERE, {upload("a").facts.profile_id})
    packer.tend(HERE, now=now + STILL_READ + timedelta(minutes=1))
    check(engine, *"bcdefghijkl")
    assert files(objects, SAMPLES) == ["pack-000004-000002.parquet"]
    add_together(engine, *"abcdmnop")  # what was deleted stays so
    check(engine, *"bcdefghijklmnop")


def test_packs_are_made_one_where_none_between_them_is_hidden_and_where_it_is_worth_it() -> None:
    def pack(number: int, many: int, *of: int, folded_at: float = 0.0) -> tuple[Pack, PackFacts]:
        ids = frozenset(f"{number}-{each}" for each in range(many))
        return Pack(number, 1), PackFacts(ids, frozenset(), "", folded_at, *of)

    def numbers(*packs: tuple[Pack, PackFacts]) -> list[list[int]]:
        return [[pack.number for pack in some] for some in together(dict(packs), {})]

    assert numbers(pack(1, 5), pack(2, 5), pack(3, 5)) == [[1, 2, 3]]
    assert numbers(pack(1, 5)) == numbers(pack(1, 400), pack(2, 5)) == numbers(pack(1, 500), pack(2, 500)) == []
    assert numbers(pack(1, 400), *(pack(number, 1) for number in range(2, 9))) == [[*range(1, 9)]]
    assert numbers(pack(1, 300), pack(2, 300), pack(3, 200)) == []
    assert numbers(pack(1, 250), pack(2, 250), pack(3, 200), pack(4, 200)) == [[1, 2], [3, 4]]
    assert numbers(pack(1, 5), pack(2, 5, folded_at=0.1)) == []
    assert numbers(pack(101, 400, 51, 100), pack(102, 9, 1, 50), pack(103, 9)) == [], "101 is between 1 and 103"
    assert numbers(pack(101, 9, 51, 100), pack(102, 9, 1, 50), pack(103, 9)) == [[101, 102, 103]]


def test_a_pack_that_is_made_of_others_and_one_that_is_added_just_then_both_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = Objects(str(tmp_path))
    for hosts in ("abcd", "efgh"):
        add_together(Embedded(objects), *hosts)
    write = objects.write

    def slow(path: str, data: bytes) -> None:
        if path.startswith(SAMPLES):
            monkeypatch.setattr(objects, "write", write)
            add_together(Embedded(Objects(str(tmp_path))), *"ijkl")
        write(path, data)

    monkeypatch.setattr(objects, "write", slow)
    assert Compactor(objects).tend(HERE, now=datetime.now(UTC)) == 8
    check(Embedded(objects), *"abcdefghijkl")
    Compactor(objects, still_read=timedelta(0)).tend(HERE, now=datetime.now(UTC) + timedelta(minutes=1))
    check(Embedded(objects), *"abcdefghijkl")


def test_names_of_packs_are_read_whatever_their_numbers() -> None:
    names = ["pack-000002-000001.parquet", "pack-000002-000002.parquet", "pack-1000000-000001.parquet"]
    packs = [pack for name in names if (pack := parsed(name)) is not None]
    assert [pack.name for pack in packs] == names
    assert newest_of(packs) == [Pack(1_000_000, 1), Pack(2, 2)]
    assert parsed("20260504T10-0123456789abcdef0123456789abcdef.parquet") is None


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
    made = {
        each: tables_of(gathered(upload(host))) for each, host in (*zip(packed[:1], "a", strict=True), (loose[0], "c"))
    }
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
