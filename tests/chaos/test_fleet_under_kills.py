"""Fifty hosts at work, and anything killed at any moment: accepted = ended, each once, and no command runs twice.

The agents are simulated: they speak the protocol over HTTP, keep a ledger, and profile nothing (`test_kills.py` has the
real one, with real profilers). Everything else is the product: two API processes, the looped roles in one process, a
second projector in another, the server. Only the clocks of runs and of silence are shorter than ours
(`tests/support/hurried_workers.py`).

On the cluster, masters are killed too. What is honest there: a submission waits for a replica, so none that was
accepted may be lost; heartbeats and completions do not wait, so a failover may take an agent's last word with it. Its
command then ends by a clock, still once; only an ack told in the two seconds before a failover excuses an offer to an
agent that has forgotten it; and statuses that the projector wrote in the last moment are as they should be after
`python -m workers.rebuild_status`. Masters are killed, not frozen: one that wakes up may answer before it learns that
it was voted off, and what it accepts then is lost with it.

Under faults, every call of the APIs and the workers to Redis may be refused, or executed and never answered, on top of
the kills: two of three befallen calls have had their effect, and whoever made them does not know.

`PCS_CHAOS_ROUNDS` (how many), `PCS_CHAOS_SEED` (which), `PCS_CHAOS_FAULTS` (share of the calls that are executed and
never answered, on the cluster too) and `PCS_CHAOS_REPORT` (a file to append the report to) come from the environment.
"""

import collections
import os
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.failovers import Failovers
from tests.support.faults import LATE
from tests.support.fleet import HOSTS, SERVICE, Fleet, Outcomes, running_fleet
from tests.support.fleet_journal import Evidence, evidence_of
from tests.support.fleet_load import Load
from tests.support.havoc import Havoc, Round, plan
from tests.support.redis_cluster import redis_cluster

ROUNDS = int(os.environ.get("PCS_CHAOS_ROUNDS", "5"))
ROUNDS_ON_A_CLUSTER = int(os.environ.get("PCS_CHAOS_ROUNDS", "2"))
ROUNDS_UNDER_FAULTS = int(os.environ.get("PCS_CHAOS_ROUNDS", "2"))
FAILOVER_EVERY = 3
FAULTS = float(os.environ.get("PCS_CHAOS_FAULTS", "0"))
FAULTS_WHERE_ASKED_FOR = FAULTS or 0.02
SEED = int(os.environ.get("PCS_CHAOS_SEED", str(random.SystemRandom().randrange(10**6))))
REPORT = os.environ.get("PCS_CHAOS_REPORT")
ALL_ENDED_WITHIN = 60.0
"""The longest wait is 14 s for a start, 3 s of a run and 4 s of grace; then queued modes, and a busy machine."""


@pytest.fixture
def story() -> Iterator[list[str]]:
    """What happened, shown when the test fails and written where it was asked for."""
    lines = [f"PCS_CHAOS_SEED={SEED} and as many PCS_CHAOS_ROUNDS repeat this plan"]
    yield lines
    print("\n".join(lines))
    if REPORT:
        with Path(REPORT).open("a") as report:
            report.write("\n".join([*lines, "", ""]))


@pytest.mark.chaos
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("rounds", "share"),
    [(ROUNDS, 0.0), (ROUNDS_UNDER_FAULTS, FAULTS_WHERE_ASKED_FOR)],
    ids=["kills", "kills and faults"],
)
def test_on_one_server_every_request_of_a_fleet_ends_once_whatever_is_killed(
    tmp_path: Path, story: list[str], rounds: int, share: float
) -> None:
    with running_fleet(tmp_path, share_of_faults=share, seed=SEED) as fleet:
        load = Load(fleet.urls, fleet.as_admin, SERVICE, HOSTS, SEED)
        havoc = Havoc(fleet.roles, fleet.forget, fleet.is_up, story=story)
        wreak(havoc, plan(SEED, rounds, tuple(fleet.roles), fleet.hosts), load)
        outcomes, evidence = the_end(fleet, load, story)
        assert_each_ended_once(load, outcomes)
        assert evidence.twice == []
        assert evidence.offered_after_the_word == []
        assert set(evidence.completions) == {"200"}, "a command that was handed out is unknown to the server"
        assert misprojected(fleet, load, outcomes, within=30) == {}


