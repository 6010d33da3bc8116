"""Kill the agent at any moment of a run: nothing is left behind, nothing is lost, nothing runs twice.

The agent, py-spy and perf are real; the server is the scripted one, so that each command is known to be offered once
and to be offered again until the agent names it. `PCS_CHAOS_ROUNDS` and `PCS_CHAOS_SEED` come from the environment.
"""

import contextlib
import json
import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from agent.stacks import collapsed
from tests.support.agents import agent, alive, busy_python, log_lines, offspring
from tests.support.fake_server import FakeServer, start, stop
from tests.support.processes import Role, eventually
from tests.support.targets import hashing

ROUNDS = int(os.environ.get("PCS_CHAOS_ROUNDS", "4"))
SEED = int(os.environ.get("PCS_CHAOS_SEED", str(random.SystemRandom().randrange(10**6))))
ORPHANS_END_WITHIN = 5.0


@pytest.fixture
def story() -> Iterator[list[str]]:
    lines = [f"PCS_CHAOS_SEED={SEED} and as many PCS_CHAOS_ROUNDS repeat this plan"]
    yield lines
    print("\n".join(lines))


@pytest.mark.chaos
@pytest.mark.needs_perf
@pytest.mark.skipif(shutil.which("perf") is None, reason="perf is not installed")
@pytest.mark.timeout(900)
def test_an_agent_killed_at_any_moment_leaves_no_orphan_loses_no_profile_and_runs_nothing_twice(
    tmp_path: Path, story: list[str]
) -> None:
    dice = random.Random(SEED)
    with FakeServer() as server, busy_python() as python, hashing() as native:
        process = agent(server, tmp_path, "--max-deaths", "0")
        try:
            for number in range(ROUNDS):
                command_id = f"c{number}"
                pids = dice.choice([python, [*python, native.pid], None])
                continuous = dice.random() < 0.25
                config: dict[str, Any] = {"duration": 1, "continuous": continuous, **({"pids": pids} if pids else {})}
                offer = server.offer(command_id, start(**config))
                eventually(partial(bool, offer.delivered), within=30, what=f"round {number}: the delivery")
                pause = dice.uniform(0, 3.0)
                time.sleep(pause)
                children = offspring(process.pid)
                process.kill()
                killed = time.monotonic()
                eventually(
                    partial(_gone, children, tmp_path), within=ORPHANS_END_WITHIN, what=f"round {number}: no orphans"
                )
                story.append(
                    f"{command_id} {config}: killed {pause:.2f} s after its delivery with {len(children)} children, "
                    f"which were gone after {time.monotonic() - killed:.2f} s"
                )
                process.restart()
                if dice.random() < 0.25:  # and once more, while it looks at what is left
                    time.sleep(dice.uniform(0.2, 1.5))
                    _end(process)
                    process.restart()
                if continuous:
                    _stop(server, f"s{number}", of=command_id)
                completion = server.completion(command_id, within=30)
                story.append(f"  {completion['status']}: {completion.get('error_message')}")
                _assert_nothing_stays_behind(tmp_path)
            seen = len(server.beats)
            eventually(lambda: len(server.beats) > seen, within=60, what="one more beat")
            assert process.stop() == 0
        finally:
            _end(process)
        _assert_once(server, process)
        _assert_no_profile_is_lost(server, tmp_path)


def _stop(server: FakeServer, stop_id: str, *, of: str) -> None:
    """Stop what may still run: a command whose delivery was cut short is taken by the agent's next life."""
    server.beat_with(lambda body: of in body.get("received_command_ids", []), within=30)
    server.offer(stop_id, stop())
    server.completion(stop_id, within=30)


def _end(process: Role) -> None:
    children = offspring(process.pid)
    if process.process.poll() is None:
        process.kill()
    eventually(lambda: not any(alive(child) for child in children), what="the end of every profiler")


def _gone(children: list[psutil.Process], home: Path) -> bool:
    return not any(alive(child) for child in children) and not _strays(home)


def _strays(home: Path) -> list[str]:
    """The command lines of whatever still works for an agent of this home, wherever it hangs in the tree."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            line = " ".join(process.cmdline())
            if str(home) in line and process.status() != psutil.STATUS_ZOMBIE and "gprofiler" not in line:
                found.append(line)
    return found


def _assert_nothing_stays_behind(home: Path) -> None:
    """After the start that follows a kill there are neither temporary files nor scratch of the run before."""
    profiles = [path.name for path in (home / "profiles").iterdir()]
    assert [name for name in profiles if name.startswith(".")] == []
    assert [path.name for path in (home / "state" / "work").glob("*")] == []
    assert [path.name for path in (home / "state").rglob("*.new")] == []


def _assert_once(server: FakeServer, process: Role) -> None:
    begun = Counter(line["command_id"] for line in log_lines(process) if line["event"] == "run begun")
    assert {command: times for command, times in begun.items() if times > 1} == {}
    told = Counter(completion["command_id"] for completion in server.completions)
    assert {command for command in told if command.startswith("c")} == {f"c{number}" for number in range(ROUNDS)}
    ends: dict[str, set[str]] = {}
    for completion in server.completions:  # a kill between the server's word and the ledger's repeats a completion
        ends.setdefault(completion["command_id"], set()).add(json.dumps(completion, sort_keys=True))
    assert {command: said for command, said in ends.items() if len(said) > 1} == {}


def _assert_no_profile_is_lost(server: FakeServer, home: Path) -> None:
    """Every file is whole, every file a completion names is there, and every command that left one names one."""
    named = {body["command_id"]: body.get("results_path") for body in server.completions}
    left: dict[str, list[Path]] = {}
    for path in sorted((home / "profiles").glob("2*.col")):
        with path.open() as lines:
            facts = json.loads(next(lines).removeprefix("# "))
            stacks = collapsed.parse(lines)
        assert facts["samples"] == sum(stacks.values()), path
        left.setdefault(path.stem.partition("-")[2], []).append(path)
    for path in (home / "profiles").glob("*.html"):
        assert path.read_text().rstrip().endswith("</html>"), path
    for command_id, told in named.items():
        assert told is None or Path(told).is_file(), f"{command_id} names {told}"
    assert {command_id for command_id, told in named.items() if told is None} & left.keys() == set()
