"""Drive the whole heartbeat flow against a server, with real assertions. By hand:

    STUDIO_TOKEN=$(studio token) python tests/test_heartbeat_system.py --server http://localhost:8000

It submits requests as an operator and plays the agent of a host that it makes up. With --with-agent it plays none, and
expects a real one on --host for --service (tests/run_heartbeat_agent.py starts one): then the profiles are real.
It prints each step and ends with 1 at the first that fails. pytest runs the same steps on a system of its own.
"""

import argparse
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx

if TYPE_CHECKING:
    from tests.support.api import Api

OUTCOMES = (
    "completed", "failed", "stopped", "superseded", "expired", "timed_out", "lost", "undeliverable", "cancelled",
)  # fmt: skip


@dataclass
class Flow:
    """One server, one host on it, and the tokens of both sides."""

    http: httpx.Client
    operator_token: str
    agent_token: str
    service: str
    host: str
    patience: float = 30.0
    """Seconds that a step of the server's may take."""
    last_command_id: str | None = None

    def call(self, method: str, path: str, *, token: str | None, status: int = 200, **given: Any) -> Any:
        """One HTTP call with the status it must have; gives the body."""
        headers = {**({"Authorization": f"Bearer {token}"} if token else {}), **given.pop("headers", {})}
        answer = self.http.request(method, path, headers=headers, **given)
        expect(answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}, not {status}")
        return answer.json()

    def submit(self, **asked: Any) -> dict[str, Any]:
        """Ask for something on our host; gives the answer."""
        body = {"service_name": self.service, "target_hostnames": [self.host], **asked}
        accepted: dict[str, Any] = self.call(
            "POST", "/api/metrics/profile_request", token=self.operator_token, json=body
        )
        expect(accepted["success"] is True, f"not accepted: {accepted}")
        return accepted

    def status(self, accepted: dict[str, Any]) -> dict[str, Any]:
        """Where a request stands on our host."""
        path = f"/api/v1/requests/{accepted['request_id']}"
        shown: dict[str, Any] = self.call("GET", path, token=self.operator_token)["hosts"][0]
        return shown

    def wait_for(self, accepted: dict[str, Any], *states: str, within: float | None = None) -> dict[str, Any]:
        """Wait until a request stands in one of these states."""
        what = f"{' or '.join(states)} on {self.host}"
        return wait_until(lambda: one_of(self.status(accepted), states), within or self.patience, what)

    def beat(self, *, wait: int = 0, **said: Any) -> dict[str, Any]:
        """One heartbeat of our host; gives the reply."""
        body = {
            "ip_address": "192.168.1.100", "hostname": self.host, "service_name": self.service,
            "last_command_id": self.last_command_id, "status": "active", **said,
        }  # fmt: skip
        headers = {"Prefer": f"wait={wait}"} if wait else {}
        reply: dict[str, Any] = self.call(
            "POST", "/api/metrics/heartbeat", token=self.agent_token, json=body, headers=headers
        )
        return reply

    def take(self) -> dict[str, Any]:
        """Beat until there is a command."""
        return wait_until(lambda: command_in(self.beat()), self.patience, "a command")

    def begin(self, command: dict[str, Any]) -> None:
        """Ack a command and say that its run has begun."""
        self.last_command_id = command["command_id"]
        ack = self.beat(received_command_ids=[command["command_id"]])
        expect(ack["profiling_command"] is None, f"offered again after the ack: {ack}")
        self.beat(status="running")

    def complete(self, command: dict[str, Any], *, answer: int = 200, **said: Any) -> Any:
        """Report a command's end, without naming the service, as agents in the field do; `answer`: its status."""
        body = {"command_id": command["command_id"], "hostname": self.host, "status": "completed", "execution_time": 3}
        return self.call(
            "POST", "/api/metrics/command_completion", token=self.agent_token, status=answer, json={**body, **said}
        )


class Unexpected(AssertionError):
    """The server did something else than it should."""


def expect(holds: object, otherwise: str) -> None:
    if not holds:
        raise Unexpected(otherwise)


def one_of(host: dict[str, Any], states: Sequence[str]) -> dict[str, Any] | None:
    if host["status"] in states:
        return host
    expect(host["status"] not in OUTCOMES, f"{host['status']} ({host['reason']}), not {' or '.join(states)}")
    return None


def command_in(reply: dict[str, Any]) -> dict[str, Any] | None:
    return reply if reply["profiling_command"] is not None else None


def wait_until(look: Callable[[], dict[str, Any] | None], within: float, what: str) -> dict[str, Any]:
    end = time.monotonic() + within
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.05)
    raise Unexpected(f"{what}: not within {within:g} s")


