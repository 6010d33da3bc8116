from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePath

from hypothesis import given
from hypothesis import strategies as st

from agent.shelf import name_of, trim
from tests.support.agents import calm

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
IDS = st.text(st.characters(), min_size=1, max_size=128)


@calm
@given(IDS, IDS)
def test_any_id_makes_a_safe_file_name_of_its_own(one: str, other: str) -> None:
    first, second = name_of(NOW, one), name_of(NOW, other)
    assert PurePath("x", first).parts == ("x", first)
    assert first.isascii()
    assert first.isprintable()
    assert len(first) < 120
    assert (first == second) == (one == other)


def test_an_ordinary_id_stands_in_the_name_as_it_is() -> None:
    assert name_of(NOW, "6f1c-A_2.b") == "20260102T030405Z-6f1c-A_2.b"


def test_the_oldest_profiles_go_and_nothing_else(tmp_path: Path) -> None:
    names = [name_of(NOW + timedelta(minutes=minute), f"c{minute}") for minute in range(5)]
    for name in names:
        (tmp_path / f"{name}.col").touch()
        (tmp_path / f"{name}.html").touch()
    others = ["last_profile.col", "notes.html", "20260102T030405Z-x.txt", "profile-20260102T030405Z.col"]
    for other in others:
        (tmp_path / other).touch()
    trim(tmp_path, keep=2)
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == sorted([*others, *(f"{name}.{suffix}" for name in names[-2:] for suffix in ("col", "html"))])
    trim(tmp_path, keep=9)
    assert sorted(path.name for path in tmp_path.iterdir()) == kept
