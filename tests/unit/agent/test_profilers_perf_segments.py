import pytest

from agent.profilers.perf import MAX_SEGMENT_SECONDS, MIN_SEGMENT_SECONDS, segment_seconds


@pytest.mark.parametrize(
    ("hz", "cpus", "seconds"),
    [(11, 2, MAX_SEGMENT_SECONDS), (99, 2, 6_000 / 198), (1_000, 64, MIN_SEGMENT_SECONDS)],
)
def test_a_recording_is_as_long_as_it_can_be_read_back_in_a_second(hz: int, cpus: int, seconds: float) -> None:
    assert segment_seconds(hz, cpus) == seconds
