"""What every engine answers, asked of each: the same profiles and the same question give the same counts."""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from profiles.embedded import Embedded
from profiles.objects import Objects
from profiles.questions import FILTERS, Bucket, Merge, Place, Selection
from tests.support.engines import START, Shelf, clickhouse_in_this_process

ENGINES: dict[str, Callable[[Path], Shelf]] = {
    "embedded": lambda folder: Shelf(Embedded(Objects(str(folder))), uuid4().hex),
    "clickhouse": lambda _: Shelf(clickhouse_in_this_process(), uuid4().hex),
}
MINUTE = timedelta(minutes=1)


@pytest.fixture(params=ENGINES)
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Shelf:
    return ENGINES[request.param](tmp_path)


@pytest.fixture
def _elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose clock on the wall is 5:45 ahead."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Kathmandu")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("_elsewhere")
def test_moments_are_what_they_are_in_whatever_time_zone_the_machine_is(shelf: Shelf) -> None:
    shelf.add("a", "main 1")
    (found,) = shelf.engine.profiles(shelf.chosen(), after="", most=10)
    merged = shelf.engine.merged(shelf.chosen())
    for one in (found, merged):
        assert (one.started_at, one.ended_at) == (START, START + MINUTE)
    assert shelf.engine.over_time(shelf.chosen(), MINUTE) == [Bucket(START, 1, 1)]


def test_a_profile_that_is_added_again_is_there_once(shelf: Shelf) -> None:
    first = [shelf.add("a", "main;work 3\nmain 1") for _ in range(3)]
    shelf.add("b", "main;work 2")
    assert len(set(first)) == 1
    assert shelf.merged() == {"main;work": 5, "main": 1}
    found = shelf.engine.profiles(shelf.chosen(), after="", most=10)
    assert sorted((each.host, each.samples) for each in found) == [("a", 4), ("b", 2)]
    assert shelf.engine.over_time(shelf.chosen(), MINUTE) == [Bucket(START, 6, 2)]


def test_nothing_is_found_where_nothing_is(shelf: Shelf) -> None:
    assert shelf.merged() == {}
    assert shelf.engine.profiles(shelf.chosen(), after="", most=10) == []
    assert shelf.engine.over_time(shelf.chosen(), MINUTE) == []


def test_many_hosts_with_stacks_of_their_own_all_have_their_texts(shelf: Shelf) -> None:
    for number in range(25):
        shelf.add(f"h{number}", f"main;shared 1\nmain;own_{number} 2")
    assert shelf.merged() == {"main;shared": 25, **{f"main;own_{number}": 2 for number in range(25)}}


def test_time_is_from_the_first_moment_up_to_the_last_and_not_with_it(shelf: Shelf) -> None:
    shelf.add("a", "main 1")
    for start, end, samples in ((0, 1, 1), (-1, 0, 0), (1, 2, 0), (-3600, 3600, 1)):
        window = shelf.merged(start=START + timedelta(seconds=start), end=START + timedelta(seconds=end))
        assert sum(window.values()) == samples, (start, end)


def test_time_is_taken_to_the_millisecond(shelf: Shelf) -> None:
    shelf.add("a", "main 1", at=START + timedelta(seconds=0.5))
    for start, end, samples in ((0.499, 1, 1), (0.501, 1, 0), (0, 0.5, 0), (0, 0.501, 1), (0.5, 0.501, 1)):
        window = shelf.merged(start=START + timedelta(seconds=start), end=START + timedelta(seconds=end))
        assert sum(window.values()) == samples, (start, end)


def test_another_tenant_and_another_service_have_nothing_of_it(shelf: Shelf) -> None:
    shelf.add("a", "main 1")
    whole = shelf.chosen()
    for tenant, service in ((f"{shelf.tenant}2", "s"), (shelf.tenant, "s2"), (shelf.tenant, "S"), ("..", "s")):
        other = Selection(tenant, service, whole.start, whole.end)
        assert shelf.engine.merged(other).stacks == {}
        assert shelf.engine.profiles(other, after="", most=10) == []
        assert shelf.engine.over_time(other, MINUTE) == []


