"""Tenants: made with access to the broker alone, and each sees and touches its own."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from broker import keys
from protocol.names import DEFAULT_TENANT, HostKey
from tests.support.api import HEARTBEAT, REQUEST, SCHEDULES, TOKENS, Api, PlayedAgent
from tests.support.processes import ROOT, eventually
from tests.support.refusals import check_problem
from tests.support.routes import A_SCHEDULE
from tests.support.scrapes import scrape

_numbers = itertools.count(1)


def studio(api: Api, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PCS_STATE_DIR": str(api.state_dir), **env}
    return subprocess.run(
        [str(Path(sys.executable).with_name("studio")), "tenants", *arguments],
        env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


@pytest.fixture(scope="module")
def tenant(served: Api) -> Iterator[dict[str, str]]:
    """A tenant with a token of each kind."""
    name = f"tenant-{os.getpid()}"
    made = studio(served, "create", name)
    assert made.returncode == 0, made.stderr
    admin = made.stdout.removesuffix("\n")
    served.made_tokens.append(admin)
    secrets = {"name": name, "admin": admin}
    for kind in ("agent", "operator", "viewer"):
        token = served.ok("POST", TOKENS, token=admin, json={"kind": kind, "services": ["*"]})
        served.made_tokens.append(token["token"])
        secrets[kind] = token["token"]
    yield secrets
    served.check_log()


def test_a_tenant_is_made_once_and_listed(served: Api, tenant: dict[str, str]) -> None:
    mine = served.ok("GET", f"{TOKENS}/self", token=tenant["admin"])
    assert (mine["tenant"], mine["kind"], mine["services"]) == (tenant["name"], "admin", ["*"])
    again = studio(served, "create", tenant["name"])
    assert (again.returncode, again.stdout) == (1, "")
    assert "already" in again.stderr
    listed = json.loads(studio(served, "list", "--json").stdout)
    assert {DEFAULT_TENANT, tenant["name"]} <= {row["name"] for row in listed}
    assert tenant["name"] in studio(served, "list").stdout


def test_whoever_has_lost_every_admins_token_gets_another(served: Api, tenant: dict[str, str]) -> None:
    done = studio(served, "admin", tenant["name"])
    served.made_tokens.append(done.stdout.strip())
    assert served.ok("GET", f"{TOKENS}/self", token=done.stdout.strip())["tenant"] == tenant["name"]
    assert studio(served, "admin", "nobody-has-made-it").returncode == 1


@pytest.mark.parametrize("name", ["", "-a", "A", "a b", "a/b", "a" * 64, "ä", "default"])
def test_a_name_that_is_none_is_refused(served: Api, name: str) -> None:
    done = studio(served, "create", name)
    assert done.returncode == (1 if name == DEFAULT_TENANT else 2)
    assert done.stdout == ""


def test_a_broker_that_is_away_is_told_without_its_password(tmp_path: Path, served: Api) -> None:
    done = studio(served, "list", PCS_REDIS_URL="redis://:hunter2@127.0.0.1:9/0")
    assert done.returncode == 3
    assert "hunter2" not in done.stdout + done.stderr


def test_the_same_names_are_other_hosts_and_other_requests_in_another_tenant(
    served: Api, tenant: dict[str, str]
) -> None:
    name = f"twin-{next(_numbers)}"
    ours, theirs = PlayedAgent(served, name), PlayedAgent(served, name, token=tenant["agent"])
    ours.beat()
    theirs.beat()
    mine = served.submit(name)
    command = ours.take()
    assert command["command_id"] == mine["command_id"]
    assert theirs.beat()["command_id"] is None
    assert theirs.complete(command["command_id"]).status_code == 404, "unknown to them, with the id and all"
    asked = served.submit(name, token=tenant["operator"])
    assert theirs.take()["command_id"] == asked["command_id"]
    assert ours.complete(command["command_id"]).status_code == 200
    served.wait_for(mine["request_id"], "completed")
    followed = served.ok("GET", f"/api/v1/requests/{asked['request_id']}", token=tenant["viewer"])
    assert followed["status"] == "delivered"
    assert served.call("GET", f"/api/v1/requests/{asked['request_id']}", token=served.admin).status_code == 404


def test_a_whole_service_is_that_of_the_tenant(served: Api, tenant: dict[str, str]) -> None:
    service = f"everywhere-{next(_numbers)}"
    PlayedAgent(served, "ours", service=service).beat()
    PlayedAgent(served, "theirs", service=service, token=tenant["agent"]).beat()
    body = {"service_name": service, "target_scope": "service", "dry_run": True}
    assert served.ok("POST", REQUEST, token=tenant["operator"], json=body)["targets"] == ["theirs"]
    assert served.ok("POST", REQUEST, token=served.admin, json=body)["targets"] == ["ours"]


def test_the_same_idempotency_key_is_another_one_in_another_tenant(served: Api, tenant: dict[str, str]) -> None:
    ours = served.submit("twin-key", key="the same")
    theirs = served.submit("twin-key", key="the same", token=tenant["operator"])
    assert ours["request_id"] != theirs["request_id"]


def test_every_list_is_of_one_tenant(served: Api, tenant: dict[str, str]) -> None:
    PlayedAgent(served, "listed", token=tenant["agent"]).beat()
    asked = served.submit("listed", token=tenant["operator"])
    schedule = served.ok("POST", SCHEDULES, token=tenant["operator"], json=A_SCHEDULE)
    seen_by_us = [
        served.call("GET", path, token=served.admin, params={"limit": 1_000}).text
        for path in ("/api/v1/hosts", "/api/v1/requests", SCHEDULES, TOKENS)
    ]
    theirs = served.ok("GET", f"{TOKENS}/self", token=tenant["admin"])["id"]
    for name in ('"listed"', asked["request_id"], schedule["id"], theirs):
        assert not [text for text in seen_by_us if name in text]

    def items(path: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = served.ok("GET", path, token=tenant["admin"])["items"]
        return found

    assert "listed" in {host["hostname"] for host in items("/api/v1/hosts")}
    assert asked["request_id"] in {request["request_id"] for request in items("/api/v1/requests")}
    assert [row["id"] for row in items(SCHEDULES)] == [schedule["id"]]
    ours = served.ok("GET", f"{TOKENS}/self", token=served.admin)["id"]
    assert ours not in {token["id"] for token in items(TOKENS)}


def test_a_dead_letter_that_names_no_host_is_told_to_who_runs_the_system_alone(
    served: Api, tenant: dict[str, str]
) -> None:
    letter = {"kind": "doorbell", "host": "nonsense", "reason": "r", "attempts": "11", "at": "1"}
    with redis.Redis.from_url(served.settings.url, decode_responses=True) as client:
        letter_id = f"0-{client.xadd(keys.dead_letters(0), letter)}"
    path = "/api/v1/dead_letters"
    assert letter_id in served.call("GET", path, token=served.admin).text
    assert letter_id not in served.call("GET", path, token=tenant["admin"]).text
    assert served.call("POST", f"{path}/{letter_id}/replay", token=tenant["admin"]).status_code == 404


def test_how_the_system_does_is_told_to_who_runs_it_alone(served: Api, tenant: dict[str, str]) -> None:
    assert served.ok("GET", "/api/v1/roles", token=served.admin)["items"]
    for kind in ("admin", "operator", "viewer"):
        answer = served.call("GET", "/api/v1/roles", token=tenant[kind])
        assert answer.status_code == 403
        check_problem(answer, code="forbidden", fields=["Authorization"])
    of_the_system = {
        "pcs_role_instances", "pcs_role_behind", "pcs_dead_letters", "pcs_census_seconds", "pcs_http_requests_total",
        "pcs_held_heartbeats", "pcs_command_delivery_seconds_count",
    }  # fmt: skip
    assert of_the_system <= scrape(served).names
    assert not of_the_system & scrape(served, tenant["admin"]).names
    told = scrape(served, tenant["admin"]).names
    assert {"pcs_broker_up"} <= told <= {"pcs_broker_up", "pcs_build_info", "pcs_hosts", "pcs_commands"}


def test_every_entry_of_a_stream_says_whose_it_is(served: Api, tenant: dict[str, str]) -> None:
    host = f"streamed-{next(_numbers)}"
    agent = PlayedAgent(served, host, token=tenant["agent"])
    agent.beat()
    served.submit(host, token=tenant["operator"])
    agent.run()
    path = HostKey(tenant["name"], "web", host).path

    def entries() -> list[dict[str, str]]:
        found = []
        with redis.Redis.from_url(served.settings.url, decode_responses=True) as client:
            for key in client.scan_iter("pcs:{*}:*"):
                if client.type(key) == "stream" and key.endswith((":results", ":events")):
                    rows: Any = client.xrange(key)
                    found += [fields for _, fields in rows if fields["hostname"] == host]
            named = {key.split(":")[2] for key in client.scan_iter("*") if host in key}
            assert all(path in key for key in client.scan_iter("*") if host in key), named
        return found

    eventually(lambda: [each for each in entries() if each.get("state") == "completed"], within=20, what="its end")
    assert {each["tenant"] for each in entries()} == {tenant["name"]}


def test_a_heartbeat_cannot_name_another_tenant(served: Api, tenant: dict[str, str]) -> None:
    body = PlayedAgent(served, "claimed").body(tenant=DEFAULT_TENANT)
    assert served.call("POST", HEARTBEAT, token=tenant["agent"], json=body).status_code == 200
    assert served.call("GET", "/api/v1/hosts/web/claimed", token=served.admin).status_code == 404
