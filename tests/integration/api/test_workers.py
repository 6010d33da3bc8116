"""`python -m api --workers 2`: two processes on one port, of which one may die, and which end together."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.agents import alive
from tests.support.api import HEARTBEAT, TOKENS, Api, PlayedAgent
from tests.support.processes import Role, broker_role, eventually, free_port, started
from tests.support.servers import wait_for_broker


def two_workers(state_dir: Path, port: int) -> Role:
    argv = [sys.executable, "-m", "api", "--port", str(port), "--workers", "2"]
    return Role("api", argv, env={"PCS_STATE_DIR": str(state_dir)}, log=state_dir / f"{port}.log")


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("workers")
    with started(broker_role(folder)):
        yield folder


@pytest.fixture(scope="module")
def api(state_dir: Path) -> Iterator[Api]:
    port = free_port()
    with started(two_workers(state_dir, port)) as role:
        api = Api(role, state_dir=state_dir, port=port)
        wait_for_broker(api.settings)
        eventually(lambda: len(listening(api)) == 2, within=60, what="two workers that serve")
        eventually(api.is_ready, within=30, what="an API that is ready")
        yield api
        api.http.close()
        assert role.stop() == 0


def listening(api: Api) -> list[psutil.Process]:
    """The workers that have begun to listen."""
    found = []
    for child in psutil.Process(api.role.pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if any(each.status == psutil.CONN_LISTEN for each in child.net_connections("tcp")):
                found.append(child)
    return found


def beats(api: Api, count: int, *, secret: str = "", host: str = "web") -> list[int]:
    """The answers to heartbeats, each of a host and on a connection of its own."""
    answers = []
    for number in range(count):
        headers = {"Authorization": f"Bearer {secret or api.agent}"}
        body = PlayedAgent(api, f"{host}-{number}").body()
        with contextlib.suppress(httpx.TransportError), httpx.Client(trust_env=False, verify=False) as client:
            answers.append(client.post(f"{api.url}{HEARTBEAT}", json=body, headers=headers).status_code)
    return answers


def test_both_workers_answer_with_the_same_tokens(api: Api) -> None:
    assert beats(api, 20) == [200] * 20
    api.check_log()


def counted_beats(api: Api) -> float:
    """The good heartbeats that the worker tells of which a new connection comes to."""
    with httpx.Client(trust_env=False, verify=False) as client:
        text = client.get(f"{api.url}/metrics", headers={"Authorization": f"Bearer {api.admin}"}).text
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "pcs_http_requests_total"
        and (sample.labels["route"], sample.labels["status"]) == (HEARTBEAT, "200")
    )


def test_each_worker_tells_what_both_have_counted(api: Api) -> None:
    before = counted_beats(api)
    assert beats(api, 20) == [200] * 20
    assert [counted_beats(api) - before for _ in range(10)] == [20] * 10


def test_a_revoked_agent_is_refused_by_both_workers_within_five_seconds(api: Api) -> None:
    secret, token_id = api.make_token("agent", "*")
    assert beats(api, 10, secret=secret, host="revoked") == [200] * 10
    api.ok("DELETE", f"{TOKENS}/{token_id}", token=api.admin)
    begun = time.monotonic()
    eventually(
        lambda: beats(api, 10, secret=secret, host="revoked") == [401] * 10, within=5, what="the end of it on both"
    )
    assert time.monotonic() - begun < 5


def test_a_worker_that_is_killed_is_replaced_while_the_other_serves(api: Api) -> None:
    victim, survivor = listening(api)
    victim.kill()
    eventually(lambda: not alive(victim), what="the death of a worker")
    assert 200 in beats(api, 10)
    eventually(lambda: len(listening(api)) == 2, within=60, what="a replacement")
    assert survivor in listening(api)
    eventually(api.is_ready, within=30, what="an API that is ready")
    assert beats(api, 10) == [200] * 10


def test_an_address_that_somebody_has_is_refused(api: Api, state_dir: Path) -> None:
    port = int(api.url.rpartition(":")[2])
    other = two_workers(state_dir.parent, port)
    assert other.process.wait(60) == 1
    assert "api: " in other.log.read_text()


def test_what_cannot_be_served_ends_them_all(tmp_path: Path) -> None:
    (tmp_path / "tokens.json").write_text("no JSON")
    role = two_workers(tmp_path, free_port())
    with started(role):
        assert role.process.wait(60) == 1


def test_an_interrupt_ends_them_all(state_dir: Path) -> None:
    port = free_port()
    with started(two_workers(state_dir, port)) as role:
        api = Api(role, state_dir=state_dir, port=port)
        eventually(lambda: len(listening(api)) == 2, within=60, what="two workers that serve")
        workers = listening(api)
        role.process.send_signal(signal.SIGINT)
        assert role.process.wait(30) == 0
        assert not [worker for worker in workers if alive(worker)]
        api.http.close()


def test_workers_do_not_outlive_their_parent(state_dir: Path) -> None:
    port = free_port()
    with started(two_workers(state_dir, port)) as role:
        api = Api(role, state_dir=state_dir, port=port)
        eventually(lambda: len(listening(api)) == 2, within=60, what="two workers that serve")
        workers = listening(api)
        os.kill(role.pid, signal.SIGKILL)
        eventually(lambda: not any(alive(worker) for worker in workers), within=30, what="the end of the workers")
        api.http.close()


def test_the_time_that_passes_between_two_starts_grows() -> None:
    from api.worker_processes import LONGEST_PAUSE_SECONDS, Worker  # noqa: PLC0415 - the rest speaks to processes

    worker = Worker(0, started_at=time.monotonic())
    pauses = []
    for _ in range(8):
        pauses.append(worker.pause)
        worker.put_off()
    assert pauses == sorted(pauses)
    assert worker.pause == LONGEST_PAUSE_SECONDS
