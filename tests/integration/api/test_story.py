"""The source text's story over HTTP, with every worker role running and the agent played by the test."""

from datetime import UTC, datetime, timedelta

from tests.support.api import COMPLETION, HEARTBEAT, REQUEST, Api, PlayedAgent


def states(served: Api, request_id: str) -> dict[str, str]:
    return {host["hostname"]: host["status"] for host in served.status(request_id)["hosts"]}


def test_the_usage_examples_of_the_source_text_do_what_it_says(served: Api) -> None:
    """Both bodies, to the letter; the answers have every field that the text shows."""
    asked_at = datetime.now(UTC)
    service = {"service_name": "web-service"}
    started = served.ok(
        "POST", REQUEST, token=served.admin,
        json={
            **service, "command_type": "start", "duration": 120, "frequency": 11, "profiling_mode": "cpu",
            "target_hostnames": ["web-01", "web-02"],
        },
    )  # fmt: skip
    assert started["success"] is True
    assert started["message"] == "Start profiling request submitted successfully"
    assert started["command_ids"] == [started["command_id"]]
    assert started["hosts"] == 2
    assert started["estimated_completion_time"].endswith("Z")
    done = datetime.fromisoformat(started["estimated_completion_time"])
    assert timedelta(seconds=120) <= done - asked_at < timedelta(seconds=140)

    agents = [PlayedAgent(served, host, service="web-service") for host in ("web-01", "web-02")]
    for agent in agents:
        reply = agent.take()
        assert reply["success"] is True
        assert reply["message"] == "Heartbeat received. New profiling command available."
        assert reply["command_id"] == started["command_id"]
        command = reply["profiling_command"]
        assert command["command_type"] == "start"
        config = command["combined_config"]
        assert {name: config[name] for name in ("duration", "frequency", "profiling_mode")} == {
            "duration": 120, "frequency": 11, "profiling_mode": "cpu",
        }  # fmt: skip
        assert "pids" not in config
        idle = agent.ack(reply["command_id"])
        assert (idle["profiling_command"], idle["command_id"]) == (None, None)
        agent.say_running(reply["command_id"])
    served.wait_for(started["request_id"], "running")

    stopped = served.ok(
        "POST", REQUEST, token=served.admin,
        json={**service, "command_type": "stop", "stop_level": "host", "target_hostnames": ["web-01"]},
    )  # fmt: skip
    assert stopped["message"] == "Stop profiling request submitted successfully"
    stop = agents[0].take()
    assert stop["command_id"] == stopped["command_id"]
    assert stop["profiling_command"]["command_type"] == "stop"
    assert stop["profiling_command"]["combined_config"] == {"stop_level": "host"}
    agents[0].ack(stop["command_id"])
    assert agents[0].complete(stop["command_id"]).status_code == 200
    served.wait_for(stopped["request_id"], "completed")
    assert states(served, started["request_id"]) == {"web-01": "stopped", "web-02": "running"}

    recorded = agents[1].complete(started["command_id"])
    assert recorded.json() == {
        "success": True,
        "message": f"Command completion recorded for {started['command_id']}",
    }
    ended = served.wait_for(started["request_id"], "mixed")
    assert ended["counts"] == {"stopped": 1, "completed": 1}
    on_host = next(host for host in ended["hosts"] if host["hostname"] == "web-02")
    assert on_host["execution_time"] == 65
    assert on_host["results_path"] == "s3://bucket/path/to/results"


