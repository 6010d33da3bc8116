import os

import pytest

from cli import sample
from cli.roles import sample_role


def test_by_itself_it_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "BY_ITSELF_SECONDS", 0.05)
    assert sample.main([]) == 0


def test_with_a_parent_that_is_not_its_own_it_does_not_begin() -> None:
    assert sample.main(["--parent", str(os.getpid())]) == 0


def test_who_starts_it_for_a_demo_says_who_it_is() -> None:
    assert sample_role().command[-2:] == ("--parent", str(os.getpid()))


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf"])
def test_no_time_is_refused(seconds: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        sample.main(["--seconds", seconds])
