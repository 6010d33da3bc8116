"""`/metrics` of a real system: what is counted, for whom, and who may read it."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.settings import ApiSettings
from broker.errors import BadConfig
from tests.support.api import HEARTBEAT, REQUEST, Api, PlayedAgent, running_api
from tests.support.processes import LOOPED_ROLES, broker_role, eventually, started
from tests.support.refusals import check_problem
from tests.support.scrapes import METRICS, Scrape, scrape


def test_calls_are_counted_by_route_and_status_and_their_time_is_told(served: Api, agent: PlayedAgent) -> None:
    before = scrape(served)
    for _ in range(3):
        agent.beat()
    served.call("POST", HEARTBEAT, token=served.agent, json={})
    served.call("GET", "/api/v1/requests/nothing", token=served.admin)
    served.call("GET", "/guessed/by/somebody", token=None)
    after = scrape(served)

    def more(status: str, route: str, method: str = "POST") -> float:
        labels = {"method": method, "route": route, "status": status}
        name = "pcs_http_requests_total"
        return after.value(name, **labels) - before.value(name, **labels)

    assert more("200", HEARTBEAT) >= 3
    assert more("422", HEARTBEAT) >= 1
    assert more("404", "/api/v1/requests/{request_id}", "GET") >= 1
    assert more("404", "unmatched", "GET") >= 1
    took = "pcs_http_request_duration_seconds"
    assert after.value(f"{took}_count", route=HEARTBEAT) - before.value(f"{took}_count", route=HEARTBEAT) >= 4
    assert after.value(f"{took}_sum", route=HEARTBEAT) > before.value(f"{took}_sum", route=HEARTBEAT)
    assert "requests/nothing" not in after.text
    assert "guessed" not in after.text, "what somebody makes up is no label"


def test_a_held_heartbeat_is_counted_and_its_wait_is_not_taken_for_slowness(served: Api, agent: PlayedAgent) -> None:
    before = scrape(served)
    held = served.call("POST", HEARTBEAT, token=served.agent, json=agent.body(), headers={"Prefer": "wait=3"})
    assert held.headers["preference-applied"] == "wait=3"
    after = scrape(served)
    name = "pcs_http_requests_total"
    assert after.value(name, route=HEARTBEAT) > before.value(name, route=HEARTBEAT)
    slow = {"route": HEARTBEAT, "le": "2.5"}
    took = "pcs_http_request_duration_seconds"
    missed = after.value(f"{took}_count", route=HEARTBEAT) - after.value(f"{took}_bucket", **slow)
    assert missed == before.value(f"{took}_count", route=HEARTBEAT) - before.value(f"{took}_bucket", **slow)


def test_a_delivery_is_timed_once_and_a_completion_counted(served: Api, agent: PlayedAgent) -> None:
    before = scrape(served)
    served.submit(agent.host)
    taken = agent.take()
    agent.beat()  # handed out once more, as it was not acked
    agent.ack(taken["command_id"])
    assert agent.complete(taken["command_id"]).status_code == 200
    after = scrape(served)
    name = "pcs_command_delivery_seconds"
    assert after.value(f"{name}_count") - before.value(f"{name}_count") >= 1
    assert 0 <= after.value(f"{name}_sum") - before.value(f"{name}_sum") < 60
    done = {"status": "completed", "recorded": "recorded"}
    assert after.value("pcs_completions_total", **done) - before.value("pcs_completions_total", **done) >= 1


def test_the_fleet_and_its_commands_are_told_by_state(served: Api, agent: PlayedAgent) -> None:
    accepted = served.submit(agent.host)
    served.wait_for(accepted["request_id"], "pending")
    agent.beat()

    def counted() -> bool:
        found = scrape(served)
        return bool(
            found.value("pcs_hosts", tenant="default", state="online") >= 1
            and found.value("pcs_commands", tenant="default", state="delivered") >= 1
        )

    eventually(counted, within=40, what="the next look at the fleet")


def test_each_role_tells_how_far_it_is_behind(served: Api) -> None:
    found = scrape(served)
    for role in (*LOOPED_ROLES, "jobs", "api"):
        assert found.value("pcs_role_instances", role=role) >= 1, role
        assert found.value("pcs_role_last_pass_age_seconds", role=role) < 40
    assert found.labels("pcs_role_behind", "role") >= {*LOOPED_ROLES, "jobs"}
    assert found.value("pcs_broker_up") == 1
    assert found.value("pcs_build_info") == 1


def test_a_token_sees_no_other_tenants_fleet(served: Api) -> None:
    assert scrape(served).labels("pcs_hosts", "tenant") <= {"default"}
    assert scrape(served).labels("pcs_commands", "tenant") <= {"default"}


@pytest.mark.parametrize(
    ("who", "status", "code"),
    [
        ("none", 401, "unauthenticated"), ("wrong", 401, "unauthenticated"), ("revoked", 401, "unauthenticated"),
        ("first agent", 403, "forbidden"), ("viewer of web", 403, "forbidden"), ("admin of web", 403, "forbidden"),
    ],
)  # fmt: skip
def test_metrics_are_for_those_who_may_see_every_service(
    bare_api: Api, keyring: dict[str, str | None], who: str, status: int, code: str
) -> None:
    answer = bare_api.call("GET", METRICS, token=keyring[who])
    assert answer.status_code == status
    check_problem(answer, code=code, fields=["Authorization"])


def test_a_viewer_of_every_service_may_read_them(bare_api: Api) -> None:
    viewer, _ = bare_api.make_token("viewer", "*")
    assert scrape(bare_api, viewer).value("pcs_broker_up") == 1


@pytest.fixture(scope="module")
def open_api(bare_api: Api) -> Iterator[Api]:
    """Another API on the same broker, whose metrics are open to this machine."""
    with running_api(
        bare_api.state_dir, env={"PCS_METRICS_OPEN_TO": "loopback", "PCS_TRUSTED_PROXIES": "127.0.0.1"}, log="open.log"
    ) as api:
        yield api


def test_an_open_address_needs_no_token_and_another_does(open_api: Api) -> None:
    answer = open_api.http.get(METRICS)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert Scrape(answer.text).value("pcs_broker_up") == 1
    elsewhere = open_api.http.get(METRICS, headers={"X-Forwarded-For": "198.51.100.7"})
    assert elsewhere.status_code == 401


def test_openmetrics_are_told_to_whoever_asks_for_them(open_api: Api) -> None:
    answer = open_api.http.get(METRICS, headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


def test_a_broker_that_is_away_is_told_as_such(tmp_path: Path) -> None:
    open_here = {"PCS_METRICS_OPEN_TO": "127.0.0.1/32"}
    with (
        started(broker_role(tmp_path)) as broker,
        running_api(tmp_path, env=open_here) as api,
    ):
        broker.kill()

        def is_told() -> bool:
            return Scrape(api.http.get(METRICS).text).value("pcs_broker_up") == 0

        eventually(is_told, within=30, what="noticing")
        found = Scrape(api.http.get(METRICS).text)
        assert found.value("pcs_http_requests_total", route="/readyz") >= 1
        assert "pcs_hosts" not in found.families


def test_each_answer_carries_the_id_of_its_call_and_so_does_the_log(bare_api: Api) -> None:
    given = f"trace-me:{time.time_ns()}"
    asked = {"service_name": "web", "target_hostnames": ["h"], "dry_run": True}
    answer = bare_api.call("POST", REQUEST, token=bare_api.admin, json=asked, headers={"X-Request-Id": given})
    assert answer.headers["x-request-id"] == given
    eventually(lambda: any(given in line and "submitted" in line for line in bare_api.log.splitlines()), what="the log")
    for insane in ("", "a b", "ä".encode(), "x" * 129, 'a"b', "a\tb"):
        made = bare_api.call("GET", "/healthz", token=None, headers={"X-Request-Id": insane})
        assert len(made.headers["x-request-id"]) == 32
        assert made.headers["x-request-id"] != bare_api.http.get("/healthz").headers["x-request-id"]
    assert bare_api.http.get("/nowhere").headers["x-request-id"]


@pytest.mark.parametrize("text", ["everybody", "10.0.0.0/33", "10.0.0.1/8", "loopback,10.0.0.0/8"])
def test_networks_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(BadConfig, match="PCS_METRICS_OPEN_TO"):
        ApiSettings(metrics_open_to=text)
