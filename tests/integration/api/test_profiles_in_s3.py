"""Profiles in S3: the same from upload to flame graph, and what an uploader is told while the store is away."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from broker.settings import BrokerSettings
from tests.support.api import Api, running_api
from tests.support.processes import Role, broker_role, eventually, started, worker_role
from tests.support.receiver import Receiver, receiving
from tests.support.refusals import check_problem
from tests.support.s3 import S3, SECRET, running_s3
from tests.support.servers import wait_for_broker
from tests.support.uploads import agent_body, asked, indexed, send


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@pytest.fixture
def stored(tmp_path: Path, receiver: Receiver) -> Iterator[tuple[Api, S3, dict[str, Role]]]:
    with running_s3(tmp_path) as server, contextlib.ExitStack() as stack:
        sink = {"name": "it", "kind": "pyroscope", "url": receiver.url}
        server.env |= {"PCS_PROFILES_PUSH": json.dumps([sink]), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        stack.enter_context(started(broker_role(tmp_path)))
        wait_for_broker(BrokerSettings(state_dir=tmp_path))
        roles = {
            name: stack.enter_context(started(worker_role(tmp_path, name, env=server.env)))
            for name in ("dispatcher", "jobs")
        }
        api = stack.enter_context(running_api(tmp_path, env=server.env, until=None))
        eventually(api.is_ready, within=150, what="an API that is ready, with three others that start beside it")
        yield api, server, roles


@pytest.mark.timeout(300)
def test_what_is_acknowledged_is_stored_in_s3_and_seen_and_nothing_is_while_it_is_away(
    stored: tuple[Api, S3, dict[str, Role]], receiver: Receiver
) -> None:
    api, server, roles = stored
    first, again = (send(api, "web", agent_body()) for _ in range(2))
    assert (first.status_code, again.json()) == (200, first.json()), first.text
    assert send(api, "web", agent_body("b", stacks={"web;main": 7})).status_code == 200
    assert {each["hostname"] for each in indexed(api, "web", 2)} == {"a", "b"}
    assert asked(api, "flamegraph", "web")["samples"] == 45 + 7
    assert not (api.state_dir / "profile-store").exists()

    eventually(lambda: len(receiver.calls) >= 2, within=60, what="both pushed to where the user has them too")
    pushed = sorted(call.body for call in receiver.calls)
    assert pushed == [b"web;main 7\n", b"web;main;work 30\nweb;main;rest 10\ndb;loop 5\n"]
    with redis.Redis.from_url(BrokerSettings(state_dir=api.state_dir).url) as jobs:
        eventually(
            lambda: b"finished" in [jobs.hget(job, "status") for job in jobs.scan_iter("rq:job:tend-*")], within=60,
            what="a pass of tending by rq",
        )  # fmt: skip

    # Packed and made anew in S3 too, by a process of its own, as an operator does it.
    for what, said in (
        ("compact", "packed: 2 profiles"),
        ("reindex", "indexed: 0 of 2"),
        ("reindex --anew", "indexed: 2"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "workers.reindex_profiles", *what.split()],
            env={**os.environ, **server.env, "PCS_STATE_DIR": str(api.state_dir)}, capture_output=True, text=True,
            check=True,
        )  # fmt: skip
        assert done.stdout.startswith(said)
        assert SECRET not in done.stderr
        assert asked(api, "flamegraph", "web")["samples"] == 45 + 7
    gone = first.json()["profile_id"]
    for _ in range(2):
        api.ok("DELETE", f"/api/v1/profiles/{gone}", token=api.admin, params={"service": "web"})
        assert asked(api, "flamegraph", "web")["samples"] == 7
    check_problem(send(api, "web", agent_body()), code="conflict", fields=["profile"])

    server.role.kill()
    refused = send(api, "web", agent_body("c"))
    assert refused.status_code == 503
    check_problem(refused, code="storage_unavailable", fields=[])
    assert int(refused.headers["retry-after"]) >= 1
    question = {"service": "web", "start": "2026-05-04T10:00:00Z", "end": "2026-05-04T11:00:00Z"}
    asked_then = api.call("GET", "/api/v1/flamegraph", token=api.admin, params=question)
    check_problem(asked_then, code="storage_unavailable", fields=[])

    server.role.restart()
    server.make_bucket()  # an empty one: what was refused is not in it, and comes again
    assert send(api, "web", agent_body("c")).status_code == 200
    assert [each["hostname"] for each in indexed(api, "web", 1)] == ["c"]
    for role in (api.role, *roles.values()):
        said = role.log.read_text(errors="replace")
        assert SECRET not in said
        assert "a-key" not in said
    api.check_log()
