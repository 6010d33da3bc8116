"""Kill who indexes profiles at any moment: none is lost, and none is counted twice."""

import gzip
import json
import os
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.processes import eventually
from tests.support.system import System, running_system

ROUNDS = int(os.environ.get("PCS_CHAOS_ROUNDS", "4"))
SEED = int(os.environ.get("PCS_CHAOS_SEED", str(random.SystemRandom().randrange(10**6))))
EACH = 8
START = datetime(2026, 5, 4, 10, 15, tzinfo=UTC)
WHEN = {"start": "2026-05-04T10:00:00Z", "end": "2026-05-04T12:00:00Z"}
VICTIMS = ("jobs", "merger", "api", "broker")
"""The worker that indexes, the dispatcher that asks for it, who takes uploads, and where it is kept that they wait."""


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    with running_system(tmp_path) as running:
        running.roles["sample"].stop()  # it would take a core from who is killed: what is uploaded here is made up
        yield running


def upload(system: System, number: int) -> None:
    """As an agent does it: again and again until it is taken."""
    stacks = "\n".join(f"main;f{number};g{line} 1" for line in range(100))
    body = {
        "hostname": f"h{number}", "profile": stacks, "start_time": START.isoformat(),
        "end_time": (START + timedelta(minutes=1)).isoformat(),
    }  # fmt: skip
    headers = {
        "Authorization": f"Bearer {system.tokens['agent']}", "Content-Encoding": "gzip",
        "Content-Type": "application/json",
    }  # fmt: skip
    content = gzip.compress(json.dumps(body).encode())

    def taken() -> bool:
        try:
            answer = system.http.post(
                f"{system.url}/api/v2/profiles", params={"service": "chaos"}, content=content, headers=headers
            )
        except httpx.TransportError:
            return False
        assert answer.status_code in {200, 503}, answer.text
        return answer.status_code == 200

    eventually(taken, within=60, what=f"taking upload {number}")


def found(system: System, what: str) -> dict[str, Any] | None:
    try:
        return system.get(
            f"/api/v1/{what}", {"service": "chaos", **WHEN, **({"limit": "1000"} if what == "profiles" else {})}
        )
    except (httpx.TransportError, AssertionError):
        return None


@pytest.mark.chaos
@pytest.mark.timeout(300)
def test_no_upload_is_lost_or_counted_twice_whoever_is_killed(system: System) -> None:
    dice = random.Random(SEED)
    victims = [VICTIMS[number % len(VICTIMS)] for number in range(ROUNDS)]
    dice.shuffle(victims)
    sent = 0
    for victim in victims:
        for _ in range(EACH):
            upload(system, sent)
            if dice.random() < 0.3:
                upload(system, sent)  # its answer was lost
            sent += 1
        time.sleep(dice.uniform(0, 0.6))
        system.roles[victim].kill()
        time.sleep(dice.uniform(0, 0.5))
        system.roles[victim].restart()
    story = f"seed {SEED} (PCS_CHAOS_SEED repeats it), killed {victims}"
    eventually(
        lambda: (page := found(system, "profiles")) is not None and len(page["items"]) >= sent, within=150,
        what=f"{sent} indexed profiles: {story}",
    )  # fmt: skip
    time.sleep(1)
    page, graph = found(system, "profiles"), found(system, "flamegraph")
    assert page is not None
    assert graph is not None
    assert sorted(each["hostname"] for each in page["items"]) == sorted(f"h{number}" for number in range(sent)), story
    assert graph["samples"] == 100 * sent, story
