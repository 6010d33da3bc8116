"""When a sliding window has room again."""

import math

from hypothesis import given
from hypothesis import strategies as st

from broker.limits import Window, seconds_until_room
from broker.quotas import Quota

COUNTS = st.integers(0, 200)


@given(
    st.builds(Window, COUNTS, st.floats(0, 59), COUNTS, st.just(59.5)),
    st.builds(Quota, st.integers(1, 200), st.just(60)),
)
def test_there_is_room_when_it_is_said_and_not_long_before(window: Window, quota: Quota) -> None:
    def fits(after: float) -> bool:
        if after < window.now_left:
            before, before_left, now = window.before, max(0.0, window.before_left - after), window.now
        else:
            before, before_left, now = window.now, max(0.0, window.now_left + quota.seconds - after), 0
        return int(before * before_left / quota.seconds) + now + 1 <= quota.amount

    wait = seconds_until_room(window, quota)
    assert fits(wait)
    assert wait < 0.01 or not fits(wait - 0.01)


def test_what_is_more_than_a_quota_never_fits() -> None:
    assert seconds_until_room(Window(0, 0, 0, 0), Quota(3, 60), cost=4) == math.inf
