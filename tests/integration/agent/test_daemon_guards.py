"""What the real agent does not do, whatever a server asks for."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.agents import alive, busy_python, offspring, running_agent
from tests.support.fake_server import FakeServer, start
from tests.support.processes import Role, eventually


class Host(NamedTuple):
    server: FakeServer
    process: Role
    pids: list[int]
    switch: Path


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    home = tmp_path_factory.mktemp("guarded")
    switch = home / "disabled"
    flags = ["--kill-switch", str(switch), "--allow-max-frequency", "100", "--allow-modes", "cpu,none"]
    with (
        FakeServer() as server,
        busy_python() as pids,
        running_agent(server, home, *flags, "--allow-profilers", "py-spy") as process,
    ):
        yield Host(server, process, pids, switch)


def test_the_kill_switch_ends_what_runs_and_nothing_starts_until_it_is_gone(host: Host) -> None:
    server, process, pids, switch = host
    server.offer("k1", start(pids=pids))
    server.running("k1")
    children = offspring(process.pid)
    switch.write_text("maintenance\n")
    completion = server.completion("k1", within=30)
    assert completion["status"] == "failed"
    assert completion["error_message"].startswith(f"profiling is switched off on this host by {switch}: maintenance")
    assert not any(alive(child) for child in children)
    server.beat_with(lambda body: "disabled" in (body.get("capabilities") or {}))
    server.offer("k2", start(pids=pids))
    assert "switched off" in server.completion("k2")["error_message"]
    told = len(server.beats)
    switch.unlink()
    eventually(partial(_told_on, server, told), what="the word that it is gone")
    server.offer("k3", start(pids=pids, duration=1))
    assert server.completion("k3")["status"] == "completed"


def _told_on(server: FakeServer, since: int) -> bool:
    """Whether a beat after the first so many tells of a host that is not switched off."""
    told = [beat.body.get("capabilities") for beat in server.beats[since:]]
    return any(one is not None and "disabled" not in one for one in told)


def test_a_command_beyond_what_is_allowed_is_refused_naming_each_field(host: Host) -> None:
    host.server.offer(
        "a1", start(frequency=101, profiling_mode="allocation", profiler_configs={"perf": "enabled_restricted"})
    )
    told = host.server.completion("a1")
    assert told["status"] == "failed"
    assert "frequency: 101 Hz, at most 100" in told["error_message"]
    assert "profiling_mode: allocation, only cpu, none" in told["error_message"]
    assert "perf" in told["error_message"]


def test_a_command_that_the_agent_died_of_is_not_started_again(tmp_path: Path) -> None:
    with FakeServer() as server, busy_python() as pids:
        with running_agent(server, tmp_path) as process:
            server.offer("d1", start(pids=pids))
            server.running("d1")
            process.kill()
        with running_agent(server, tmp_path, "--max-deaths", "1"):
            server.completion("d1")
            server.offer("d2", start(pids=pids))
            told = server.completion("d2")
            assert told["status"] == "failed"
            assert told["error_message"].startswith("the agent died once while it ran this command")
            server.offer("d3", start(pids=pids, duration=1))
            assert server.completion("d3")["status"] == "completed", "another one is"
