"""Kill anything at any moment: every accepted request ends once, and no command runs twice."""

import collections
import os
import random
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import eventually
from tests.support.system import System, running_system

ROUNDS = int(os.environ.get("PCS_CHAOS_ROUNDS", "20"))
SEED = int(os.environ.get("PCS_CHAOS_SEED", str(random.SystemRandom().randrange(10**6))))
VICTIMS = ("merger", "api", "agent", "broker")


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    with running_system(tmp_path) as running:
        os.setpriority(os.PRIO_PROCESS, running.sample_pid, 15)  # it is only there to be profiled: others need the core
        yield running


@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_every_accepted_request_ends_once_whatever_is_killed(system: System) -> None:
    dice = random.Random(SEED)
    story = [f"seed {SEED} (PCS_CHAOS_SEED repeats it)"]
    accepted: list[str] = []
    victims = [VICTIMS[number % len(VICTIMS)] for number in range(ROUNDS)]
    dice.shuffle(victims)
    for number, victim in enumerate(victims):
        began = time.monotonic()
        answer = system.submit(
            idempotency_key=str(uuid.uuid4()), pids=[system.sample_pid], duration=dice.choice((1, 2)), frequency=50
        )
        accepted.append(answer["request_id"])
        before, after = dice.uniform(0, 2.0), dice.uniform(0, 1.0)
        time.sleep(before)
        role = system.roles[victim]
        role.kill()
        time.sleep(after)
        role.restart()
        story.append(f"round {number}: {victim} killed {before:.2f} s after the answer, back after {after:.2f} s")
        # A second request while things are coming back.
        answer = system.submit(idempotency_key=str(uuid.uuid4()), pids=[system.sample_pid], duration=1, frequency=50)
        accepted.append(answer["request_id"])
        eventually(
            lambda: all((status := system.status(one)) and status["hosts"][0]["timeline"] for one in accepted[-2:]),
            within=30,
            what="the requests' first status",
        )
        story[-1] += f", the round took {time.monotonic() - began:.1f} s"
    try:
        for request_id in accepted:
            system.wait_for(request_id, within=90)
        outcomes = system.outcomes()
        not_once = {one: outcomes.get(one) for one in accepted if len(outcomes.get(one, ())) != 1}
        assert not_once == {}
        begun = system.runs_begun()
        assert begun, "the agent's log tells of no run: this test sees nothing"
        assert {command: times for command, times in begun.items() if times > 1} == {}
        kinds = collections.Counter(outcomes[request_id][0] for request_id in accepted)
        assert set(kinds) <= {"completed", "failed"}, kinds
        assert kinds["completed"] > 0
    except AssertionError:
        print("\n".join(story))
        raise
    story.append(f"outcomes: {dict(kinds)}")
    print("\n".join(story))