@pytest.mark.chaos
@pytest.mark.timeout(1800)
def test_on_a_cluster_every_request_of_a_fleet_ends_once_whatever_is_killed(tmp_path: Path, story: list[str]) -> None:
    with (
        redis_cluster(tmp_path / "nodes", replicas=True) as cluster,
        running_fleet(tmp_path, cluster=cluster.settings, share_of_faults=FAULTS, seed=SEED) as fleet,
    ):
        load = Load(fleet.urls, fleet.as_admin, SERVICE, HOSTS, SEED)
        failovers = Failovers(cluster, SEED)
        havoc = Havoc(fleet.roles, fleet.forget, fleet.is_up, failovers, story=story)
        planned = plan(SEED, ROUNDS_ON_A_CLUSTER, tuple(fleet.roles), fleet.hosts, failover_every=FAILOVER_EVERY)
        wreak(havoc, planned, load)
        outcomes, evidence = the_end(fleet, load, story, failovers=failovers.moments)
        assert failovers.moments, "no master was killed"
        assert_each_ended_once(load, outcomes)
        assert evidence.twice == []
        assert evidence.offered_after_the_word == []
        assert set(evidence.completions) <= {"200", "404"}, "404: the failover took the command with it"
        behind = misprojected(fleet, load, outcomes, within=8)
        story.append(f"statuses to rebuild: {len(behind)}")
        if behind:
            fleet.rebuild_statuses()
            assert misprojected(fleet, load, outcomes, within=8) == {}


def wreak(havoc: Havoc, planned: Sequence[Round], load: Load) -> None:
    """All the rounds, under the load."""
    try:
        with load.applied():
            for number, each in enumerate(planned):
                havoc.wreak(number, each)
            havoc.wait_until_up()
    finally:
        havoc.end()


def the_end(
    fleet: Fleet, load: Load, story: list[str], *, failovers: Sequence[float] = ()
) -> tuple[Outcomes, Evidence]:
    """Wait until everything has ended, and write down the totals."""
    wanted = {(request_id, host) for request_id, hosts in load.accepted.items() for host in hosts}
    outcomes, took = fleet.until_ended(wanted, within=ALL_ENDED_WITHIN)
    evidence = evidence_of(fleet.journals, failovers=failovers)
    kinds = collections.Counter(state for one in wanted for state in outcomes.get(one, ()))
    story += [
        f"accepted: {len(load.accepted)} requests ({dict(load.kinds)}), {load.repeated} calls repeated",
        f"ended: {len(wanted & outcomes.keys())} of {len(wanted)} on their hosts, the last {took:.1f} s after the load",
        f"outcomes: {dict(kinds.most_common())}",
        (
            f"commands begun: {len(evidence.begun)}; twice, though told: {len(evidence.twice)};"
            f" twice, ledger lost before the server was told: {evidence.never_told}"
        ),
        f"offered after the word: {len(evidence.offered_after_the_word)}",
        f"excused, a failover had taken the word: {len(evidence.excused)}",
        f"completions: {dict(evidence.completions)}",
        *(f"calls of {name} that were befallen: {dict(met)}" for name, met in fleet.faults_met().items()),
    ]
    assert load.refused == []
    assert load.accepted, "nothing was accepted: this test sees nothing"
    assert evidence.begun, "nothing was begun: this test sees nothing"
    faults = fleet.faults_met()
    assert not faults or any(met[LATE] for met in faults.values()), "no fault was met: this test sees nothing"
    return outcomes, evidence


def assert_each_ended_once(load: Load, outcomes: Outcomes) -> None:
    """Every accepted request has exactly one outcome on each of its hosts."""
    not_once = {
        (request_id, host): outcomes.get((request_id, host), [])
        for request_id, hosts in load.accepted.items()
        for host in hosts
        if len(outcomes.get((request_id, host), ())) != 1
    }
    assert not_once == {}


def misprojected(fleet: Fleet, load: Load, outcomes: Outcomes, *, within: float) -> dict[str, dict[str, str]]:
    """The requests whose status is not what the results streams say, once the projector has had its time."""
    end = time.monotonic() + within
    wrong: dict[str, dict[str, str]] = {}
    left = list(load.accepted)
    while left:
        wrong = {
            request_id: statuses
            for request_id, statuses in ((each, fleet.statuses(each)) for each in left)
            if any(outcomes[request_id, host] != [status] for host, status in statuses.items())
            or len(statuses) != len(load.accepted[request_id])
        }
        left = list(wrong)
        if time.monotonic() > end:
            break
        time.sleep(0.2)
    return wrong
