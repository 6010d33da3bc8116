"""The life of the real `gprofiler`: killed, stopped, cut off, refused. Each test has an agent of its own."""

import itertools
import json
import os
import signal
import time
from pathlib import Path

import pytest

from agent.transport import HEARTBEAT_PATH
from tests.support.agents import agent, alive, busy_python, command_line, log_lines, offspring, running_agent
from tests.support.fake_server import TOKEN, FakeServer, start
from tests.support.processes import eventually


def test_a_killed_agent_reports_what_it_ran_and_does_not_run_it_again(tmp_path: Path) -> None:
    with FakeServer() as server, busy_python() as pids:
        with running_agent(server, tmp_path) as process:
            server.offer("c1", start(pids=pids, duration=60))
            server.running("c1")
            children = offspring(process.pid)
            assert children
            process.kill()
            eventually(lambda: not any(alive(child) for child in children), within=15, what="the end of the orphans")
        server.offer("c1", start(pids=pids, duration=60))
        with running_agent(server, tmp_path) as process:
            completion = server.completion("c1")
            server.beat_with(lambda body: "c1" in body.get("executed_command_ids", []))
            time.sleep(1)
            assert not offspring(process.pid)
    assert completion["status"] == "failed"
    assert completion["error_message"] == "the agent was restarted while it ran"
    assert len(server.completions) == 1


def test_an_agent_that_lost_its_ledger_is_a_clean_agent(tmp_path: Path) -> None:
    with FakeServer() as server, busy_python() as pids:
        with running_agent(server, tmp_path / "one"):
            server.offer("c1", start(pids=pids, duration=1))
            server.completion("c1")
        seen = len(server.beats)
        with running_agent(server, tmp_path / "two"):
            pass
        assert "last_command_id" not in server.beats[seen].body
        assert "received_command_ids" not in server.beats[seen].body
    assert len(server.completions) == 1


def test_sigterm_stops_the_run_keeps_its_samples_and_tells_the_server(tmp_path: Path) -> None:
    with FakeServer() as server, busy_python() as pids, running_agent(server, tmp_path) as process:
        server.offer("c1", start(pids=pids, duration=60))
        server.running("c1")
        time.sleep(1.5)
        assert process.stop(within=30) == 0
        (completion,) = server.completions
        assert server.beats[-1].body["executed_command_ids"] == ["c1"]
    assert completion["status"] == "completed"
    assert completion["samples"] > 20
    assert "shut down" in completion["error_message"]
    assert Path(completion["results_path"]).exists()


def test_sigterm_without_a_server_keeps_the_completion_for_the_next_start(tmp_path: Path) -> None:
    with FakeServer() as server, busy_python() as pids:
        with running_agent(server, tmp_path) as process:
            server.offer("c1", start(pids=pids, duration=60))
            server.running("c1")
            time.sleep(1)
            server.go_down()
            began = time.monotonic()
            assert process.stop(within=30) == 0
            assert time.monotonic() - began < 11, "seven to end the run and three to tell, at most"
        assert server.completions == []
        server.come_up()
        with running_agent(server, tmp_path):
            assert server.completion("c1")["status"] == "completed"


def test_the_agent_recovers_by_itself_when_the_server_was_away(tmp_path: Path) -> None:
    with FakeServer() as server, busy_python() as pids, running_agent(server, tmp_path) as process:
        server.go_down()
        time.sleep(3)
        server.come_up()
        server.offer("c1", start(pids=pids, duration=1))
        assert server.completion("c1")["status"] == "completed"
    events = [line["event"] for line in log_lines(process)]
    assert events.count("the server cannot be reached") == 1
    assert "the server answers again" in events


def test_a_run_that_ends_while_the_server_is_away_is_reported_when_it_is_back(tmp_path: Path) -> None:
    with FakeServer() as server, busy_python() as pids, running_agent(server, tmp_path):
        server.offer("c1", start(pids=pids, duration=2))
        server.running("c1")
        server.go_down()
        time.sleep(3)
        server.come_up()
        assert server.completion("c1")["status"] == "completed"


def test_retry_after_is_honoured(tmp_path: Path) -> None:
    with FakeServer(holds=False) as server, running_agent(server, tmp_path):
        fault = server.fail(2, status=503, retry_after="2", path=HEARTBEAT_PATH)
        eventually(lambda: fault.times == 0)
        refused = len(server.beats)
        eventually(lambda: len(server.beats) > refused)
        pauses = [later.at - earlier.at for earlier, later in itertools.pairwise(server.beats)]
    assert all(pause >= 2 for pause in pauses[refused - 2 : refused])


