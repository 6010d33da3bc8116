"""The supervisor with real processes: every test starts it as a program of its own, and looks at what is left of it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli import processes
from cli.errors import AlreadyRunning
from cli.state import StateDir
from tests.support.fake_roles import PATIENCE_S
from tests.support.processes import ROOT, eventually


class Supervised:
    """A supervisor over fake roles."""

    def __init__(self, folder: Path, *behaviours: str, wrapper: tuple[str, ...] = ()) -> None:
        self.state = StateDir(folder)
        self.out = folder.with_suffix(".out")
        command = [*wrapper, sys.executable, "-m", "tests.support.fake_roles", str(folder), *behaviours]
        environment = {**os.environ, "GPROFILER_TOKEN": "not for every role"}
        with self.out.open("w") as out:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out, env=environment)

    @property
    def pids(self) -> dict[str, int]:
        record = self.state.read_record()
        return {role.name: role.pid for role in record.roles if role.pid is not None} if record else {}

    @property
    def events(self) -> list[str]:
        file = self.state.path / "events"
        return file.read_text().splitlines() if file.exists() else []

    def wait_for(self, *events: str) -> None:
        self.until(lambda: all(event in self.events for event in events), what=" and ".join(events))

    def until(self, condition: Callable[[], object], *, what: str) -> None:
        """Wait for something that only comes while the supervisor lives."""
        eventually(lambda: self.process.poll() is not None or condition(), within=60, what=what)
        assert self.process.poll() is None, self.out.read_text()

    def stop(self, signum: signal.Signals) -> None:
        self.process.send_signal(signum)
        assert self.process.wait(60) == 0, self.out.read_text()

    def left(self) -> list[int]:
        return processes.marked(str(self.state))


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[..., Supervised]]:
    started: list[Supervised] = []

    def start(*behaviours: str, wrapper: tuple[str, ...] = ()) -> Supervised:
        started.append(Supervised(tmp_path / "state", *behaviours, wrapper=wrapper))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()
        for pid in one.left():
            processes.tell(pid, signal.SIGKILL)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_every_role_in_order_and_leaves_none(
    supervise: Callable[..., Supervised], signum: signal.Signals
) -> None:
    system = supervise("broker=3:steady", "api=2:steady", "merger=1:slow_to_stop", "agent=0:slow_to_stop")
    system.wait_for("broker started", "api started", "merger started", "agent started")
    system.until(lambda: len(system.pids) == 4, what="a record of each role")
    system.stop(signum)
    stops = [event for event in system.events if event.endswith("stopped")]
    assert stops == ["agent stopped", "merger stopped", "api stopped", "broker stopped"]
    assert system.left() == []
    assert not list(system.state.run.glob("*.pid"))


def test_a_role_that_is_killed_comes_back(supervise: Callable[..., Supervised]) -> None:
    system = supervise("broker=3:steady", "merger=1:steady")
    system.wait_for("broker started", "merger started")
    system.until(lambda: len(system.pids) == 2, what="a record of each role")
    before = system.pids
    os.kill(before["merger"], signal.SIGKILL)
    system.until(lambda: system.pids.get("merger") not in {None, before["merger"]}, what="another merger")
    assert system.pids["broker"] == before["broker"]
    assert (system.state.run / "merger.pid").read_text() == f"{system.pids['merger']}\n"
    assert "merger ended (killed by SIGKILL)" in system.out.read_text()
    system.stop(signal.SIGTERM)
    assert system.left() == []


def test_a_role_that_keeps_crashing_is_tried_ever_more_seldom(supervise: Callable[..., Supervised]) -> None:
    system = supervise("api=2:crashes")
    system.until(lambda: system.out.read_text().count("starting it again") >= 3, what="three starts")
    said = system.out.read_text()
    pauses = [float(line.split(" in ")[1].split()[0]) for line in said.splitlines() if "starting it again" in line]
    assert pauses[:3] == [0.2, 0.4, 0.8]
    assert "exit code 7" in said
    assert f"; see {system.state.log_file('api')}" in said
    assert "the reason is in the log" in system.state.tail("api")
    system.stop(signal.SIGTERM)


def test_a_second_ctrl_c_ends_even_a_deaf_role_at_once(supervise: Callable[..., Supervised]) -> None:
    system = supervise("agent=0:deaf", "api=1:deaf", "broker=2:deaf")
    system.wait_for("agent deaf", "api deaf", "broker deaf")
    system.until(lambda: len(system.pids) == 3, what="a record of each role")
    started = time.monotonic()
    system.process.send_signal(signal.SIGINT)
    system.until(lambda: "stopping agent" in system.out.read_text(), what="the first signal's effect")
    system.stop(signal.SIGINT)
    assert time.monotonic() - started < PATIENCE_S / 2, "it waited for the patience of a role"
    assert system.left() == []


def test_a_deaf_role_is_ended_when_patience_is_over(supervise: Callable[..., Supervised]) -> None:
    system = supervise("agent=0:deaf:1.5", "broker=1:steady")
    system.wait_for("agent deaf", "broker started")
    system.until(lambda: len(system.pids) == 2, what="a record of each role")
    system.stop(signal.SIGINT)
    assert "agent did not stop in time" in system.out.read_text()
    assert system.left() == []


def test_kill_9_of_the_supervisor_leaves_nothing(supervise: Callable[..., Supervised]) -> None:
    system = supervise("broker=3:steady", "agent=0:steady")
    system.wait_for("broker started", "agent started")
    system.until(lambda: len(system.pids) == 2, what="a record of each role")
    system.process.kill()
    system.process.wait()
    eventually(lambda: system.left() == [], within=30, what="the end of every role")


def test_what_outlived_a_killed_supervisor_is_ended_by_the_next(supervise: Callable[..., Supervised]) -> None:
    first = supervise("broker=3:deaf", "agent=0:parent")
    first.wait_for("broker deaf", "agent has children")
    first.until(lambda: len(first.pids) == 2, what="a record of each role")
    first.process.kill()
    first.process.wait()
    left = first.left()
    assert len(left) >= 3, "the deaf broker and the agent's children are still there"
    births = {pid: processes.born(pid) for pid in left}
    second = supervise("merger=1:steady")
    second.wait_for("merger started")
    assert not [pid for pid, birth in births.items() if processes.is_alive(pid, birth)]
    second.stop(signal.SIGTERM)


def test_what_a_role_started_ends_with_it_also_in_a_session_of_its_own(supervise: Callable[..., Supervised]) -> None:
    system = supervise("agent=0:parent")
    system.wait_for("agent has children")
    system.until(lambda: len(system.left()) == 3, what="the agent and both its children")
    system.stop(signal.SIGTERM)
    assert system.left() == []


def test_two_supervisors_never_share_a_state_directory(supervise: Callable[..., Supervised], tmp_path: Path) -> None:
    system = supervise("broker=3:steady")
    system.wait_for("broker started")
    with pytest.raises(AlreadyRunning, match=f"pid {system.process.pid} is running") as refusal, system.state.claim():
        pytest.fail("the claim was given twice")
    assert refusal.value.pid == system.process.pid
    assert system.state.is_claimed()
    system.stop(signal.SIGTERM)
    assert not StateDir(tmp_path / "state").is_claimed()


def test_ctrl_c_is_heeded_in_a_script_whose_shell_ignores_it_for_background_jobs(
    supervise: Callable[..., Supervised],
) -> None:
    system = supervise("broker=3:steady", wrapper=("sh", "-c", 'trap "" INT; exec "$@"', "sh"))
    system.wait_for("broker started")
    system.stop(signal.SIGINT)
    assert system.left() == []


def test_a_token_in_the_environment_reaches_no_role_that_is_not_given_it(supervise: Callable[..., Supervised]) -> None:
    system = supervise("api=2:tells_its_token")
    system.until(lambda: "token" in system.state.tail("api"), what="its word")
    assert system.state.tail("api") == "token None"
    system.stop(signal.SIGTERM)


def test_the_record_names_each_role_for_programs_and_people(supervise: Callable[..., Supervised]) -> None:
    system = supervise("broker=3:steady")
    system.wait_for("broker started")
    system.until(lambda: len(system.pids) == 1, what="a record of each role")
    facts = json.loads((system.state.run / "studio.json").read_text())
    assert facts["pid"] == system.process.pid
    assert [role["name"] for role in facts["roles"]] == ["broker"]
    assert processes.is_alive(facts["roles"][0]["pid"], facts["roles"][0]["born"])
    system.stop(signal.SIGTERM)