# Steps with an agent that we play -------------------------------------------------------------------------------------


def the_server_is_ready(flow: Flow) -> None:
    ready = flow.call("GET", "/readyz", token=None)
    missing = [name for name, check in ready["checks"].items() if not check["ok"]]
    expect(ready["checks"]["broker"]["ok"] and "merger" not in missing, f"not ready: {missing} missing")


def strangers_and_nonsense_are_refused(flow: Flow) -> None:
    path = "/api/metrics/profile_request"
    flow.call("POST", path, token=None, status=401, json={})
    flow.call("POST", path, token="pcs_nobody", status=401, json={})
    refused = flow.call("POST", path, token=flow.operator_token, status=422, json={"service_name": "", "duration": 0})
    fields = {fault["field"] for fault in refused["errors"]}
    expect(fields == {"service_name", "duration", "target_hostnames"}, f"named {fields}")


def a_heartbeat_makes_the_host_known(flow: Flow) -> None:
    reply = flow.beat()
    expect(reply["profiling_command"] is None, f"something old is offered: {reply}")
    items = flow.call("GET", "/api/v1/hosts", token=flow.operator_token, params={"service_name": flow.service})["items"]
    expect([host["status"] for host in items if host["hostname"] == flow.host] == ["online"], f"not online in {items}")


def two_starts_arrive_as_one_command(flow: Flow) -> None:
    first = flow.submit(pids=[1234, 4321], frequency=11, duration=60)
    second = flow.submit(pids=[5678], frequency=99, duration=30)
    for accepted in (first, second):
        flow.wait_for(accepted, "pending")
    command = flow.take()
    config = command["profiling_command"]["combined_config"]
    told = (config["pids"], config["frequency"], config["duration"])
    expect(told == ([1234, 4321, 5678], 99, 60), f"merged into {told}")
    again = flow.beat()
    expect(again["command_id"] == command["command_id"], "not offered again without an ack")
    flow.begin(command)
    flow.wait_for(first, "running")

    narrower = flow.submit(command_type="stop", stop_level="process", pids=[1234])
    command = flow.take()
    left = command["profiling_command"]["combined_config"]["pids"]
    expect(left == [4321, 5678], f"after the process stop {left} is profiled")
    flow.begin(command)
    flow.wait_for(narrower, "completed")

    recorded = flow.complete(command, samples=42, results_path="/profiles/1")
    expect(flow.complete(command) == recorded, "another answer to a repeated completion")
    for accepted in (first, second):
        ended = flow.wait_for(accepted, "completed")
        expect((ended["samples"], ended["results_path"]) == (42, "/profiles/1"), f"recorded {ended}")
    expect(flow.beat()["profiling_command"] is None, "a finished command is offered again")


def a_host_stop_ends_everything(flow: Flow) -> None:
    start = flow.submit(duration=600)
    command = flow.take()
    flow.begin(command)
    stop = flow.submit(command_type="stop", stop_level="host")
    told = flow.take()
    expect(told["profiling_command"]["command_type"] == "stop", f"not a stop: {told}")
    flow.last_command_id = told["command_id"]
    flow.beat()
    flow.wait_for(stop, "completed")
    flow.wait_for(start, "stopped")


def a_failure_is_told_with_its_reason(flow: Flow) -> None:
    accepted = flow.submit()
    command = flow.take()
    flow.begin(command)
    flow.complete(command, status="failed", execution_time=0, error_message="no perf on this host")
    expect(flow.wait_for(accepted, "failed")["reason"] == "no perf on this host", "another reason")


def a_completion_of_nothing_is_unknown(flow: Flow) -> None:
    flow.complete({"command_id": str(uuid4())}, answer=404)


def a_held_heartbeat_brings_the_command_at_once(flow: Flow) -> None:
    accepted: list[dict[str, Any]] = []
    later = threading.Timer(0.5, lambda: accepted.append(flow.submit()))
    later.start()
    begun = time.monotonic()
    reply = flow.beat(wait=25)
    took = time.monotonic() - begun
    later.join()
    expect(reply["command_id"] == accepted[0]["command_id"], f"held for {took:.1f} s and got {reply}")
    flow.begin(reply)
    flow.complete(reply)
    flow.wait_for(accepted[0], "completed")


PLAYED: Sequence[Callable[[Flow], None]] = (
    the_server_is_ready,
    strangers_and_nonsense_are_refused,
    a_heartbeat_makes_the_host_known,
    two_starts_arrive_as_one_command,
    a_host_stop_ends_everything,
    a_failure_is_told_with_its_reason,
    a_completion_of_nothing_is_unknown,
    a_held_heartbeat_brings_the_command_at_once,
)


# Steps with a real agent ----------------------------------------------------------------------------------------------


