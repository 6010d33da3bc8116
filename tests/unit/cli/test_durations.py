"""Durations as people write them."""

import click
import pytest

from cli.durations import DURATION


@pytest.mark.parametrize(
    ("text", "seconds"), [("90d", 7_776_000), ("12h", 43_200), ("30m", 1_800), ("45s", 45), ("45", 45), ("0", 0)]
)
def test_a_duration_is_read(text: str, seconds: int) -> None:
    assert DURATION.convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "-1", "1.5h", "soon", "1 h", "1w", "9" * 10, "1h30m"])
def test_what_is_none_is_refused_with_how_to_write_it(text: str) -> None:
    with pytest.raises(click.BadParameter, match="write 90d"):
        DURATION.convert(text, None, None)