def test_a_request_is_told_step_by_step(served: Api, agent: PlayedAgent) -> None:
    request_id = served.submit(agent.host, pids=[1234, 5678])["request_id"]
    served.wait_for(request_id, "pending")
    taken = agent.take()
    served.wait_for(request_id, "delivered")
    agent.ack(taken["command_id"])
    served.wait_for(request_id, "received")
    agent.say_running(taken["command_id"])
    served.wait_for(request_id, "running")
    agent.complete(taken["command_id"], samples=1_234, execution_time=1.5, results_path="/profiles/1")
    ended = served.wait_for(request_id, "completed")
    host = ended["hosts"][0]
    steps = ["submitted", "pending", "delivered", "received", "running", "completed"]
    assert list(host["timeline"]) == steps
    moments = [datetime.fromisoformat(at) for at in host["timeline"].values()]
    assert moments == sorted(moments)
    assert {name: host[name] for name in ("samples", "execution_time", "results_path", "generation", "status")} == {
        "samples": 1_234, "execution_time": 1.5, "results_path": "/profiles/1", "generation": 1, "status": "completed",
    }  # fmt: skip
    told = {name: ended[name] for name in ("status", "hosts_total", "hosts_appended", "counts", "command_type")}
    assert told == {
        "status": "completed", "hosts_total": 1, "hosts_appended": 1, "counts": {"completed": 1},
        "command_type": "start",
    }  # fmt: skip


def test_two_starts_in_one_gap_arrive_as_one_command(served: Api, agent: PlayedAgent) -> None:
    """Pids joined, the larger frequency and the larger duration; both requests end with it."""
    first = served.submit(agent.host, pids=[101, 102], frequency=99, duration=30)
    second = served.submit(agent.host, pids=[102, 103], frequency=11, duration=60)
    served.wait_for(first["request_id"], "pending")
    served.wait_for(second["request_id"], "pending")
    taken = agent.take()
    assert taken["command_id"] == second["command_id"]
    config = taken["profiling_command"]["combined_config"]
    assert (config["pids"], config["frequency"], config["duration"]) == ([101, 102, 103], 99, 60)
    assert agent.ack(taken["command_id"])["profiling_command"] is None
    agent.say_running(taken["command_id"])
    agent.complete(taken["command_id"], samples=7)
    for accepted in (first, second):
        host = served.wait_for(accepted["request_id"], "completed")["hosts"][0]
        assert (host["command_id"], host["samples"]) == (second["command_id"], 7)


def test_a_process_stop_leaves_the_other_process_and_a_host_stop_ends_it(served: Api, agent: PlayedAgent) -> None:
    start = served.submit(agent.host, pids=[201, 202], duration=300)
    begun = agent.take()
    agent.ack(begun["command_id"])
    agent.say_running(begun["command_id"])

    narrower = served.submit(agent.host, command_type="stop", stop_level="process", pids=[201])
    taken = agent.take()
    assert taken["profiling_command"]["command_type"] == "start"
    assert taken["profiling_command"]["combined_config"]["pids"] == [202]
    assert taken["generation"] == begun["generation"] + 1
    agent.ack(taken["command_id"])
    agent.say_running(taken["command_id"])
    served.wait_for(narrower["request_id"], "completed")
    assert states(served, start["request_id"]) == {agent.host: "running"}

    whole = served.submit(agent.host, command_type="stop")
    stop = agent.take()
    assert stop["profiling_command"] == {"command_type": "stop", "combined_config": {"stop_level": "host"}}
    agent.ack(stop["command_id"])
    served.wait_for(whole["request_id"], "completed")
    ended = served.wait_for(start["request_id"], "stopped")
    assert ended["hosts"][0]["reason"] == f"by request {whole['request_id']}"


def test_a_process_stop_of_every_process_stops_the_host(served: Api, agent: PlayedAgent) -> None:
    start = served.submit(agent.host, pids=[301], duration=300)
    begun = agent.take()
    agent.say_running(begun["command_id"])
    served.submit(agent.host, command_type="stop", pids=[301])
    assert agent.take()["profiling_command"]["command_type"] == "stop"
    served.wait_for(start["request_id"], "stopped")


