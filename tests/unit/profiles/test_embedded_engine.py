"""The engine over files of its own: what is lost or damaged is said. What each engine answers: test_engines.py."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

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
