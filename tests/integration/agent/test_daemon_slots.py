"""Two runs of the real agent: one goes on, one comes in between."""

import json
import time
from pathlib import Path
from typing import Any

from tests.support.agents import busy_python, running_agent
from tests.support.fake_server import FakeServer, start, stop
from tests.support.processes import eventually


def facts_of(folder: Path, command_id: str) -> list[dict[str, Any]]:
    """What each profile of a command says of itself, of those that have samples."""
    told = [
        json.loads(path.read_text().partition("\n")[0].removeprefix("# "))
        for path in (folder / "profiles").glob(f"2*-{command_id}.col")
    ]
    return [facts for facts in told if facts["samples"]]


def test_a_one_off_run_comes_in_between_and_the_continuous_one_goes_on(tmp_path: Path) -> None:
    with FakeServer() as server, busy_python() as pids, running_agent(server, tmp_path):
        server.counts_generations = False
        server.offer("always", start(pids=pids, duration=4, continuous=True))
        server.running("always")
        server.offer("once", start(pids=pids, duration=1))
        once = server.completion("once", within=30)
        assert once["status"] == "completed"
        assert once["samples"] > 20
        assert not [told for told in server.completions if told["command_id"] == "always"], "it goes on"
        eventually(lambda: any(facts_of(tmp_path, "always")), within=60, what="a window of the one that goes on")
        server.offer("s1", stop())
        assert server.completion("s1")["status"] == "completed"
        always = server.completion("always")
    assert always["status"] == "completed"
    assert always["samples"] > 0
    assert sum(told["samples"] for told in facts_of(tmp_path, "always")) == always["samples"]


def test_a_server_that_counts_generations_gets_what_it_asks_for(tmp_path: Path) -> None:
    with FakeServer() as server, busy_python() as pids, running_agent(server, tmp_path):
        server.offer("always", start(pids=pids, continuous=True))
        server.running("always")
        time.sleep(2)  # a process that gets no processor in between would be told of, too
        server.offer("once", start(pids=pids, duration=1))
        assert server.completion("always")["error_message"] == "superseded by once"
        assert server.completion("once")["status"] == "completed"
