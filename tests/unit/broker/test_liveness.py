"""Who is lost, and who is given time."""

from datetime import timedelta

from broker.liveness import LATELY, PATIENCE, Hearing, Holder, hearing_since, judge, silent
from protocol.names import HostKey
from protocol.pacing import stale_after
from tests.support.builders import NOW

INTERVAL = timedelta(seconds=30)
GRACE = stale_after(INTERVAL).total_seconds()
LONG_AGO = NOW - 86_400


def a_holder(name: str, *, silent_for: float, service: str = "web", interval: timedelta = INTERVAL) -> Holder:
    return Holder(HostKey("default", service, name), NOW - silent_for, interval)


def beats(*holders: Holder, healthy: int = 10) -> dict[HostKey, float]:
    """The last beats of a service: these, and so many that have just beaten."""
    others = {HostKey("default", "web", f"well-{number}"): NOW for number in range(healthy)}
    return others | {each.host: each.last_beat for each in holders}


def test_a_host_is_silent_after_the_grace_of_the_interval_it_was_told() -> None:
    slow = a_holder("slow", silent_for=GRACE + 1, interval=INTERVAL * 10)
    just, gone = a_holder("just", silent_for=GRACE), a_holder("gone", silent_for=GRACE + 1)
    assert silent([slow, just, gone], listening_since=LONG_AGO, now=NOW) == [gone]


def test_silence_counts_only_while_somebody_listens() -> None:
    gone = a_holder("gone", silent_for=GRACE + 1)
    assert silent([gone], listening_since=NOW - GRACE, now=NOW) == []


def test_one_silent_host_is_lost() -> None:
    gone = a_holder("gone", silent_for=GRACE + 1)
    verdict = judge([gone], beats(gone), listening_since=LONG_AGO, now=NOW)
    assert verdict.lost == {gone.host: gone.last_beat}
    assert verdict.spared == {}


def test_half_of_a_service_is_lost_and_more_than_half_is_spared() -> None:
    gone = [a_holder(f"gone-{number}", silent_for=GRACE + 1) for number in range(5)]
    half = judge(gone, beats(*gone, healthy=5), listening_since=LONG_AGO, now=NOW)
    assert set(half.lost) == {each.host for each in gone}
    more = judge(gone, beats(*gone, healthy=4), listening_since=LONG_AGO, now=NOW)
    assert more.lost == {}
    assert more.spared == {("default", "web"): Hearing(known=9, quiet=5, grace=GRACE)}


def test_nobody_is_spared_for_ever() -> None:
    gone = [a_holder(f"gone-{number}", silent_for=PATIENCE * GRACE + 1) for number in range(5)]
    verdict = judge(gone, beats(*gone, healthy=0), listening_since=LONG_AGO, now=NOW)
    assert set(verdict.lost) == {each.host for each in gone}


def test_one_service_is_not_spared_for_another() -> None:
    mass = [a_holder(f"gone-{number}", silent_for=GRACE + 1) for number in range(5)]
    alone = a_holder("db-1", silent_for=GRACE + 1, service="db")
    verdict = judge([*mass, alone], beats(*mass, alone, healthy=0), listening_since=LONG_AGO, now=NOW)
    assert set(verdict.lost) == {alone.host}


def test_a_service_of_one_or_two_is_judged_host_by_host() -> None:
    both = [a_holder("a", silent_for=GRACE + 1), a_holder("b", silent_for=GRACE + 1)]
    verdict = judge(both, beats(*both, healthy=0), listening_since=LONG_AGO, now=NOW)
    assert len(verdict.lost) == 2


def test_a_silent_service_is_heard_once_half_of_those_it_had_beat() -> None:
    gone = [a_holder(f"gone-{number}", silent_for=300) for number in range(5)]
    long_gone = a_holder("long-gone", silent_for=300 + LATELY.total_seconds())

    def heard(healthy: int) -> Hearing:
        last_beats = beats(*gone, long_gone, healthy=healthy)
        return hearing_since(("default", "web"), last_beats, silent_since=NOW - 200, grace=GRACE, now=NOW)

    assert heard(4) == Hearing(known=9, quiet=5, grace=GRACE)
    assert heard(4).is_silent
    assert not heard(5).is_silent
    other = hearing_since(("default", "db"), beats(*gone), silent_since=NOW - 200, grace=GRACE, now=NOW)
    assert other == Hearing(known=0, quiet=0, grace=GRACE)