def test_a_refused_token_is_said_once_and_tried_again(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("wrong-s3cret")
    secret.chmod(0o600)
    with FakeServer() as server, running_agent(server, tmp_path / "home", "--token-file", str(secret)) as process:
        eventually(lambda: len(server.beats) >= 2)
        secret.write_text(TOKEN)
        eventually(lambda: server.beats[-1].headers["authorization"] == f"Bearer {TOKEN}")
        eventually(lambda: any(line["event"] == "the server answers again" for line in log_lines(process)))
    refusals = [line for line in log_lines(process) if line["event"] == "the server refuses heartbeats"]
    assert len(refusals) == 1
    assert "401" in refusals[0]["reason"]
    assert "s3cret" not in process.log.read_text() + (tmp_path / "home" / "heartbeat.log").read_text()


def test_a_server_without_holding_is_polled_at_its_own_pace(tmp_path: Path) -> None:
    with FakeServer(holds=False, interval=2) as server, busy_python() as pids, running_agent(server, tmp_path):
        eventually(lambda: len(server.beats) >= 3, within=30, what="three beats")
        beats = [beat.at for beat in server.beats]
        server.offer("c1", start(pids=pids, duration=1))
        assert server.completion("c1")["status"] == "completed"
    pauses = [later - earlier for earlier, later in itertools.pairwise(beats)]
    assert all(1.7 < pause < 2.8 for pause in pauses)


def test_plain_polling_can_be_asked_for(tmp_path: Path) -> None:
    with FakeServer() as server, running_agent(server, tmp_path, "--wait", "0"):
        eventually(lambda: len(server.beats) >= 3)
    assert all("prefer" not in beat.headers for beat in server.beats)


def test_an_idle_agent_waits_in_a_held_beat(tmp_path: Path) -> None:
    with FakeServer() as server, running_agent(server, tmp_path):
        time.sleep(3)
        assert len(server.beats) == 1
        assert server.beats[0].headers["prefer"] == "wait=25"
        assert server.beats[0].body["containers"], "what runs here is told at once"


def test_capabilities_are_sent_until_the_server_has_them_and_not_again(tmp_path: Path) -> None:
    with FakeServer(holds=False) as server:
        server.fail(1, path=HEARTBEAT_PATH)
        with running_agent(server, tmp_path):
            eventually(lambda: len(server.beats) >= 4)
        told = ["capabilities" in beat.body for beat in server.beats]
    assert told[:2] == [True, True]
    assert not any(told[2:])
    assert set(server.beats[0].body["capabilities"]["profilers"]) >= {"perf", "py-spy"}


def test_a_token_on_the_command_line_is_in_no_process_list_and_no_log(tmp_path: Path) -> None:
    with FakeServer() as server, busy_python() as pids:
        process = agent(server, tmp_path, "--token", TOKEN, "--verbose", token=None)
        try:
            server.offer("c1", start(pids=pids, duration=2))
            server.running("c1", within=30)
            shown = [command_line(process.pid), *(command_line(child.pid) for child in offspring(process.pid))]
            inherited = [Path(f"/proc/{child.pid}/environ").read_bytes() for child in offspring(process.pid)]
            assert len(shown) > 1
            server.completion("c1")
        finally:
            process.stop()
    assert "--service-name" in shown[0]
    assert not any(TOKEN in line for line in shown)
    assert not any(TOKEN.encode() in environment for environment in inherited)
    written = [path for path in tmp_path.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert written == []


def test_two_agents_do_not_share_a_state_directory(tmp_path: Path) -> None:
    with FakeServer() as server, running_agent(server, tmp_path) as first:
        second = agent(server, tmp_path)
        assert second.process.wait(30) == 1
        assert first.process.poll() is None
    assert f"another gprofiler (pid {first.pid})" in second.log.read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="root's /run, to which every agent of the host may write")
def test_two_agents_of_one_host_and_service_refuse_each_other_with_state_directories_of_their_own(
    tmp_path: Path,
) -> None:
    with FakeServer() as server, running_agent(server, tmp_path / "one") as first:
        second = agent(server, tmp_path / "two")
        assert second.process.wait(30) == 1
        assert first.process.poll() is None
    assert f"another gprofiler (pid {first.pid}) already speaks for this host" in second.log.read_text()


def test_the_heartbeat_log_holds_every_beat(tmp_path: Path) -> None:
    with FakeServer(holds=False) as server, running_agent(server, tmp_path):
        eventually(lambda: len(server.beats) >= 3)
    lines = [json.loads(line) for line in (tmp_path / "heartbeat.log").read_text().splitlines()]
    assert [line["event"] for line in lines].count("beat") >= 2


def test_a_second_signal_does_not_wait_for_the_server(tmp_path: Path) -> None:
    with FakeServer() as server, busy_python() as pids, running_agent(server, tmp_path) as process:
        server.offer("c1", start(pids=pids, duration=60))
        server.running("c1")
        server.go_down()
        os.kill(process.pid, signal.SIGTERM)
        os.kill(process.pid, signal.SIGINT)
        assert process.process.wait(5) == 0, "with one signal it may take ten"