def the_agent_is_online(flow: Flow) -> None:
    def online() -> dict[str, Any] | None:
        items = flow.call("GET", "/api/v1/hosts", token=flow.operator_token, params={"service_name": flow.service})[
            "items"
        ]
        return next((host for host in items if (host["hostname"], host["status"]) == (flow.host, "online")), None)

    wait_until(online, flow.patience, f"a heartbeat of {flow.host} for {flow.service}")


def a_run_completes_with_samples(flow: Flow) -> None:
    accepted = flow.submit(duration=5, frequency=99)
    flow.wait_for(accepted, "running", "completed")
    ended = flow.wait_for(accepted, "completed", within=flow.patience + 60)
    expect((ended["samples"] or 0) > 0, f"no samples: {ended}")
    expect(ended["execution_time"] >= 4, f"ran for {ended['execution_time']} s, not for 5")
    expect(ended["results_path"], "no path to the profile")


def a_stop_ends_a_run_and_keeps_what_was_sampled(flow: Flow) -> None:
    start = flow.submit(duration=600, frequency=99)
    flow.wait_for(start, "running")
    time.sleep(3)
    stop = flow.submit(command_type="stop")
    flow.wait_for(stop, "completed")
    flow.wait_for(start, "stopped")
    wait_until(
        lambda: (host := flow.status(start))["samples"] and host, flow.patience, "the samples of the stopped run"
    )


WITH_AGENT: Sequence[Callable[[Flow], None]] = (
    the_server_is_ready,
    strangers_and_nonsense_are_refused,
    the_agent_is_online,
    a_run_completes_with_samples,
    a_stop_ends_a_run_and_keeps_what_was_sampled,
)


# Running them ---------------------------------------------------------------------------------------------------------


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Drive the heartbeat flow against a Performance Studio.")
    parser.add_argument("--server", default=os.environ.get("GPROFILER_SERVER", "http://localhost:8000"), metavar="URL")
    parser.add_argument(
        "--token", default=os.environ.get("STUDIO_TOKEN"), help="an admin's or operator's; or STUDIO_TOKEN"
    )
    parser.add_argument(
        "--agent-token", default=os.environ.get("GPROFILER_TOKEN"), metavar="TOKEN",
        help="or GPROFILER_TOKEN; without it --token must be an admin's",
    )  # fmt: skip
    parser.add_argument("--service", default=os.environ.get("GPROFILER_SERVICE", "test-service"), metavar="NAME")
    parser.add_argument("--host", metavar="NAME", help="default: this machine's with --with-agent, else a made-up one")
    parser.add_argument("--with-agent", action="store_true", help="expect a real agent instead of playing one")
    given = parser.parse_args(arguments)
    if not given.token:
        parser.error("--token or STUDIO_TOKEN is needed")
    given.host = given.host or (socket.gethostname() if given.with_agent else f"played-{uuid4().hex[:8]}")
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    given = options(arguments)
    with httpx.Client(base_url=given.server, timeout=40, trust_env=False) as http:
        flow = Flow(http, given.token, given.agent_token or given.token, given.service, given.host)
        for step in WITH_AGENT if given.with_agent else PLAYED:
            sentence = step.__name__.replace("_", " ")
            begun = time.monotonic()
            try:
                step(flow)
            except (Unexpected, httpx.HTTPError) as error:
                print(f"FAILED  {sentence}: {error or type(error).__name__}", flush=True)
                return 1
            print(f"ok      {sentence}  ({time.monotonic() - begun:.1f} s)", flush=True)
    return 0


def test_the_heartbeat_flow_holds(served: "Api") -> None:
    host = f"flow-{uuid4().hex[:8]}"
    flow = Flow(served.http, served.admin, served.agent, "test-service", host)
    for step in PLAYED:
        step(flow)


def test_the_script_tells_each_step_and_ends_well(served: "Api", capsys: Any) -> None:
    arguments = ["--server", served.url, "--token", served.admin, "--agent-token", served.agent]
    assert main(arguments) == 0
    told = capsys.readouterr().out.splitlines()
    assert [line[:2] for line in told] == ["ok"] * len(PLAYED)


def test_the_script_ends_badly_when_a_step_does(served: "Api", capsys: Any) -> None:
    assert main(["--server", served.url, "--token", served.agent]) == 1
    told = capsys.readouterr().out
    assert "FAILED" in told
    assert served.agent not in told


def test_the_script_ends_badly_without_a_server(capsys: Any) -> None:
    assert main(["--server", "http://127.0.0.1:9", "--token", "pcs_x"]) == 1
    assert capsys.readouterr().out.startswith("FAILED")


if __name__ == "__main__":
    sys.exit(main())
