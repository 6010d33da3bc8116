"""The engine over files of its own: what is lost or damaged is said. What each engine answers: test_engines.py."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from profiles import embedded
from profiles.embedded import Embedded
from profiles.gathering import gathered
from profiles.objects import Objects
from profiles.questions import LOST, Selection
from profiles.shelves import SAMPLES, STACKS, path_of
from profiles.upload import read_json

START = datetime(2026, 5, 4, 10, 15, tzinfo=UTC)
WHOLE = Selection("t", "s", START - timedelta(hours=1), START + timedelta(hours=1))


def add(engine: Embedded, host: str, profile: str, *, at: datetime = START) -> str:
    body = {
        "hostname": host, "start_time": at.isoformat(), "end_time": at.isoformat(), "profile": profile,
    }  # fmt: skip
    upload = read_json(json.dumps(body).encode(), tenant="t", service="s", now=START)
    engine.add(gathered(upload))
    return upload.facts.profile_id


@pytest.fixture
def engine(tmp_path: Path) -> Embedded:
    return Embedded(Objects(str(tmp_path)))


def test_texts_that_are_lost_cost_no_sample(engine: Embedded, tmp_path: Path) -> None:
    lost = add(engine, "a", "main;work 3")
    add(engine, "b", "main;rest 2")
    (tmp_path / path_of(STACKS, "t", "s", lost)).unlink()
    assert engine.merged(WHOLE).stacks == {LOST: 3, "main;rest": 2}


def test_a_damaged_file_is_said_and_is_no_fault_of_the_question(engine: Embedded, tmp_path: Path) -> None:
    damaged = add(engine, "a", "main;work 3")
    (tmp_path / path_of(SAMPLES, "t", "s", damaged)).write_bytes(b"PAR1 and no more")
    with pytest.raises(OSError, match="the engine cannot answer"):
        engine.merged(WHOLE)


@pytest.mark.parametrize("when", ["_conditions", "_of_which"])
def test_a_question_whose_files_go_while_it_is_answered_is_answered_by_those_that_stay(
    engine: Embedded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    ids = [add(engine, "a", "main;work 3")]
    add(engine, "b", "main;rest 2")
    original = getattr(embedded, when)

    def went(*given: Any) -> Any:
        while ids:
            profile_id = ids.pop()
            for kind in (SAMPLES, STACKS):
                (tmp_path / path_of(kind, "t", "s", profile_id)).unlink()
        return original(*given)

    monkeypatch.setattr(embedded, when, went)
    found = engine.merged(WHOLE)
    assert (found.stacks, found.profiles, ids) == ({"main;rest": 2}, 1, [])


def test_a_question_that_finds_the_texts_gone_with_their_profile_does_not_count_it(
    engine: Embedded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = add(engine, "a", "main;work 3")
    add(engine, "b", "main;rest 2")
    look_up = Embedded._look_up

    def went(self: Embedded, *given: Any) -> None:
        for kind in (SAMPLES, STACKS):
            (tmp_path / path_of(kind, "t", "s", gone)).unlink(missing_ok=True)
        look_up(self, *given)

    monkeypatch.setattr(Embedded, "_look_up", went)
    monkeypatch.setattr(Embedded, "_texts_of", lambda *_: [str(tmp_path / STACKS / "t/s/2026-05-04/10" / "*.parquet")])
    assert engine.merged(WHOLE).stacks == {"main;rest": 2}
