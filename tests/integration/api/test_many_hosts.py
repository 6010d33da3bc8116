"""Some hosts of many, a few at a time, or all at one moment: over HTTP, with every role at work."""

import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from click.testing import CliRunner, Result
from redis import Redis

from broker import keys
from cli.main import main
from tests.support.api import REQUEST, Api, PlayedAgent
from tests.support.processes import eventually


def chosen(served: Api, request_id: str) -> list[str]:
    return [host["hostname"] for host in served.status(request_id)["hosts"]]


def test_samples_of_a_service_go_round(served: Api) -> None:
    service = f"sampled-{time.time_ns()}"
    hosts = [f"h{number}" for number in range(6)]
    for host in hosts:
        PlayedAgent(served, host, service=service).beat()
    asked: dict[str, Any] = {"service_name": service, "target_scope": "service"}
    counts = Counter[str]()
    for sample in (2, "34%", 2, 3, "50%"):
        accepted = served.submit(**asked, sample=sample)
        names = chosen(served, accepted["request_id"])
        assert len(names) == accepted["hosts"] == (3 if sample in {3, "50%"} else 2)
        counts.update(names)
        assert max(counts.values()) - min(counts[host] for host in hosts) <= 1
    assert counts == dict.fromkeys(hosts, 2)


def test_a_repeated_key_keeps_to_the_hosts_of_its_sample(served: Api) -> None:
    service = f"sampled-{time.time_ns()}"
    asked: dict[str, Any] = {
        "service_name": service, "target_hostnames": [f"h{number}" for number in range(20)], "sample": 4,
    }  # fmt: skip
    first = served.submit(**asked, key=service)
    assert served.submit(**asked, key=service) == first
    assert len(chosen(served, first["request_id"])) == 4


def test_a_dry_run_shows_whom_a_sample_would_take(served: Api) -> None:
    service = f"sampled-{time.time_ns()}"
    named = [f"h{number:03}" for number in range(300)]
    shown = served.submit(service_name=service, target_hostnames=named, sample=2, dry_run=True)
    assert shown["hosts"] == len(shown["targets"]) == 2
    all_of_them = served.submit(service_name=service, target_hostnames=named, dry_run=True)
    assert (all_of_them["hosts"], all_of_them["targets"]) == (300, named[:100])
    assert served.submit(*named[:2], service_name=service)["targets"] == []


def test_a_rollout_gives_the_hosts_their_turns_and_halts(served: Api) -> None:
    service = f"paced-{time.time_ns()}"
    agents = {f"h{number}": PlayedAgent(served, f"h{number}", service=service) for number in range(5)}
    accepted = served.submit(*agents, service_name=service, max_concurrency="50%", max_errors=0)
    agents["h0"].run()
    taken = [agents[host].take() for host in ("h1", "h2")]
    assert agents["h3"].beat()["profiling_command"] is None
    shown = served.status(accepted["request_id"])["rollout"]
    assert shown == {
        "state": "open", "begun": 3, "under_way": 2, "window": 2, "max_concurrency": 2, "errors": 0, "max_errors": 0,
        "reason": None,
    }  # fmt: skip
    agents["h1"].complete(taken[0]["command_id"], status="failed", error_message="no perf")
    eventually(
        lambda: served.status(accepted["request_id"])["counts"].get("cancelled") == 2,
        what="the end of those with no turn",
    )
    agents["h2"].complete(taken[1]["command_id"])
    status = served.wait_for(accepted["request_id"], "mixed")
    assert status["counts"] == {"completed": 2, "failed": 1, "cancelled": 2}
    assert {
        host["hostname"]: host["reason"] for host in status["hosts"] if host["status"] == "cancelled"
    } == dict.fromkeys(("h3", "h4"), "halted: 1 of 0 allowed errors")
    assert (status["rollout"]["state"], status["rollout"]["reason"]) == ("halted", "halted: 1 of 0 allowed errors")
    eventually(
        lambda: served.status(accepted["request_id"])["hosts_appended"] == 5, what="telling that all are appended"
    )


