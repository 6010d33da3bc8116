"""Old hours are folded: whoever asks for counts is told the same as before, and who is to know of it is told first."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from profiles.embedded import Embedded
from profiles.folding import FOLDED
from profiles.gathering import Gathering
from profiles.keeping import Keeping, Loss, NotTold, Thinning
from profiles.objects import Objects
from profiles.questions import Bucket, Selection, StoredProfile
from profiles.shelves import RAW, Envelope, RawUploads
from profiles.upload import read_json
from workers.tending import WHAT_IS_OLD, Tender

START = datetime(2026, 5, 4, 10, 15, tzinfo=UTC)
NOW = START + timedelta(days=10)
FOLDING = Keeping(fold_after=timedelta(days=8), fold_below=0.1)
HOUR = timedelta(hours=1)
MODES = ("cpu", "allocation")
COUNTS = st.dictionaries(
    st.lists(st.sampled_from(["web", "db", "main", "leaf"]), min_size=1, max_size=6).map(";".join),
    st.integers(1, 2**53 // 100), min_size=1, max_size=12,
)  # fmt: skip
UPLOADS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 2), st.sampled_from(MODES), COUNTS), min_size=1, max_size=9
)
Answers = tuple[list[StoredProfile], list[Bucket], list[dict[str, int]]]
_numbers = count()


class Site:
    """A store with what was uploaded into it, as the API keeps it, and as it is indexed."""

    def __init__(self) -> None:
        self.objects = Objects(f"memory://folding-{next(_numbers)}")
        self.engine = Embedded(self.objects)
        self.told: list[Loss] = []

    def upload(
        self, hosts: str, stacks: Mapping[str, int], *, at: datetime = START, mode: str = "cpu", tenant: str = "t"
    ) -> None:
        """Uploads of several hosts, indexed together: of four and more they are a pack."""
        lines = "\n".join(f"{stack} {number}" for stack, number in stacks.items())
        when, gathering = at.isoformat(), Gathering()
        profile = f"# {json.dumps({'profiling_mode': mode})}\n{lines}"
        for host in hosts:
            told = {"hostname": host, "start_time": when, "end_time": when, "profile": profile}
            body = json.dumps(told).encode()
            upload = read_json(body, tenant=tenant, service="s", now=at)
            envelope = Envelope(tenant, "s", host, "agent", False, when, when, when)
            RawUploads(self.objects).keep(upload.facts.profile_id, envelope, body)
            gathering.add(upload)
        self.engine.add(gathering)

    def tend(self, gives_way: Callable[[], bool] = lambda: False) -> tuple[int, list[str]]:
        tender = Tender(self.objects, self.engine, FOLDING, self.told.extend)
        done = tender.tend(now=NOW, patience=HOUR, since=START - HOUR, gives_way=gives_way)
        return done.folded, done.failed

    def uploads(self, *, at: datetime = START, tenant: str = "t") -> int:
        return len([*self.objects.names(f"{RAW}/{tenant}/s/{at:%Y-%m-%d/%H}")])

    def answers(self) -> Answers:
        """What is told of counts, however it is asked."""
        whole = Selection("t", "s", START - HOUR, START + 9 * HOUR)
        engine = Embedded(self.objects)
        parts = [
            {name: [each]}
            for name, wanted in (("process", ("web",)), ("host", "a"), ("mode", MODES)) for each in wanted
        ]  # fmt: skip
        sums = []
        for where in [{}, *parts]:
            merged = engine.merged(Selection("t", "s", whole.start, whole.end, where))
            sums.append({"samples": sum(merged.stacks.values()), "profiles": merged.profiles, "hosts": merged.hosts})
        return engine.profiles(whole, after="", most=99), engine.over_time(whole, timedelta(minutes=10)), sums


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(UPLOADS)
def test_whatever_is_folded_each_count_is_as_it_was(
    uploads: list[tuple[str, int, str, dict[str, int]]],
) -> None:
    site = Site()
    for host, hour, mode, stacks in uploads:
        site.upload(host, stacks, at=START + hour * HOUR, mode=mode)
    before = site.answers()
    folded, failed = site.tend()
    assert not failed
    assert folded == sum(site.uploads(at=START + hour * HOUR) == 0 for hour in {hour for _, hour, _, _ in uploads})
    assert site.answers() == before
    assert site.tend() == (0, [])


def whole(site: Site) -> list[dict[str, int]]:
    return site.answers()[2][:1]


def test_nothing_is_folded_and_no_upload_goes_while_nobody_can_be_told() -> None:
    site = Site()
    site.upload("ab", {"web;main": 99, "web;rare": 1})

    def refuses(_losses: Sequence[Loss]) -> None:
        raise NotTold("nobody answers")

    done = Tender(site.objects, site.engine, FOLDING, refuses).tend(now=NOW, patience=HOUR, since=START - HOUR)
    assert (done.failed, done.folded, site.uploads()) == ([WHAT_IS_OLD], 0, 2)
    assert FOLDED not in str(site.engine.merged(Selection("t", "s", START, START + HOUR)).stacks)


def test_it_is_told_once_a_service_and_before_any_of_it_goes() -> None:
    site = Site()
    for tenant in ("t", "a/b"):
        for at in (START, START + HOUR):
            site.upload("ab", {"web;main": 99, "web;rare": 1}, at=at, tenant=tenant)
    site.upload("z", {"web;main": 9}, at=START + 2 * HOUR)

    def looks(losses: Sequence[Loss]) -> None:
        (loss,) = losses
        assert [site.uploads(at=at, tenant="t" if loss.tenant == "t" else "a%2Fb") for at in (START, START + HOUR)] == [
            2,
            2,
        ]
        site.told.append(loss)

    tender = Tender(site.objects, site.engine, FOLDING, looks)
    assert tender.tend(now=NOW, patience=HOUR, since=START - HOUR).folded == 4
    told = {loss.tenant: loss for loss in site.told if isinstance(loss, Thinning)}
    assert len(site.told) == len(told) == 2
    for tenant, loss in told.items():
        assert (loss.service, loss.below) == ("s", 0.1)
        assert [place.rpartition("/")[2] for place in sorted(loss.uploads)] == ["10", "11"]
        assert [len(each) for each in loss.uploads.values()] == [2, 2], tenant
    assert [site.uploads(at=START + hour * HOUR) for hour in range(3)] == [0, 0, 1]
    assert tender.tend(now=NOW, patience=HOUR, since=START - HOUR).folded == 0
    assert len(site.told) == 2


def after(many: int) -> Callable[[], bool]:
    """Whether somebody waits: not the first times that it is asked."""
    asked = count(1)
    return lambda: next(asked) > many


@pytest.mark.parametrize("looks", [0, 1, 2])
def test_a_pass_that_gives_way_tells_of_the_hour_that_it_folds_and_of_no_other(looks: int) -> None:
    site = Site()
    for hour in range(3):
        site.upload("ab", {"web;main": 99, "web;rare": 1}, at=START + hour * HOUR)
    folded = [site.tend(after(looks))[0] for _ in range(9)]
    assert sum(folded) == 3
    assert max(folded) == 1
    hours = [[*loss.uploads] for loss in site.told if isinstance(loss, Thinning)]
    assert [len(each) for each in hours] == [1, 1, 1]
    assert len({place for each in hours for place in each}) == 3


def test_an_upload_that_came_after_it_was_told_of_stays_until_it_is_told_of() -> None:
    site = Site()
    site.upload("ab", {"web;main": 99, "web;rare": 1})

    def late(losses: Sequence[Loss]) -> None:
        site.told.extend(losses)
        if len(site.told) == 1:
            site.upload("cdef", {"web;main": 99, "web;rare": 1})

    tender = Tender(site.objects, site.engine, FOLDING, late)
    for left in (4, 0):
        tender.tend(now=NOW, patience=HOUR, since=START - HOUR)
        assert site.uploads() == left
        assert whole(site) == [{"samples": 600, "profiles": 6, "hosts": 6}]
    assert [sum(map(len, loss.uploads.values())) for loss in site.told if isinstance(loss, Thinning)] == [2, 4]
