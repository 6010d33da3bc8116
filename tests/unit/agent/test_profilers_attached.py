"""What profilers of runtimes have in common."""

from datetime import timedelta

import pytest

from agent.profilers.attached import seconds_left
from agent.profilers.base import RunRequest


@pytest.mark.parametrize(
    ("pids", "duration", "attaching_took", "left"),
    [
        (None, 60, 0.5, 59.5),
        (None, 60, 70, 1.0),
        (None, 5, 4.5, 1.0),
        (None, 0.5, 3, 0.5),
        (frozenset({7}), 60, 10, 60.0),
    ],
)
def test_one_that_attaches_late_to_a_whole_host_ends_with_the_others(
    pids: frozenset[int] | None, duration: float, attaching_took: float, left: float
) -> None:
    request = RunRequest(11, timedelta(seconds=duration), "cpu", pids)
    assert seconds_left(request, attaching_took=attaching_took) == pytest.approx(left)
