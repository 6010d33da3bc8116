"""One is told as one, many as many."""

import pytest

from protocol.wording import counted


@pytest.mark.parametrize(
    ("number", "told"), [(0, "0 hosts"), (1, "1 host"), (2, "2 hosts"), (10_000, "10,000 hosts")], ids=str
)
def test_a_count_agrees_with_its_noun(number: int, told: str) -> None:
    assert counted(number, "host") == told