def test_each_filter_chooses_and_several_choose_together(shelf: Shelf) -> None:
    processes = [{"name": "web", "container": "c", "pod": "p", "runtime": "python"}]
    one = shelf.add(
        "a", "web;main 5\ndb;loop 2", command_id="c-1", request_ids=["r-1", "r-2"], capture_id="k", processes=processes
    )
    shelf.add("b", "web;main 3", command_id="c-2", request_ids=["r-2"])
    shelf.add("b", "web;new 64", profiling_mode="allocation")
    for where, samples in (
        ({"profile_id": [one]}, 7), ({"host": ["a"]}, 7), ({"host": ["a", "b"]}, 74), ({"host": ["A"]}, 0),
        ({"command_id": ["c-2"]}, 3), ({"request_id": ["r-1"]}, 7),
        ({"request_id": ["r-1", "r-2"]}, 10),
        ({"capture_id": ["k"]}, 7), ({"mode": ["cpu"]}, 10), ({"mode": ["allocation"]}, 64), ({"process": ["web"]}, 72),
        ({"container": ["c"]}, 5), ({"pod": ["p", "q"]}, 5), ({"runtime": ["python"]}, 5),
        ({"process": ["db"], "host": ["b"]}, 0), ({"process": ["web"], "mode": ["cpu"]}, 8),
        ({"host": ["' OR 1=1"]}, 0),
    ):  # fmt: skip
        assert sum(shelf.merged(where).values()) == samples, where
    both = shelf.chosen({"process": ["web"], "mode": ["cpu"], "request_id": ["r-1"]})
    assert [each.samples for each in shelf.engine.profiles(both, after="", most=10)] == [5]
    assert shelf.engine.over_time(both, MINUTE) == [Bucket(START, 5, 1)]


def test_profiles_are_listed_the_newest_first_with_all_that_is_known_of_them(shelf: Shelf) -> None:
    ids = [shelf.add("a", "main 1", at=START + timedelta(hours=number)) for number in range(-2, 3)]
    late = START + timedelta(hours=3, microseconds=1_500)
    ids.append(
        shelf.add("b", "main 2", at=late, command_id="c-1", request_ids=["r-1"], capture_id="k", frequency_hz=11)
    )
    whole = shelf.chosen(start=START - timedelta(days=1), end=START + timedelta(days=1))
    pages = [[each.profile_id for each in shelf.engine.profiles(whole, after="", most=4)]]
    pages.append([each.profile_id for each in shelf.engine.profiles(whole, after=pages[0][-1], most=4)])
    assert [*pages[0], *pages[1]] == sorted(ids, reverse=True)
    (newest,) = shelf.engine.profiles(whole, after="", most=1)
    assert newest.started_at == START + timedelta(hours=3, milliseconds=1)
    assert newest.ended_at - newest.started_at == MINUTE
    assert newest.started_at.tzinfo is not None
    assert (newest.host, newest.command_id, list(newest.request_ids)) == ("b", "c-1", ["r-1"])
    assert (newest.capture_id, newest.mode, newest.frequency_hz, newest.samples) == ("k", "cpu", 11, 2)


def test_samples_over_time_are_counted_by_when_their_profile_began(shelf: Shelf) -> None:
    for seconds, samples in ((-1, 1), (0, 2), (599, 4), (600, 8), (1800, 16)):
        shelf.add("a", f"main {samples}", at=START + timedelta(seconds=seconds))
    five = timedelta(minutes=5)
    assert shelf.engine.over_time(shelf.chosen(), five) == [
        Bucket(START - five, 1, 1), Bucket(START, 2, 1), Bucket(START + five, 4, 1), Bucket(START + 2 * five, 8, 1),
        Bucket(START + 6 * five, 16, 1),
    ]  # fmt: skip


def test_sums_beyond_64_bits_are_whole(shelf: Shelf) -> None:
    many = 1_100
    shelf.add_together({"host": f"h{number}", "profile": f"main;very {2**53}"} for number in range(many))
    assert shelf.merged() == {"main;very": many * 2**53}
    assert [each.samples for each in shelf.engine.over_time(shelf.chosen(), 60 * MINUTE)] == [many * 2**53]


def test_texts_are_what_was_sent(shelf: Shelf) -> None:
    odd = ["main;späť [k];日本 (x.py:1)", "a\\n'b\";c\tde", "main; ;work", "%s{name:String};?"]
    shelf.add("a", "\n".join(f"{stack} {number}" for number, stack in enumerate(odd, 1)))
    assert shelf.merged() == {stack: number for number, stack in enumerate(odd, 1)}


def random_profile(dice: random.Random, number: int) -> dict[str, Any]:
    """What `Shelf.upload` takes: every fact that can be asked for has one of a few values."""
    stacks = {";".join(dice.choices("abcde", k=dice.randint(1, 5))): dice.randint(1, 1_000) for _ in range(40)}
    processes = [
        {"name": name, "container": f"c-{dice.randrange(2)}", "pod": f"p-{dice.randrange(2)}",
         "runtime": dice.choice("xy")}
        for name in "abc"
    ]  # fmt: skip
    return {
        "host": f"h{number % 4}", "profile": "\n".join(f"{stack} {count}" for stack, count in stacks.items()),
        "at": START + timedelta(minutes=number % 7), "command_id": f"c-{number % 3}",
        "request_ids": [f"r-{number % 3}", f"r-{number % 2}"], "capture_id": f"k-{number % 2}",
        "profiling_mode": dice.choice(["cpu", "wall"]), "frequency_hz": dice.choice([11, 99]), "processes": processes,
    }  # fmt: skip


