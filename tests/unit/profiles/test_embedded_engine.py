"""The engine over files of its own: a profile is there once, and what is damaged is said."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from profiles.embedded import LOST, Embedded, Place
from profiles.objects import Objects
from profiles.questions import Selection
from profiles.shelves import SAMPLES, STACKS, path_of
from profiles.tables import samples_and_stacks
from profiles.upload import read_json

START = datetime(2026, 5, 4, 10, 15, tzinfo=UTC)
WHOLE = Selection("t", "s", START - timedelta(hours=1), START + timedelta(hours=1))


def add(engine: Embedded, host: str, profile: str, *, at: datetime = START) -> str:
    body = {
        "hostname": host, "start_time": at.isoformat(), "end_time": at.isoformat(), "profile": profile,
    }  # fmt: skip
    upload = read_json(json.dumps(body).encode(), tenant="t", service="s", now=START)
    engine.add(*samples_and_stacks(upload), Place("t", "s", upload.facts.profile_id))
    return upload.facts.profile_id


@pytest.fixture
def engine(tmp_path: Path) -> Embedded:
    return Embedded(Objects(str(tmp_path)))


def test_a_profile_that_is_added_again_is_there_once(engine: Embedded) -> None:
    for _ in range(3):
        add(engine, "a", "main;work 3\nmain 1")
    add(engine, "b", "main;work 2")
    assert engine.merged(WHOLE) == {"main;work": 5, "main": 1}
    assert [each.samples for each in engine.profiles(WHOLE, after="", most=10)] != []
    assert sorted(each.host for each in engine.profiles(WHOLE, after="", most=10)) == ["a", "b"]


def test_many_hosts_with_stacks_of_their_own_all_have_their_texts(engine: Embedded) -> None:
    for number in range(60):
        add(engine, f"h{number}", f"main;shared 1\nmain;own_{number} 2")
    merged = engine.merged(WHOLE)
    assert merged["main;shared"] == 60
    assert {stack: count for stack, count in merged.items() if "own" in stack} == {
        f"main;own_{number}": 2 for number in range(60)
    }


def test_time_is_from_the_first_moment_up_to_the_last_and_not_with_it(engine: Embedded) -> None:
    add(engine, "a", "main 1")
    for start, end, samples in ((0, 1, 1), (-1, 0, 0), (1, 2, 0), (-3600, 3600, 1)):
        window = Selection("t", "s", START + timedelta(seconds=start), START + timedelta(seconds=end))
        assert sum(engine.merged(window).values()) == samples, (start, end)


def test_another_tenant_and_another_service_have_nothing_of_it(engine: Embedded) -> None:
    add(engine, "a", "main 1")
    for tenant, service in (("t2", "s"), ("t", "s2"), ("t", "S"), ("..", "s")):
        assert engine.merged(Selection(tenant, service, WHOLE.start, WHOLE.end)) == {}


def test_texts_that_are_lost_cost_no_sample(engine: Embedded, tmp_path: Path) -> None:
    lost = add(engine, "a", "main;work 3")
    add(engine, "b", "main;rest 2")
    (tmp_path / path_of(STACKS, "t", "s", lost)).unlink()
    assert engine.merged(WHOLE) == {LOST: 3, "main;rest": 2}


def test_a_damaged_file_is_said_and_is_no_fault_of_the_question(engine: Embedded, tmp_path: Path) -> None:
    damaged = add(engine, "a", "main;work 3")
    (tmp_path / path_of(SAMPLES, "t", "s", damaged)).write_bytes(b"PAR1 and no more")
    with pytest.raises(OSError, match="the engine cannot answer"):
        engine.merged(WHOLE)