def test_the_skew_of_the_starts_is_told(served: Api) -> None:
    service = f"skewed-{time.time_ns()}"
    agents = [PlayedAgent(served, f"h{number}", service=service) for number in range(3)]
    accepted = served.submit("h0", "h1", "h2", service_name=service)
    assert served.status(accepted["request_id"])["start"] is None
    for agent in agents[:2]:
        agent.say_running(agent.take()["command_id"])
        time.sleep(0.1)
    eventually(lambda: (served.status(accepted["request_id"])["start"] or {}).get("hosts") == 2, what="two starts")
    status = served.status(accepted["request_id"])
    begun = sorted(host["timeline"]["running"] for host in status["hosts"] if host["status"] == "running")
    assert (status["start"]["first"], status["start"]["last"]) == (begun[0], begun[1])
    assert 0.1 <= status["start"]["skew_seconds"] < 10


def test_hosts_that_join_get_a_standing_request_until_the_service_is_stopped(served: Api) -> None:
    service = f"standing-{time.time_ns()}"
    first, second = (PlayedAgent(served, f"h{number}", service=service) for number in range(2))
    first.beat()
    asked: dict[str, Any] = {"service_name": service, "target_scope": "service"}
    accepted = served.submit(**asked, continuous=True)
    assert accepted["hosts"] == 1
    first.say_running(first.take()["command_id"])
    began = time.monotonic()
    taken = second.take()
    assert time.monotonic() - began < 10
    assert taken["profiling_command"]["combined_config"]["continuous"] is True
    second.ack(taken["command_id"])
    # That it was appended is noted just after: the host may have taken it by then.
    eventually(
        lambda: served.status(accepted["request_id"])["hosts_appended"] == 2, what="the note that it was appended"
    )
    status = served.status(accepted["request_id"])
    assert (status["standing"], status["hosts_total"]) == ("open", 2)
    assert {host["hostname"] for host in status["hosts"]} == {"h0", "h1"}

    stop = served.submit(**asked, command_type="stop")
    assert stop["hosts"] == 2
    assert served.status(accepted["request_id"])["standing"] == "ended"
    for agent in (first, second):
        assert agent.run()["profiling_command"]["command_type"] == "stop"
    assert served.wait_for(accepted["request_id"], "stopped")["counts"] == {"stopped": 2}


def test_a_stop_of_the_service_ends_its_rollouts_too(served: Api) -> None:
    service = f"paced-{time.time_ns()}"
    agents = [PlayedAgent(served, f"h{number}", service=service) for number in range(4)]
    for agent in agents:
        agent.beat()
    accepted = served.submit(service_name=service, target_scope="service", max_concurrency=1)
    agents[0].say_running(agents[0].take()["command_id"])
    stop = served.submit(service_name=service, target_scope="service", command_type="stop")
    agents[0].run()
    status = served.wait_for(accepted["request_id"], "mixed")
    assert status["counts"] == {"stopped": 1, "cancelled": 3}
    reason = f"the service was stopped by request {stop['request_id']}"
    assert {host["reason"] for host in status["hosts"] if host["status"] == "cancelled"} == {reason}


def test_a_later_start_is_one_for_all_and_may_be_repeated_after_its_moment(served: Api) -> None:
    service = f"later-{time.time_ns()}"
    moment = datetime.now(UTC) + timedelta(seconds=4)
    asked: dict[str, Any] = {"service_name": service, "start_at": moment.isoformat()}
    accepted = served.submit("h0", "h1", **asked, key=service)
    done = datetime.fromisoformat(accepted["estimated_completion_time"])
    assert done - moment > timedelta(seconds=60)
    configs = [
        PlayedAgent(served, host, service=service).take()["profiling_command"]["combined_config"]
        for host in ("h0", "h1")
    ]
    assert [config["capture_id"] for config in configs] == [accepted["request_id"]] * 2
    time.sleep(max(0.0, (moment - datetime.now(UTC)).total_seconds()))
    assert served.submit("h0", "h1", **asked, key=service) == accepted
    late = served.call(
        "POST", REQUEST, token=served.admin, json={"service_name": service, "target_hostnames": ["h0"], **asked}
    )
    assert (late.status_code, [fault["field"] for fault in late.json()["errors"]]) == (422, ["start_at"])


