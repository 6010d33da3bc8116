"""Two runs of the real agent: one goes on, one comes in between."""

import json
from pathlib import Path

from tests.support.agents import busy_python, running_agent
from tests.support.fake_server import FakeServer, start, stop


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
        server.offer("s1", stop())
        assert server.completion("s1")["status"] == "completed"
        always = server.completion("always")
    assert always["status"] == "completed"
    assert always["samples"] > 0
    facts = [
        json.loads(path.read_text().partition("\n")[0].removeprefix("# "))
        for path in (tmp_path / "profiles").glob("2*-always.col")
    ]
    assert sum(told["samples"] for told in facts) == always["samples"]


def test_a_server_that_counts_generations_gets_what_it_asks_for(tmp_path: Path) -> None:
    with FakeServer() as server, busy_python() as pids, running_agent(server, tmp_path):
        server.offer("always", start(pids=pids, continuous=True))
        server.running("always")
        server.offer("once", start(pids=pids, duration=1))
        assert server.completion("always")["error_message"] == "superseded by once"
        assert server.completion("once")["status"] == "completed"