def test_a_completion_that_only_says_started_runs_until_the_clock_ends_it(served: Api, agent: PlayedAgent) -> None:
    """Older agents report `completed` with `execution_time` 0 when a profiler starts, and nothing after."""
    request_id = served.submit(agent.host, duration=4)["request_id"]  # long enough to be seen as it runs
    taken = agent.take()
    assert agent.complete(taken["command_id"], execution_time=0, results_path=None).status_code == 200
    assert served.wait_for(request_id, "running")["counts"] == {"running": 1}
    assert agent.complete(taken["command_id"], execution_time=0, results_path=None).status_code == 200
    ended = served.wait_for(request_id, "completed", within=30)
    timeline = {state: datetime.fromisoformat(at) for state, at in ended["hosts"][0]["timeline"].items()}
    assert timeline["completed"] - timeline["running"] >= timedelta(seconds=4)
    agent.last_command_id = taken["command_id"]
    assert agent.beat()["profiling_command"] is None


def test_a_failed_run_is_told_with_its_reason(served: Api, agent: PlayedAgent) -> None:
    request_id = served.submit(agent.host)["request_id"]
    taken = agent.take()
    agent.ack(taken["command_id"])
    why = "perf is not permitted: set kernel.perf_event_paranoid to 1 or less"
    agent.complete(taken["command_id"], status="failed", execution_time=0, error_message=why, results_path=None)
    assert served.wait_for(request_id, "failed")["hosts"][0]["reason"] == why


def test_a_completion_is_recorded_once_however_often_it_comes(served: Api, agent: PlayedAgent) -> None:
    request_id = served.submit(agent.host)["request_id"]
    taken = agent.run(samples=5)
    first = served.wait_for(request_id, "completed")
    answers = [agent.complete(taken["command_id"], status=status, samples=99) for status in ("completed", "failed")]
    assert [(answer.status_code, answer.json()["message"]) for answer in answers] == [
        (200, f"Command completion recorded for {taken['command_id']}")
    ] * 2
    later = served.submit(agent.host)  # whatever the repetition had done would be projected before this one's end
    agent.run()
    served.wait_for(later["request_id"], "completed")
    assert served.status(request_id) == first


def test_a_completion_with_the_wrong_host_is_unknown(served: Api, agent: PlayedAgent) -> None:
    served.submit(agent.host)
    taken = agent.take()
    for said in ({"hostname": "elsewhere"}, {"service_name": "elsewhere"}):
        answer = agent.complete(taken["command_id"], **said)
        assert answer.status_code == 404
        assert answer.json()["errors"][0]["field"] == "command_id"
    assert agent.complete(taken["command_id"], service_name=agent.service).status_code == 200


def test_a_command_is_offered_until_it_is_acked(served: Api, agent: PlayedAgent) -> None:
    request_id = served.submit(agent.host)["request_id"]
    taken = agent.take()
    for _ in range(3):
        again = agent.beat()
        assert (again["command_id"], again["profiling_command"]) == (taken["command_id"], taken["profiling_command"])
    assert agent.beat(received_command_ids=[taken["command_id"]])["profiling_command"] is None
    assert agent.beat()["profiling_command"] is None
    served.wait_for(request_id, "received")


def test_a_command_that_is_never_acked_is_given_up_after_ten_offers(served: Api, agent: PlayedAgent) -> None:
    request_id = served.submit(agent.host)["request_id"]
    agent.take()
    offers = 1
    while agent.beat()["profiling_command"] is not None:
        offers += 1
        assert offers <= 10
    assert offers == 10
    ended = served.wait_for(request_id, "undeliverable")
    assert "10 times" in ended["hosts"][0]["reason"]


def test_a_finished_command_is_not_offered_again_to_an_agent_that_forgot(served: Api, agent: PlayedAgent) -> None:
    request_id = served.submit(agent.host)["request_id"]
    agent.run()
    served.wait_for(request_id, "completed")
    forgetful = PlayedAgent(served, agent.host)
    assert forgetful.beat()["profiling_command"] is None


def test_the_three_calls_of_an_agent_and_its_operator_are_the_paths_of_the_source_text() -> None:
    assert (REQUEST, HEARTBEAT, COMPLETION) == (
        "/api/metrics/profile_request",
        "/api/metrics/heartbeat",
        "/api/metrics/command_completion",
    )
