"""Token buckets: what passes, what is left, and when there is room again."""

from hypothesis import given
from hypothesis import strategies as st

from api.buckets import Buckets
from broker.quotas import Quota, Taken

QUOTAS = st.builds(Quota, st.integers(1, 1_000), st.integers(1, 100))
START = 1_000_000.0


def test_a_bucket_gives_what_is_in_it_and_then_one_at_a_time() -> None:
    buckets = Buckets(Quota(3, 6))
    assert [buckets.take("a", now=START).left for _ in range(3)] == [2, 1, 0]
    assert buckets.take("a", now=START) == Taken(passed=False, left=0, seconds=2.0)
    assert not buckets.take("a", now=START + 1.9).passed
    assert buckets.take("a", now=START + 2.0).passed
    assert not buckets.take("a", now=START + 2.0).passed


def test_nobody_empties_the_bucket_of_another() -> None:
    buckets = Buckets(Quota(1, 60))
    assert buckets.take("a", now=START).passed
    assert not buckets.take("a", now=START).passed
    assert buckets.take("b", now=START).passed


@given(QUOTAS, st.lists(st.floats(0, 50), max_size=60))
def test_whoever_waits_as_long_as_told_gets_through(quota: Quota, pauses: list[float]) -> None:
    buckets, now = Buckets(quota), START
    for pause in pauses:
        now += pause
        taken = buckets.take("a", now=now)
        if not taken.passed:
            assert taken.left == 0
            now += taken.seconds + 1e-6
            assert buckets.take("a", now=now).passed


@given(QUOTAS, st.lists(st.floats(0, 5), min_size=1, max_size=100))
def test_no_more_passes_than_a_bucket_and_what_flows_into_it(quota: Quota, pauses: list[float]) -> None:
    buckets, now, passed = Buckets(quota), START, 0
    for pause in pauses:
        now += pause
        passed += buckets.take("a", now=now).passed
    assert passed <= quota.amount + (now - START) * quota.amount / quota.seconds + 1


def test_a_charge_may_owe_a_bucket_and_no_more() -> None:
    buckets = Buckets(Quota(10, 10))
    for _ in range(1_000):
        buckets.charge("a", now=START)
    assert not buckets.look("a", now=START + 10.5).passed
    assert buckets.look("a", now=START + 11.0).passed
    assert buckets.look("a", now=START + 11.0).passed, "looking takes nothing"


def test_full_buckets_are_forgotten_first_and_there_is_never_one_too_many() -> None:
    buckets = Buckets(Quota(2, 10), most=3)
    for name in ("long ago", "b", "c"):
        buckets.take(name, now=START)
    buckets.take("b", now=START + 4.0)
    buckets.take("c", now=START + 4.0)
    buckets.take("d", now=START + 6.0)
    assert len(buckets) == 3
    assert buckets.look("b", now=START + 6.0).left == 0, "the one that was full was forgotten, and not this one"
    for number in range(100):
        buckets.take(f"e{number}", now=START + 6.0)
    assert len(buckets) == 3