def test_the_engines_agree_on_random_profiles_by_every_filter(tmp_path: Path) -> None:
    dice = random.Random(6)
    shelves = [make(tmp_path) for make in ENGINES.values()]
    made = [random_profile(dice, number) for number in range(12)]
    for shelf in shelves:
        shelf.add_together(made[:9])
        ids = [shelf.add(**each) for each in made[8:]]  # one of them again
    wanted: dict[str, list[str]] = {
        "profile_id": ids[:2], "host": ["h1", "h3"], "command_id": ["c-1"], "request_id": ["r-0", "r-2"],
        "capture_id": ["k-1"], "mode": ["wall"], "process": ["a", "c", "d"], "container": ["c-1"],
        "pod": ["p-0", "p-9"], "runtime": ["x"],
    }  # fmt: skip
    assert wanted.keys() == set(FILTERS)
    for names in ((), *((name,) for name in FILTERS), ("host", "process"), ("mode", "request_id", "runtime")):
        where = {name: wanted[name] for name in names if name != "profile_id"}
        answers = []
        for shelf in shelves:
            if "profile_id" in names:  # an id is of a tenant, and so of an engine
                listed = shelf.engine.profiles(shelf.chosen(), after="", most=99)
                where["profile_id"] = [each.profile_id for each in listed if each.host in {"h0", "h2"}]
            merged = shelf.engine.merged(shelf.chosen(where, end=START + 5 * MINUTE))
            found = sorted(
                (each.host, each.started_at, each.command_id, each.mode, each.samples)
                for each in shelf.engine.profiles(shelf.chosen(where), after="", most=100)
            )
            answers.append((merged, found, shelf.engine.over_time(shelf.chosen(where), 3 * MINUTE)))
        assert answers[0] == answers[1], where
        assert answers[0][0].stacks, where
        assert answers[0][1], where


def test_what_is_added_up_says_of_which_profiles_it_is(shelf: Shelf) -> None:
    shelf.add("a", "main 1", frequency_hz=11)
    shelf.add("b", "main 2\nother 1", at=START + MINUTE, frequency_hz=99)
    shelf.add("b", "main 4", at=START + 3 * MINUTE, frequency_hz=99, profiling_mode="wall")
    whole = shelf.engine.merged(shelf.chosen())
    assert (whole.profiles, whole.hosts, [*whole.modes], [*whole.frequencies]) == (3, 2, ["cpu", "wall"], [11, 99])
    assert (whole.started_at, whole.ended_at) == (START, START + 4 * MINUTE)
    part = shelf.engine.merged(shelf.chosen({"process": ["other"]}))
    assert (part.profiles, part.hosts, part.host, part.started_at) == (1, 1, "b", START + MINUTE)
    nothing = shelf.engine.merged(shelf.chosen({"process": ["nobody"]}))
    assert nothing == Merge({})


def test_a_profile_that_is_forgotten_is_in_no_answer_and_the_others_are(shelf: Shelf) -> None:
    gone = shelf.add("a", "main;work 3")
    shelf.add("b", "main;work 2")
    for _ in range(2):
        shelf.engine.forget(Place(shelf.tenant, "s", gone))
        assert shelf.merged() == {"main;work": 2}
    shelf.engine.forget(Place(shelf.tenant, "another", gone))
    assert [each.host for each in shelf.engine.profiles(shelf.chosen(), after="", most=10)] == ["b"]


def test_what_is_expired_is_one_tenants_and_of_before_a_moment(tmp_path: Path) -> None:
    shelf = ENGINES["clickhouse"](tmp_path)  # the embedded one's files are removed by who calls: see test_keeping.py
    shelf.add("old", "main;work 3", at=START - MINUTE)
    shelf.add("young", "main;work 2")
    shelf.add("old", "main;work 5", at=START - MINUTE, tenant=f"{shelf.tenant}-other")
    shelf.engine.expire(shelf.tenant, before=START)
    assert shelf.merged() == {"main;work": 2}
    other = replace(shelf.chosen(), tenant=f"{shelf.tenant}-other")
    assert shelf.engine.merged(other).stacks == {"main;work": 5}