def test_a_stop_of_the_service_closes_what_would_start_later_before_it_is_appended(bare_api: Api) -> None:
    """No worker is there: whatever is on its way to a host when the stop is answered, comes too late."""
    service = f"closed-{time.time_ns()}"
    PlayedAgent(bare_api, "h0", service=service).beat()
    asked: dict[str, Any] = {"service_name": service, "target_scope": "service"}
    standing = bare_api.submit(**asked, continuous=True)["request_id"]
    rollout = bare_api.submit(**asked, max_concurrency=1)["request_id"]
    bare_api.submit(**asked, command_type="stop", pids=[7])
    assert bare_api.status(standing)["standing"] == "open"
    stop = bare_api.submit(**asked, command_type="stop")
    later = bare_api.submit(**asked, continuous=True)["request_id"]
    reason = f"the service was stopped by request {stop['request_id']}"
    assert (bare_api.status(standing)["standing"], bare_api.status(later)["standing"]) == ("ended", "open")
    assert (bare_api.status(rollout)["rollout"]["state"], bare_api.status(rollout)["rollout"]["reason"]) == (
        "halted", reason,
    )  # fmt: skip
    with Redis.from_url(bare_api.settings.url, decode_responses=True) as client:
        for request_id, expected in ((standing, reason), (rollout, reason), (later, None)):
            texts = {client.get(keys.withdrawn(partition, request_id)) for partition in range(16)}
            assert texts == {expected}


def test_where_it_went_wrong_is_found_beyond_the_first_thousand_hosts(served: Api) -> None:
    service = f"large-{time.time_ns()}"
    names = [f"h{number:04}" for number in range(1_000)]
    asked = served.submit(*names, "late-1", "late-2", "late-3", service_name=service, expires_in=3_600)
    of_it = f"/api/v1/requests/{asked['request_id']}/hosts"

    def page(**query: Any) -> dict[str, Any]:
        shown: dict[str, Any] = served.ok("GET", of_it, token=served.admin, params=query)
        return shown

    for host in ("late-1", "late-3"):
        agent = PlayedAgent(served, host, service=service)
        taken = agent.take()
        agent.complete(taken["command_id"], status="failed", error_message=f"no perf on {host}")
    eventually(lambda: served.status(asked["request_id"], limit=0)["counts"].get("failed") == 2, what="two failures")
    assert "late-1" not in chosen(served, asked["request_id"]), "the status tells of the first thousand"
    failed = page(status=["failed", "lost"])
    assert [(host["hostname"], host["reason"]) for host in failed["items"]] == [
        ("late-1", "no perf on late-1"), ("late-3", "no perf on late-3"),
    ]  # fmt: skip
    assert failed["next_cursor"] is None
    assert page(status="completed")["items"] == []

    everybody = [*names, "late-1", "late-2", "late-3"]
    for sort, wanted in (("hostname", everybody), ("-hostname", everybody[::-1])):
        told, cursor = list[str](), dict[str, str]()
        while len(told) < len(wanted):
            shown = page(limit=334, sort=sort, **cursor)
            told += [host["hostname"] for host in shown["items"]]
            cursor = {"cursor": shown["next_cursor"]}
        assert (told, shown["next_cursor"]) == (wanted, None)
    one = page(limit=1, status="failed")
    assert [host["hostname"] for host in one["items"]] == ["late-1"]
    assert [host["hostname"] for host in page(status="failed", cursor=one["next_cursor"])["items"]] == ["late-3"]

    def by_command(*words: str) -> Result:
        env = {"STUDIO_URL": served.url, "STUDIO_TOKEN": served.admin}
        return CliRunner().invoke(main, ["requests", *words], env=env)

    listed = by_command("show", asked["request_id"], "--status", "failed", "--status", "lost").stdout
    assert [line.split()[0] for line in listed.splitlines()[2:]] == ["late-1", "late-3"]
    assert by_command("show", asked["request_id"]).stdout.count("\nh") == len(names)
    served.ok("DELETE", f"/api/v1/requests/{asked['request_id']}", token=served.admin)
    done = by_command("follow", asked["request_id"], "-q")
    assert done.exit_code == 1, done.output
    assert "failed on 1: no perf on late-1 (late-1)" in done.stdout
